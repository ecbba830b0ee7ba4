"""The dashboard of the fake service, in a real browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from densewatch.server.serve import serving
from densewatch.server.service import Service
from fake_service import PASSWORD, fake_service, fake_site

CHROMIUM = Path("/usr/bin/chromium")
ARTEFACTS = Path(os.environ.get("DENSEWATCH_TEST_ARTEFACTS") or Path(__file__).parents[1] / "test-artefacts")
DESKTOP, PHONE = (1360, 850), (360, 740)
ZONE = "Europe/Berlin"
SIGN_IN_REFUSED = "status of 401"

expect.set_options(timeout=10_000)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser without a window; skip the test where there is none."""
    if not CHROMIUM.is_file():
        pytest.skip(f"needs a browser, {CHROMIUM}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def dashboard(folder: Path, port: int = 0, **arguments: Any) -> Iterator[tuple[str, Service]]:
    """Serve the fake service; give its address."""
    site = arguments.pop("site", None) or fake_site(folder, port=port)
    service = fake_service(folder, site=site, **arguments)
    with serving(service) as server:
        yield server.address, service


class Visitor:
    """Somebody with a browser of their own.

    Attributes:
        context: the browser's window, with its cookies.
        page: what it shows.
        complaints: errors in its console that nobody expected; forbidden content is among them.
    """

    def __init__(
        self, browser: Browser, address: str, size: tuple[int, int] = DESKTOP, scheme: str = "light"
    ) -> None:
        self.address = address
        self.size = size
        self.context: BrowserContext = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if scheme == "dark" else "light",
            timezone_id=ZONE,
            locale="en-GB",
        )
        self.page: Page = self.context.new_page()
        self.complaints: list[str] = []
        self.expected: list[str] = []
        self.failed: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("requestfailed", lambda request: self.failed.append(f"{request.url} {request.failure}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(part in message.text for part in self.expected):
            self.complaints.append(f"{message.text} ({message.location.get('url')})")

    def sign_in(self, name: str = "admin", password: str = PASSWORD) -> Page:
        """Sign in by the form."""
        self.page.goto(self.address)
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("heading", name="Cameras", exact=True)).to_be_visible()
        return self.page

    def go(self, where: str, heading: str | None = None) -> None:
        """Go to a page of the dashboard."""
        self.page.goto(f"{self.address}#/{where}")
        if heading is not None:
            expect(self.page.locator("h1")).to_have_text(heading)

    def shot(self, name: str) -> None:
        """Keep a picture of the page: the whole of it, or of a phone what fits."""
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        whole = self.size != PHONE
        if whole:
            self.page.evaluate("scrollTo(0, 0)")
        self.page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=whole)

    def api(self, where: str) -> Any:
        """Ask the API as the page would, with its session."""
        script = "async (where) => (await fetch(where)).json()"
        return self.page.evaluate(script, f"{self.address}api/v1/{where}")

    def wait(self, script: str, argument: Any = None) -> Any:
        """Wait until a function in the page returns something true."""
        return self.page.wait_for_function(script, arg=argument, timeout=10_000).json_value()

    def close(self) -> None:
        """Leave; the console must have stayed quiet."""
        self.context.close()
        assert not self.complaints, self.complaints


@contextmanager
def visitor(
    browser: Browser, address: str, size: tuple[int, int] = DESKTOP, scheme: str = "light"
) -> Iterator[Visitor]:
    """Give somebody with a browser; at the end its console must have stayed quiet."""
    visiting = Visitor(browser, address, size, scheme)
    try:
        yield visiting
    except BaseException as error:
        error.add_note(f"the browser's console: {visiting.complaints}; failed: {visiting.failed}")
        visiting.shot(f"failed-{os.environ.get('PYTEST_CURRENT_TEST', 'test').split('::')[-1].split(' ')[0]}")
        visiting.context.close()
        raise
    visiting.close()
