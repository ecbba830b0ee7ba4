"""Buckets of tokens, and the users that are there before the first sign-in."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from densewatch.live.references import SecretError
from densewatch.server.first_start import prepare_users
from densewatch.server.limits import Buckets, Rate, client_key
from densewatch.site.settings import UserSettings
from densewatch.store.store import Store


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket() -> None:
    clock = Clock()
    buckets = Buckets(Rate(2, 0.5), clock=clock)
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 2]
    assert buckets.take("b") == 0
    clock.now = 1.0
    assert buckets.take("a") == 1
    clock.now = 2.0
    assert buckets.take("a") == 0
    buckets.give_back("a")
    assert buckets.take("a") == 0
    clock.now = 100.0
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 2]


@given(st.lists(st.tuples(st.text(max_size=2), st.floats(0, 10)), max_size=100))
def test_buckets_take_bounded_memory_and_give_no_more_than_they_have(asked: list[tuple[str, float]]) -> None:
    clock = Clock()
    buckets, taken = Buckets(Rate(3, 1), most=200, clock=clock), 0
    for key, pause in asked:
        clock.now += pause
        taken += buckets.take(key) == 0
        assert len(buckets) <= 200
    keys = len({key for key, _ in asked})
    assert taken <= keys * (3 + clock.now)


def test_buckets_forget_who_came_longest_ago() -> None:
    buckets = Buckets(Rate(1, 1e-9), most=3)
    for key in "abcd":
        assert buckets.take(key) == 0
    assert len(buckets) == 3
    assert buckets.take("d") > 0
    assert buckets.take("a") == 0


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_what_a_client_is_counted_by(address: str, key: str) -> None:
    assert client_key(address) == key


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(f"sqlite:///{tmp_path / 'densewatch.db'}", tmp_path / "media")
    yield store
    store.close()


def test_the_first_start_makes_up_a_password_and_prints_it_once(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    terminal = io.StringIO()
    prepare_users(store, (), {}, terminal)
    password = terminal.getvalue().split("password ")[1].split()[0]
    assert len(password) == 20
    user = store.accounts.verify_password("admin", password)
    assert user is not None
    assert user.role == "admin"
    again = io.StringIO()
    prepare_users(store, (), {}, again)
    assert again.getvalue() == ""
    assert password not in caplog.text
    assert all(password not in entry.detail for entry in store.audit_entries())
    for file in store.media.parent.rglob("*"):
        assert not file.is_file() or password.encode() not in file.read_bytes()


@pytest.mark.parametrize("where", ["variable", "file"])
def test_the_admin_password_may_be_given(store: Store, tmp_path: Path, where: str) -> None:
    file = tmp_path / "password"
    file.write_text("given horse 9\n")
    given = {"DENSEWATCH_ADMIN_PASSWORD": "given horse 9"}
    environment = given if where == "variable" else {"DENSEWATCH_ADMIN_PASSWORD_FILE": str(file)}
    terminal = io.StringIO()
    prepare_users(store, (), environment, terminal)
    assert terminal.getvalue() == ""
    assert store.accounts.verify_password("admin", "given horse 9") is not None


def test_users_of_the_site_are_added_and_brought_up_to_date(store: Store) -> None:
    boss = UserSettings(name="boss", role="admin", password_env="BOSS")
    prepare_users(store, (boss,), {"BOSS": "first horse 1"}, io.StringIO())
    assert [user.name for user in store.accounts.users()] == ["boss"]  # no further admin is made
    token, _ = store.accounts.open_session("boss", "client", 3600)
    prepare_users(store, (boss,), {"BOSS": "first horse 1"}, io.StringIO())
    assert store.accounts.find_session(token, "client") is not None
    prepare_users(store, (boss,), {"BOSS": "second horse 2"}, io.StringIO())
    assert store.accounts.find_session(token, "client") is None
    assert store.accounts.verify_password("boss", "second horse 2") is not None


def test_the_site_may_make_somebody_else_the_admin(store: Store) -> None:
    environment = {"OLD": "first horse 1", "NEW": "second horse 2"}
    old = UserSettings(name="old", role="admin", password_env="OLD")
    new = UserSettings(name="new", role="admin", password_env="NEW")
    prepare_users(store, (old,), environment, io.StringIO())
    prepare_users(store, (old.model_copy(update={"role": "viewer"}), new), environment, io.StringIO())
    assert {user.name: user.role for user in store.accounts.users()} == {"old": "viewer", "new": "admin"}


def test_a_password_of_the_site_that_is_not_there(store: Store) -> None:
    boss = UserSettings(name="boss", role="admin", password_env="BOSS")
    with pytest.raises(SecretError, match="BOSS is not set"):
        prepare_users(store, (boss,), {}, io.StringIO())
    with pytest.raises(ValueError, match="user boss: a password has at least 10 characters") as caught:
        prepare_users(store, (boss,), {"BOSS": "hrs"}, io.StringIO())
    assert "hrs" not in str(caught.value)
