"""Users, sessions, keys and the audit."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from densewatch.store.accounts import Accounts
from densewatch.store.errors import StoreError
from densewatch.store.sessions import MAX_SESSIONS
from densewatch.store.store import Store
from densewatch.store.users import User
from store_samples import NOON, Clock, OpenStore

pytest_plugins = ["store_fixtures"]

PASSWORD = "correct horse battery"
OTHER = "staple of a new kind"


@pytest.fixture
def accounts(store: Store) -> Accounts:
    store.accounts.add_user("ada", PASSWORD, "admin")
    store.accounts.add_user("bob", PASSWORD, "viewer")
    return store.accounts


def everything(store: Store) -> str:
    """Return all that the tables of accounts hold, as text."""
    with store._database.reading() as connection:
        tables = ("users", "sessions", "api_keys", "audit")
        return str([connection.execute(text(f"SELECT * FROM {table}")).all() for table in tables])


def test_a_user_signs_in_with_the_right_password_only(accounts: Accounts) -> None:
    assert accounts.verify_password("ada", PASSWORD) == User("ada", "admin", NOON, NOON)
    for name, password in [
        ("ada", PASSWORD + "x"),
        ("ada", PASSWORD.upper()),
        ("ada", ""),
        ("bob ", PASSWORD),
        ("nobody", PASSWORD),
        ("nobody", ""),
        ("a\0b", PASSWORD),
        ("ada", "\ud800" * 12),
        ("\ud800", PASSWORD),
        ("ada", "x" * 1_000_000),
    ]:
        assert accounts.verify_password(name, password) is None


def test_a_password_may_be_typed_on_any_keyboard(accounts: Accounts) -> None:
    accounts.set_password("bob", "grüße aus köln")
    assert accounts.verify_password("bob", "gru\u0308ße aus ko\u0308ln") is not None


def test_an_unknown_name_costs_as_much_as_a_wrong_password(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified = []
    verify = PasswordHasher.verify

    def watched(self: PasswordHasher, hash: str, password: Any) -> Any:
        verified.append(hash.split("$")[1:4])
        return verify(self, hash, password)

    monkeypatch.setattr(PasswordHasher, "verify", watched)
    accounts.verify_password("ada", "wrong password")
    accounts.verify_password("nobody", "wrong password")
    accounts.verify_password("../strange name", "wrong password")
    assert verified == [verified[0]] * 3


def test_passwords_are_hashed_by_argon2id(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/x.db", tmp_path / "media")
    store.accounts.add_user("ada", PASSWORD, "admin")
    assert "$argon2id$v=19$m=65536,t=3,p=4$" in everything(store)
    assert PASSWORD not in everything(store)
    store.close()


def test_a_hash_of_older_strength_is_renewed_at_the_next_sign_in(accounts: Accounts, store: Store) -> None:
    before = everything(store)
    stronger = Accounts(store._database, hasher=PasswordHasher(time_cost=2, memory_cost=64, parallelism=1))
    assert stronger.verify_password("ada", "wrong password") is None
    assert everything(store) == before
    assert stronger.verify_password("ada", PASSWORD) is not None
    assert "m=64,t=2,p=1" in everything(store)
    assert accounts.verify_password("ada", PASSWORD) is not None


@pytest.mark.parametrize(
    ("name", "password", "role", "words"),
    [
        ("eve", "123456789", "viewer", "at least 10 characters"),
        ("eve", "x" * 1001, "viewer", "at most 1000 characters"),
        ("evelyn.oak", "Evelyn.Oak", "viewer", "must not be the name"),
        ("eve", PASSWORD, "Admin", "unknown role 'Admin': did you mean 'admin'"),
        ("", PASSWORD, "viewer", "a user's name"),
        ("eve\n", PASSWORD, "viewer", "a user's name"),
        ("../eve", PASSWORD, "viewer", "a user's name"),
        ("e" * 65, PASSWORD, "viewer", "a user's name"),
        ("ada", PASSWORD, "viewer", "there is a user 'ada' already"),
    ],
)
def test_users_that_will_not_do(accounts: Accounts, name: str, password: str, role: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        accounts.add_user(name, password, role)
    assert [user.name for user in accounts.users()] == ["ada", "bob"]
    assert accounts.users()[0].role == "admin"


def test_a_new_password_ends_the_other_sessions(accounts: Accounts, clock: Clock) -> None:
    token, session = accounts.open_session("bob", "phone", 3600)
    stolen, _ = accounts.open_session("bob", "thief", 3600)
    others, _ = accounts.open_session("ada", "laptop", 3600)
    clock.now += 5
    accounts.set_password("bob", OTHER, keep_session=session.id)
    assert accounts.find_session(stolen, "thief") is None
    assert accounts.find_session(token, "phone") == session
    assert accounts.find_session(others, "laptop") is not None
    assert accounts.verify_password("bob", PASSWORD) is None
    assert accounts.verify_password("bob", OTHER) == User("bob", "viewer", NOON, NOON + 5.0)
    with pytest.raises(ValueError, match="at least 10"):
        accounts.set_password("bob", "short")


def test_the_last_admin_stays(accounts: Accounts) -> None:
    with pytest.raises(ValueError, match="'ada' is the only admin"):
        accounts.delete_user("ada")
    with pytest.raises(ValueError, match="'ada' is the only admin"):
        accounts.set_role("ada", "operator")
    accounts.set_role("ada", "admin")
    accounts.set_role("bob", "admin")
    accounts.delete_user("ada")
    assert [(user.name, user.role) for user in accounts.users()] == [("bob", "admin")]


def test_of_two_admins_that_go_at_once_one_stays(accounts: Accounts) -> None:
    for _ in range(5):
        accounts.set_role("bob", "admin")
        accounts.set_role("ada", "admin")
        refused = step_down_at_once(accounts, ["ada", "bob"])
        assert len(refused) == 1
        assert refused == [user.name for user in accounts.users() if user.role == "admin"]


def step_down_at_once(accounts: Accounts, names: list[str]) -> list[str]:
    """Return who was refused."""
    together = threading.Barrier(len(names))
    refused = []

    def step_down(name: str) -> None:
        together.wait()
        try:
            accounts.set_role(name, "viewer")
        except ValueError:
            refused.append(name)

    threads = [threading.Thread(target=step_down, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return refused


@pytest.mark.parametrize("name", ["nobody", "a\0b", "\ud800", "x" * 5000])
def test_users_that_are_not_there(accounts: Accounts, name: str) -> None:
    for change in (
        lambda: accounts.set_password(name, OTHER),
        lambda: accounts.set_role(name, "viewer"),
        lambda: accounts.delete_user(name),
        lambda: accounts.open_session(name, "phone", 60),
    ):
        with pytest.raises(KeyError):
            change()
    assert accounts.close_sessions_of("nobody") == 0


def test_a_session_belongs_to_its_client_and_ends(accounts: Accounts, store: Store, clock: Clock) -> None:
    token, session = accounts.open_session("bob", "phone", 3600)
    assert len(token) >= 43
    assert (session.name, session.role, session.expires) == ("bob", "viewer", NOON + 3600)
    assert accounts.find_session(token, "phone") == session
    assert accounts.find_session(token, "another phone") is None
    assert accounts.find_session(token + "x", "phone") is None
    assert accounts.find_session(session.id, "phone") is None
    assert accounts.find_session("\ud800\0", "phone") is None
    for secret in (token, "phone"):
        assert secret not in everything(store)
    clock.now += 3600
    assert accounts.find_session(token, "phone") is None
    assert session.id not in everything(store)


def test_tokens_are_new_each_time(accounts: Accounts) -> None:
    opened = [accounts.open_session("bob", "phone", 60) for _ in range(3)]
    assert len({token for token, _ in opened}) == 3
    assert len({session.csrf for _, session in opened}) == 3
    assert not {token for token, _ in opened} & {session.csrf for _, session in opened}


def test_a_session_says_when_it_was_last_seen(accounts: Accounts, clock: Clock) -> None:
    token, _ = accounts.open_session("bob", "phone", 3600)
    seen = []
    for _ in range(4):
        clock.now += 25
        found = accounts.find_session(token, "phone")
        assert found is not None
        seen.append(found.last_seen - NOON)
    assert seen == [0.0, 0.0, 0.0, 75.0]


def test_sessions_are_found_while_nothing_can_be_written(
    accounts: Accounts, store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, _ = accounts.open_session("bob", "phone", 3600)
    key, _ = accounts.add_api_key("grafana", "viewer")

    def full() -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(store._database, "writing", full)
    clock.now += 100
    assert accounts.find_session(token, "phone") is not None
    assert accounts.find_api_key(key) is not None
    clock.now += 3600
    assert accounts.find_session(token, "phone") is None


def test_a_role_holds_at_once_and_a_deleted_user_is_out(accounts: Accounts) -> None:
    token, _ = accounts.open_session("bob", "phone", 3600)
    accounts.set_role("bob", "operator")
    found = accounts.find_session(token, "phone")
    assert found is not None
    assert found.role == "operator"
    accounts.delete_user("bob")
    assert accounts.find_session(token, "phone") is None


def test_signing_out_ends_one_session_or_all(accounts: Accounts) -> None:
    opened = [accounts.open_session("bob", "phone", 60) for _ in range(4)]
    accounts.close_session(opened[0][1].id)
    accounts.close_session(opened[0][1].id)
    assert accounts.find_session(opened[0][0], "phone") is None
    assert accounts.close_sessions_of("bob", keep=opened[3][1].id) == 2
    assert [accounts.find_session(token, "phone") is not None for token, _ in opened] == [False] * 3 + [True]
    assert accounts.close_sessions_of("bob") == 1


def test_a_user_has_only_so_many_sessions(accounts: Accounts, clock: Clock) -> None:
    first, _ = accounts.open_session("bob", "phone", 3600)
    others, _ = accounts.open_session("ada", "phone", 3600)
    for _ in range(MAX_SESSIONS):
        clock.now += 1
        newest, _ = accounts.open_session("bob", "phone", 3600)
    assert accounts.find_session(first, "phone") is None
    assert accounts.find_session(newest, "phone") is not None
    assert accounts.find_session(others, "phone") is not None
    assert accounts.close_sessions_of("bob") == MAX_SESSIONS


def test_a_key_works_until_it_expires_or_is_deleted(accounts: Accounts, store: Store, clock: Clock) -> None:
    key, made = accounts.add_api_key("grafana", "viewer", expires=NOON + 100.0)
    lasting, kept = accounts.add_api_key("Door opener, 2nd floor", "operator")
    assert key.startswith("dwk_")
    assert len(key) >= 47
    assert key not in everything(store)
    assert accounts.find_api_key(key) == made
    assert accounts.find_api_key(key + "x") is None
    assert accounts.find_api_key(made.id) is None
    assert [listed.name for listed in accounts.api_keys()] == ["Door opener, 2nd floor", "grafana"]
    assert [listed.last_used for listed in accounts.api_keys()] == [None, NOON]
    clock.now += 100
    assert accounts.find_api_key(key) is None
    assert accounts.purge_expired() == 1
    assert accounts.find_api_key(lasting) == kept
    accounts.delete_api_key(kept.id)
    assert accounts.find_api_key(lasting) is None
    for key_id in (kept.id, "nobody", "a\0b", "\ud800", ""):
        with pytest.raises(KeyError):
            accounts.delete_api_key(key_id)


@pytest.mark.parametrize(
    ("name", "role", "expires", "words"),
    [
        ("", "viewer", None, "a key's name"),
        (" grafana", "viewer", None, "a key's name"),
        ("two\nlines", "viewer", None, "a key's name"),
        ("\ud800", "viewer", None, "a key's name"),
        ("x" * 65, "viewer", None, "a key's name"),
        ("taken", "viewer", None, "there is a key 'taken' already"),
        ("grafana", "root", None, "unknown role"),
        ("grafana", "viewer", NOON, "in the future"),
        ("grafana", "viewer", float("nan"), "in the future"),
    ],
)
def test_keys_that_will_not_do(
    accounts: Accounts, name: str, role: Any, expires: float | None, words: str
) -> None:
    accounts.add_api_key("taken", "viewer")
    with pytest.raises(ValueError, match=words):
        accounts.add_api_key(name, role, expires)
    assert len(accounts.api_keys()) == 1


def test_expired_sessions_are_purged(accounts: Accounts, clock: Clock) -> None:
    accounts.open_session("bob", "phone", 60)
    accounts.open_session("bob", "phone", 600)
    clock.now += 60
    assert accounts.purge_expired() == 1
    assert accounts.purge_expired() == 0
    assert accounts.close_sessions_of("bob") == 1


def test_the_audit_says_who_did_what(store: Store, clock: Clock) -> None:
    store.audit("ada", "zone changed", "door/till")
    clock.now += 1
    store.audit("eve\nada\tsigned in\ud800\0", "sign-in failed", "x" * 5000)
    newest, oldest = store.audit_entries()
    assert (oldest.time, oldest.who, oldest.what, oldest.detail) == (NOON, "ada", "zone changed", "door/till")
    assert (newest.time, newest.who, len(newest.detail)) == (NOON + 1, "eve?ada?signed in??", 1000)
    assert store.audit_entries(1) == [newest]
    assert store.audit_entries(before=newest.id) == [oldest]
    assert store.audit_entries(before=10**30) == [newest, oldest]
    for limit in (0, 1001):
        with pytest.raises(ValueError, match="limit"):
            store.audit_entries(limit)


def test_the_audit_finds_the_last_entry_of_each(store: Store, clock: Clock) -> None:
    for who, detail in [("bob", "home"), ("ada", "home"), ("bob", "work"), ("ada", "home")]:
        store.audit(who, "signed in", detail)
        store.audit(who, "sign-in failed", detail)
        clock.now += 1
    found = store.latest_audit_entries("signed in", since=NOON + 1)
    assert [(entry.time, entry.who, entry.what, entry.detail) for entry in found] == [
        (NOON + 3, "ada", "signed in", "home"),
        (NOON + 2, "bob", "signed in", "work"),
    ]
    assert found[0] in store.audit_entries()


def test_accounts_survive_a_restart(accounts: Accounts, open_store: OpenStore) -> None:
    token, session = accounts.open_session("bob", "phone", 3600)
    assert open_store().accounts.find_session(token, "phone") == session
