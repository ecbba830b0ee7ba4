"""Nothing is fake: the command, the embedded model, the demo scene, the store, and a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from dashboard import Visitor, chromium, visitor
from live_helpers import wait_for
from watch_process import PASSWORD, served

CANVAS = "[data-camera=demo] canvas"
SITE = "cameras: {demo: {source: demo}}\nstore: {bin_seconds: 10}\n"
PATIENCE_MS = 60_000
"""A slow machine compiles for seconds, and for some seconds of each half minute nobody is in the scene."""


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    folder = tmp_path_factory.mktemp("whole")
    (folder / "site.yaml").write_text(SITE)
    with (
        chromium() as browser,
        served(folder, folder / "log", "site.yaml") as address,
        visitor(browser, address) as visiting,
    ):
        visiting.sign_in("admin", PASSWORD)
        yield visiting


def wait_for_boxes(visiting: Visitor, number: str) -> None:
    canvas = visiting.page.locator(CANVAS)
    expect(canvas).to_have_attribute("data-boxes", re.compile(number), timeout=PATIENCE_MS)


def means(visiting: Visitor) -> list[float]:
    """Return how many people were in the zone, of the minutes in which somebody was."""
    found = visiting.api("counts?camera=demo&zone=gallery&label=person&seconds=60")
    return [bin["mean"] for series in found["series"] for bin in series["bins"] if bin["mean"]]


def test_people_are_found_and_their_boxes_move(admin: Visitor) -> None:
    wait_for_boxes(admin, "[1-9]")
    expect(admin.page.locator(CANVAS)).to_have_attribute("aria-label", re.compile(r"\d person"))
    where = "() => document.querySelector('[data-camera=demo] canvas').dataset.frame"
    first = admin.page.evaluate(where)
    admin.wait(f"first => Number(({where})()) > Number(first) + 10", first)
    admin.shot("whole-wall")


def test_a_threshold_that_nothing_reaches_hides_the_boxes(admin: Visitor) -> None:
    wait_for_boxes(admin, "[1-9]")
    admin.page.get_by_label("Threshold").fill("1")
    wait_for_boxes(admin, "^0$")
    admin.page.get_by_label("Threshold").fill("0.4")
    wait_for_boxes(admin, "[1-9]")


def test_who_is_in_a_drawn_zone_is_counted_and_read_from_the_chart(admin: Visitor) -> None:
    admin.go("camera/demo")
    page = admin.page
    page.get_by_role("button", name="Draw a zone").click()
    box = page.locator(".camera-view canvas").bounding_box()
    assert box is not None
    for x, y in ((0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98)):
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.keyboard.press("Enter")
    page.locator(".editor-form").get_by_label("Name").fill("gallery")
    page.locator(".editor-form").get_by_role("button", name="Save").click()
    counted = page.locator("[data-zone=gallery]")
    expect(counted).to_contain_text(re.compile(r"gallery: \d person"), timeout=PATIENCE_MS)
    admin.shot("whole-zone")
    wait_for(lambda: means(admin), 60, "a bin of the zone with somebody in it")
    admin.go("history?camera=demo&zone=gallery&range=1h", "History")
    expect(page.locator(".chart canvas")).to_be_visible()
    page.get_by_text("The same as a table").click()
    minute = page.locator(".history-result tbody tr:not(.no-data)").first
    expect(minute).to_have_text(re.compile(r"\d\.\d\d \(\d.\d\).*[1-9]\d* %"))
    admin.shot("whole-history")
