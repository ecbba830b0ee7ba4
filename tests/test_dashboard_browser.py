"""What people see and do in the dashboard: signing in, live pictures, the system; on every screen."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import fake_watcher
from dashboard import DESKTOP, PHONE, SIGN_IN_REFUSED, Visitor, chromium, dashboard, visitor
from densewatch.records import Event
from densewatch.server.routes import pages
from densewatch.server.service import Service
from fake_service import PASSWORD, fake_site

ROUTES = ["wall", "camera/hall", "history?camera=hall", "events"] + [
    f"settings/{tab}" for tab in ("state", "account", "users", "keys", "config")
]
EVIL = "<img src=x onerror=document.title='broken'>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[tuple[str, Service]]:
    with dashboard(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def desktop(browser: Browser, served: tuple[str, Service]) -> Iterator[Visitor]:
    with visitor(browser, served[0]) as visiting:
        yield visiting


def card(page: Page, camera: str = "hall") -> str:
    return f"[data-camera={camera}]"


def shown_boxes(visiting: Visitor, camera: str = "hall") -> int:
    return int(
        visiting.page.locator(f"{card(visiting.page, camera)} canvas").get_attribute("data-boxes") or 0
    )


def wait_for_boxes(visiting: Visitor, number: int) -> None:
    expect(visiting.page.locator(f"{card(visiting.page)} canvas")).to_have_attribute(
        "data-boxes", str(number)
    )


def test_a_wrong_password_is_said_plainly_and_a_right_one_opens(desktop: Visitor) -> None:
    desktop.expected.append(SIGN_IN_REFUSED)
    page = desktop.page
    page.goto(desktop.address)
    desktop.shot("sign-in")
    page.get_by_label("Name").fill("admin")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("This name and password do not belong together.")
    expect(page.get_by_label("Password")).to_be_focused()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Cameras", exact=True)).to_be_visible()


def test_signing_in_and_out_by_keyboard_alone(desktop: Visitor) -> None:
    page = desktop.page
    page.goto(desktop.address)
    page.keyboard.type("viewer")  # the name has the focus
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Cameras", exact=True)).to_be_visible()
    expect(page.locator("main")).to_be_focused()
    page.reload()
    expect(page.get_by_role("heading", name="Cameras", exact=True)).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.get_by_role("button", name="Sign out").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_session_that_ends_leads_back_to_the_sign_in_page(
    desktop: Visitor, served: tuple[str, Service]
) -> None:
    desktop.expected += [SIGN_IN_REFUSED, "WebSocket"]
    page = desktop.sign_in("operator")
    expect(page.locator(f"{card(page)} .badge")).to_have_text("live")
    served[1].store.accounts.close_sessions_of("operator")
    expect(page.get_by_text("Your session has ended. Sign in again.")).to_be_visible()


def test_boxes_move_with_their_picture(desktop: Visitor) -> None:
    page = desktop.sign_in()
    canvas = page.locator(f"{card(page)} canvas")
    wait_for_boxes(desktop, 3)
    first = canvas.get_attribute("data-frame")
    picture = canvas.evaluate("canvas => canvas.toDataURL()")
    desktop.wait(
        "frame => document.querySelector('[data-camera=hall] canvas').dataset.frame > Number(frame) + 5",
        first,
    )
    assert canvas.evaluate("canvas => canvas.toDataURL()") != picture
    expect(canvas).to_have_attribute("aria-label", re.compile("Great hall: 1 person, 2 chair"))
    expect(page.locator(f"{card(page)} .age")).to_have_text(re.compile(r"^\d+ ms$"))
    expect(page.locator(f"{card(page)} .tally")).to_contain_text("1 person")
    desktop.shot("wall-light")


def test_boxes_lie_on_what_they_are_of(desktop: Visitor) -> None:
    """The figure's box is drawn where the JPEG of the same message has the figure."""
    desktop.expected.append("willReadFrequently")  # only a test reads pixels
    page = desktop.sign_in()
    wait_for_boxes(desktop, 3)
    script = """() => {
        const canvas = document.querySelector('[data-camera=hall] canvas');
        const scale = canvas.width / 320;
        const row = canvas.getContext('2d').getImageData(0, Math.round(120 * scale), canvas.width, 1).data;
        const apart = (x, c) => c.reduce((all, part, at) => all + Math.abs(row[x * 4 + at] - part), 0);
        const columns = [...Array(canvas.width).keys()];
        const find = (colour) => columns.filter((x) => apart(x, colour) < 90).map((x) => x / scale);
        return [find([63, 182, 255]), find([40, 60, 160])];
    }"""
    for _ in range(10):
        box, figure = page.evaluate(script)
        assert box[0] == pytest.approx(figure[0] - 8, abs=3)
        assert box[-1] == pytest.approx(figure[-1] + 8, abs=3)


def test_the_objects_of_a_picture_are_there_as_text(desktop: Visitor) -> None:
    desktop.sign_in()
    desktop.go("camera/hall", "Great hall")
    page = desktop.page
    page.get_by_text("Objects: 3").click()
    row = page.locator(".objects tbody tr").first
    expect(row).to_contain_text("person #1")
    across = row.locator("td").nth(1)
    before = across.text_content()
    expect(across).not_to_have_text(before or "")
    expect(page.locator("section", has_text="Zones now")).to_contain_text("1 person, 1 chair")
    desktop.shot("camera-light")


def test_the_threshold_and_classes_are_each_viewers_own(desktop: Visitor) -> None:
    page = desktop.sign_in()
    wait_for_boxes(desktop, 3)
    page.get_by_label("Threshold").fill("0.6")
    wait_for_boxes(desktop, 2)
    expect(page.locator(f"{card(page)} .tally")).to_have_text(re.compile("1 person.*1 chair"))
    page.get_by_text("Classes: all").click()
    page.get_by_label("chair").uncheck()
    wait_for_boxes(desktop, 1)
    page.keyboard.press("Escape")
    expect(page.get_by_text("Classes: 2 of 3")).to_be_visible()
    page.reload()
    wait_for_boxes(desktop, 1)  # kept
    expect(page.get_by_label("Threshold")).to_have_value("0.6")
    assert (
        desktop.api("cameras/hall")["zones"]["door"]["threshold"] is None
    )  # nothing that is recorded changed


def test_a_lost_camera_has_no_data_never_zero(desktop: Visitor) -> None:
    page = desktop.sign_in()
    lost = page.locator(card(page, "yard"))
    expect(lost.locator(".badge")).to_have_text("lost")
    expect(lost.locator(".veil")).to_contain_text("No data")
    expect(lost.locator(".veil")).to_contain_text(fake_watcher.LOST_ERROR)
    expect(lost.locator(".tally")).to_have_text("no data")
    expect(lost.locator("canvas")).to_have_attribute("aria-label", re.compile("yard: no data"))
    expect(page.locator(".summary")).to_have_text("1 of 2 without data")
    assert "0" not in (lost.locator(".tally").text_content() or "")


def test_the_age_of_a_picture_is_judged_when_somebody_looks(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results stop though the camera is said to be live: what is shown is late, and then no data."""
    with dashboard(tmp_path) as (address, service), visitor(browser, address) as visiting:
        page = visiting.sign_in()
        visiting.go("camera/hall", "Great hall")
        expect(page.locator("h1 + .badge")).to_have_text("live")
        watcher = service.watcher
        assert isinstance(watcher, fake_watcher.FakeWatcher)
        monkeypatch.setattr(watcher, "show", lambda _: None)
        expect(page.locator("h1 + .badge")).to_have_text("late")
        expect(page.locator(".tally").first).to_contain_text("1 person")
        expect(page.locator("h1 + .badge")).to_have_text("stalled", timeout=15_000)
        expect(page.locator(".veil")).to_contain_text("No data")
        expect(page.locator(".tally").first).to_have_text("no data")
        expect(page.locator(".overlay")).to_contain_text("no data")
        expect(page.locator("section", has_text="Zones now")).to_contain_text("no data")


def hurry(visiting: Visitor) -> None:
    """Let pictures that wait be old after 1 s beyond their camera's limit of 1 s, instead of 10 s."""
    source = (pages.FOLDER / "js" / "state.js").read_text()
    assert "OLD_MS = 10_000;" in source
    hurried = source.replace("OLD_MS = 10_000;", "OLD_MS = 1_000;")
    visiting.context.route(
        "**/state.js", lambda route: route.fulfill(body=hurried, content_type="text/javascript")
    )


NOTE_STATES = """() => {
    window.noted = [];
    const note = (text) => text && !window.noted.includes(text) && window.noted.push(text);
    new MutationObserver(() => {
        document.querySelectorAll('.badge').forEach((badge) => note(badge.textContent));
        note(document.querySelector('.summary').textContent);
    }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
}"""


@pytest.mark.parametrize("why", ["out of sight", "hidden"])
def test_a_camera_at_which_nobody_looks_still_has_data(browser: Browser, tmp_path: Path, why: str) -> None:
    """No picture of it comes then; when somebody looks again, the old one is not taken for one of now."""
    site = fake_site(tmp_path, port=0)
    hall = site.cameras["hall"]
    site = site.model_copy(update={"cameras": {f"hall{number}": hall for number in range(6)}})
    with dashboard(tmp_path, site=site) as (address, _), visitor(browser, address, PHONE) as visiting:
        hurry(visiting)
        page = visiting.sign_in()
        last = page.locator(card(page, "hall5"))
        last.scroll_into_view_if_needed()
        expect(last.locator(".tally")).to_contain_text("1 person")
        expect(page.locator(".summary")).to_have_text("6 live")
        page.evaluate(NOTE_STATES)
        if why == "hidden":
            set_hidden(page, True)
        else:
            page.evaluate("scrollTo(0, 0)")
        expect(last.locator(".tally")).to_have_text("waiting for a picture")
        expect(last.locator("canvas")).to_have_attribute("aria-label", "Great hall: waiting for a picture")
        since = page.evaluate("performance.now()")
        visiting.wait("since => performance.now() > since + 1500", since)  # states come each second
        if why == "hidden":
            set_hidden(page, False)
        last.scroll_into_view_if_needed()
        expect(last.locator(".tally")).to_contain_text("1 person")
        assert set(page.evaluate("noted")) <= {"live", "late", "6 live"}


def set_hidden(page: Page, hidden: bool) -> None:
    """Let the page believe that it is in a tab behind others."""
    page.evaluate(
        """(hidden) => {
            Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
            document.dispatchEvent(new Event('visibilitychange'));
        }""",
        hidden,
    )


def test_the_page_comes_back_when_the_server_does(browser: Browser, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with dashboard(tmp_path, port) as (address, _):
        visiting = Visitor(browser, address)
        visiting.expected += ["WebSocket", "ERR_CONNECTION"]
        hurry(visiting)
        page = visiting.sign_in()
        wait_for_boxes(visiting, 3)
    expect(page.locator(f"{card(page)} .badge")).to_have_text("offline")
    expect(page.locator(f"{card(page)} .tally")).to_have_text("no data")
    expect(page.locator(f"{card(page)} .veil")).to_contain_text("No connection to the server")
    visiting.shot("offline")
    visiting.wait("since => performance.now() > since + 2500", page.evaluate("performance.now()"))
    page.evaluate(NOTE_STATES)
    with dashboard(tmp_path, port):
        expect(page.locator(f"{card(page)} .badge")).to_have_text("live", timeout=30_000)
        expect(page.locator(f"{card(page)} .tally")).to_contain_text("1 person")
        assert "stalled" not in page.evaluate("noted")  # though what was shown is old
        visiting.close()


def test_a_slow_viewer_skips_frames_and_stays_near_now(desktop: Visitor, served: tuple[str, Service]) -> None:
    page = desktop.sign_in()
    wait_for_boxes(desktop, 3)
    desktop.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 12})
    watcher = served[1].watcher
    assert isinstance(watcher, fake_watcher.FakeWatcher)
    script = """(frames) => new Promise((done) => {
        const canvas = document.querySelector('[data-camera=hall] canvas');
        const first = Number(canvas.dataset.frame);
        const seen = new Set();
        const observer = new MutationObserver(() => {
            seen.add(canvas.dataset.frame);
            if (Number(canvas.dataset.frame) < first + frames) return;
            observer.disconnect();
            done([seen.size, Number(canvas.dataset.frame)]);
        });
        observer.observe(canvas, { attributeFilter: ['data-frame'] });
    })"""
    seen, newest = page.evaluate(script, 60)
    assert seen < 50  # of 60 frames some were skipped
    assert watcher.published - newest < 40  # it is not seconds behind


def test_the_age_of_a_picture_counts_its_way_here(desktop: Visitor) -> None:
    """Whatever the viewer's clock says: the fastest message is the measure of the others."""
    desktop.page.goto(desktop.address)
    script = """async () => {
        const { Delay } = await import('./static/js/message.js');
        const delay = new Delay();
        const sent = [[10, 99_000], [11, 100_400], [12, 100_900], [13, 102_000]];
        return sent.map(([then, now]) => delay.measure(then, now));
    }"""
    assert desktop.page.evaluate(script) == [0, 400, 0, 100]


def test_only_cameras_in_view_are_asked_for(desktop: Visitor, served: tuple[str, Service]) -> None:
    page = desktop.sign_in()
    wait_for_boxes(desktop, 3)
    wanted: list[str] = []
    page.on("websocket", lambda opened: opened.on("framesent", lambda data: wanted.append(str(data))))
    page.reload()
    wait_for_boxes(desktop, 3)
    assert any('"hall"' in text for text in wanted)
    desktop.go("events", "Events")
    desktop.wait("() => document.querySelector('.events .event')")
    for _ in range(100):
        if '"cameras":[]' in wanted[-1]:
            break
        page.wait_for_timeout(50)
    assert '"cameras":[]' in wanted[-1]


def test_admins_add_users_and_make_keys_that_are_shown_once(browser: Browser, tmp_path: Path) -> None:
    with dashboard(tmp_path) as (address, _), visitor(browser, address) as visiting:
        page = visiting.sign_in()
        visiting.go("settings/users", "System")
        form = page.locator("form", has_text="Add a user")
        form.get_by_label("Name").fill("guard")
        form.get_by_label("Password").fill("a long password 1")
        form.get_by_role("button", name="Add").click()
        expect(page.locator(".note", has_text="guard may sign in now.")).to_be_visible()
        page.get_by_label("Role of guard").select_option("operator")
        page.get_by_role("button", name="Set guard's role").click()
        expect(page.locator(".note", has_text="guard is operator now.")).to_be_visible()
        page.get_by_role("button", name="Delete guard").click()
        page.get_by_role("button", name="Delete guard for good").click()
        expect(page.locator(".note", has_text="guard is deleted.")).to_be_visible()
        visiting.go("settings/keys")
        expect(page.get_by_role("heading", name="Make a key")).to_be_visible()
        page.get_by_label("Name").fill("prometheus")
        page.get_by_role("button", name="Make").click()
        expect(page.get_by_label("The key prometheus")).to_have_value(re.compile("^dwk_"))
        expect(page.locator("tbody")).to_contain_text("prometheus")
        page.reload()
        expect(page.locator("tbody")).to_contain_text("prometheus")
        assert "dwk_" not in page.content()
        visiting.go("settings/config")
        expect(page.locator("pre")).to_contain_text("Great hall")
        expect(page.locator("pre")).not_to_contain_text("secret")


def test_a_role_is_chosen_by_keys_and_set_by_a_button(browser: Browser, tmp_path: Path) -> None:
    with dashboard(tmp_path) as (address, service), visitor(browser, address) as visiting:
        page = visiting.sign_in()
        visiting.go("settings/users", "System")
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.method))
        role = page.get_by_label("Role of viewer")
        role.focus()
        page.keyboard.press("ArrowDown")
        expect(role).to_have_value("operator")
        page.keyboard.press("ArrowDown")
        expect(role).to_have_value("admin")
        page.keyboard.press("ArrowUp")
        expect(role).to_be_focused()
        assert "PATCH" not in sent
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator(".note", has_text="viewer is operator now.")).to_be_visible()
        assert sent.count("PATCH") == 1
        expect(page.get_by_role("button", name="Set viewer's role")).to_be_focused()
        expect(page.get_by_label("Role of viewer")).to_have_value("operator")
        roles = {user.name: user.role for user in service.store.accounts.users()}
        assert roles == {"admin": "admin", "operator": "operator", "viewer": "operator"}
        page.get_by_role("button", name="Delete viewer").press("Enter")
        page.keyboard.press("Enter")
        expect(page.locator(".note", has_text="viewer is deleted.")).to_be_visible()
        expect(page.locator("div:focus", has_text="viewer is deleted.")).to_be_visible()


def test_viewers_see_no_more_than_they_may(desktop: Visitor) -> None:
    page = desktop.sign_in("viewer")
    desktop.go("settings/users", "System")
    expect(page.get_by_role("navigation", name="System").get_by_role("link")).to_have_text(
        ["State", "Account"]
    )
    expect(page.get_by_text("can be written")).to_be_visible()
    desktop.go("camera/hall", "Great hall")
    expect(page.get_by_text("Zones now")).to_be_visible()
    expect(page.locator(".editor")).to_have_count(0)


def test_a_page_that_arrives_in_part_says_so(desktop: Visitor) -> None:
    desktop.expected.append("ERR_FAILED")
    desktop.context.route("**/draw.js", lambda route: route.abort())
    desktop.page.goto(desktop.address)
    expect(desktop.page.get_by_role("alert")).to_contain_text("did not load completely")
    desktop.context.unroute("**/draw.js")
    desktop.page.get_by_role("button", name="Load again").click()
    expect(desktop.page.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_password_is_changed(browser: Browser, tmp_path: Path) -> None:
    with dashboard(tmp_path) as (address, _), visitor(browser, address) as visiting:
        visiting.expected.append("status of 403")
        page = visiting.sign_in("viewer")
        visiting.go("settings/account", "System")
        page.get_by_label("Password of now").fill("not it")
        page.get_by_label("New password", exact=True).fill("another horse 8")
        page.get_by_label("New password once more").fill("another horse 8")
        page.get_by_role("button", name="Change password").click()
        expect(page.get_by_role("alert")).to_have_text("the old password is wrong")
        page.get_by_label("Password of now").fill(PASSWORD)
        page.get_by_role("button", name="Change password").click()
        expect(page.get_by_text("Your other sessions have ended.")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_text("You are signed out.")).to_be_visible()
        visiting.sign_in("viewer", "another horse 8")


def test_names_from_people_are_text_never_markup(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_watcher, "NAMES", (EVIL, "chair", "car"))
    site = fake_site(tmp_path, port=0)
    hall = site.cameras["hall"].model_copy(update={"name": EVIL})
    site = site.model_copy(update={"cameras": {**site.cameras, "hall": hall}})
    with dashboard(tmp_path, site=site) as (address, service), visitor(browser, address) as visiting:
        service.store.add_event(
            Event("evil", "hall", "presence", EVIL, 1, None, None, 1e9, None, 0.7, (0, 0, 1, 1))
        )
        page = visiting.sign_in()
        expect(page.locator(f"{card(page)} h2")).to_have_text(EVIL)
        expect(page.locator(f"{card(page)} .tally")).to_contain_text(EVIL)
        for route in ROUTES:
            visiting.go(route)
            expect(page.locator("nav [aria-current]").first).to_be_visible()
            expect(page.locator("h1")).to_be_visible()
            assert page.locator("img[src=x]").count() == 0
            assert page.title() != "broken"
        visiting.go("events")
        expect(page.locator("[data-event=evil]")).to_contain_text(EVIL)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_no_page_is_wider_than_the_window(
    browser: Browser, served: tuple[str, Service], size: tuple[int, int], scheme: str
) -> None:
    with visitor(browser, served[0], size, scheme) as visiting:
        page = visiting.sign_in()
        wait_for_boxes(visiting, 3)
        for route in ROUTES:
            visiting.go(route)
            expect(page.locator("main h1")).to_be_visible()
            if route.startswith("history"):
                expect(page.locator(".chart canvas")).to_be_visible()
            if route == "events":
                visiting.wait("() => document.querySelector('.event img')?.naturalWidth")
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= size[0], f"{route} scrolls sideways"
            name = re.sub(r"\W+", "-", route)
            visiting.shot(f"{'phone' if size == PHONE else 'desktop'}-{scheme}-{name}")


def test_dark_is_what_the_system_or_the_viewer_says(browser: Browser, served: tuple[str, Service]) -> None:
    def brightness(page: Page) -> int:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) // 3

    with visitor(browser, served[0], scheme="dark") as visiting:
        page = visiting.sign_in()
        assert brightness(page) < 50
        page.get_by_role("button", name="Switch to light colours").click()
        assert brightness(page) > 200
        page.reload()
        assert brightness(page) > 200
        expect(page.get_by_role("button", name="Switch to dark colours")).to_be_visible()


def test_everything_that_can_be_used_has_a_name(desktop: Visitor) -> None:
    page = desktop.sign_in()
    script = """() => [...document.querySelectorAll('button, a, input, select, canvas[role], nav, section')]
        .filter((item) => !item.closest('[aria-hidden=true]') && item.checkVisibility())
        .filter((item) => !(item.ariaLabel || item.textContent.trim() || item.labels?.length || item.title))
        .map((item) => item.outerHTML)"""
    for route in ROUTES:
        desktop.go(route)
        expect(page.locator("main h1")).to_be_visible()
        assert page.evaluate(script) == []
        assert page.locator("main").count() == 1
