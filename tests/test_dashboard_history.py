"""What was: charts with their gaps, and events with their pictures, in the dashboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from dashboard import Visitor, chromium, dashboard, visitor
from densewatch.live.settings import LineSettings
from densewatch.records import Bin, Event, LineBin, Observation, Subject
from densewatch.server.service import Service
from fake_service import fake_site


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


def test_the_chart_shows_its_gap_as_a_gap(desktop: Visitor) -> None:
    desktop.sign_in()
    desktop.go("history?camera=hall&range=1h", "History")
    page = desktop.page
    expect(page.locator(".history-result")).to_contain_text(
        re.compile(r"(One gap|\d gaps) without data, 1\d min")
    )
    expect(page.locator(".chart canvas")).to_be_visible()
    page.get_by_text("The same as a table").click()
    expect(page.locator("tr.no-data").first).to_have_text(re.compile("no data.*no data"))
    assert page.locator("tr.no-data").count() >= 10
    observed = page.locator(".history-result tbody tr:not(.no-data)").first
    expect(observed).to_have_text(re.compile(r"2\.00 \(0.2\).*100 %"))
    expect(page.locator(".history-result time").first).to_have_attribute("title", re.compile("UTC$"))
    expect(page.locator("footer")).to_contain_text("Europe/Berlin")
    # Just below the upper edge of the chart there is nothing but the gap's hatching and the grid.
    marks = page.locator(".chart canvas").evaluate("""(canvas) => {
        const { width } = canvas;
        const row = canvas.getContext('2d').getImageData(0, 40, width, 1).data;
        const alphas = [...Array(width).keys()].map((x) => row[x * 4 + 3]);
        return alphas.filter((alpha, x) => x > 0 && alpha > 60 && alphas[x - 1] <= 60).length;
    }""")
    assert marks > 20
    desktop.shot("history-light")


def test_charts_are_read_with_the_mouse_and_saved_as_files(desktop: Visitor) -> None:
    desktop.sign_in()
    desktop.go("history?camera=hall&zone=door", "History")
    page = desktop.page
    over = page.locator(".u-over")
    over.hover(position={"x": 120, "y": 60})
    expect(page.locator(".legend-time")).to_have_text(re.compile(r"UTC\): 100 % observed"))
    expect(page.locator(".legend-item")).to_have_text(re.compile(r"person\d\.\d\d \(0.\d\)"))
    page.get_by_role("button", name="person").click()
    expect(page.get_by_role("button", name="person")).to_have_attribute("aria-pressed", "false")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert "person" in Path(download.value.path()).read_text()


def test_crossings_are_bars_and_any_time_can_be_chosen(browser: Browser, tmp_path: Path) -> None:
    site = fake_site(tmp_path, port=0)
    hall = site.cameras["hall"].model_copy(update={"lines": {"gate": LineSettings(start=(0, 0), end=(1, 1))}})
    site = site.model_copy(update={"cameras": {**site.cameras, "hall": hall}})
    monday = 1_790_000_000 // 86_400 * 86_400  # 2026-09-21, 00:00 UTC, 02:00 in Berlin
    with dashboard(tmp_path, site=site) as (address, service), visitor(browser, address) as visiting:
        for number in range(24):
            start = monday + number * 3600
            line = LineBin("hall", "gate", "person", start, 60, number % 5, number % 3, 1.0)
            # From noon on, a model that knows helmets.
            lines = (line, replace(line, label="helmet")) if number >= 10 else (line,)
            subject = Subject(("line", "gate"), frozenset(line.label for line in lines))
            service.store.add_bin(Bin(Observation("hall", start, 60, 1.0, {subject: 1.0}), lines=lines))
        page = visiting.sign_in()
        visiting.go("history?camera=hall&line=gate", "History")
        expect(page.get_by_text("Nothing was seen.")).to_be_visible()
        page.get_by_label("Time").select_option("custom")
        page.get_by_label("To", exact=True).fill("2026-09-22T02:00")
        page.get_by_label("From", exact=True).fill("2026-09-22T03:00")
        assert not page.get_by_label("To", exact=True).evaluate("input => input.validity.valid")
        page.get_by_label("From", exact=True).fill("2026-09-21T02:00")
        expect(page.get_by_role("button", name="person")).to_be_visible()
        page.get_by_text("The same as a table").click()
        row = page.locator("tr:not(.no-data)", has_text="21/09/2026, 06:00")
        expect(row.locator("td")).to_have_text(["no data", "4 in, 1 out", "10 %"])
        visiting.shot("crossings")
        page.reload()
        expect(page.get_by_label("From", exact=True)).to_have_value("2026-09-21T02:00")
        expect(page.get_by_role("button", name="person")).to_be_visible()


def test_events_have_snapshots_filters_and_a_larger_view(desktop: Visitor) -> None:
    desktop.sign_in()
    desktop.go("events", "Events")
    page = desktop.page
    expect(page.locator(".event")).to_have_count(12)
    expect(page.locator("[data-event=hall-5]")).to_contain_text("no picture")
    page.get_by_label("Class").select_option("chair")
    expect(page.locator(".event")).to_have_count(4)
    page.get_by_label("Zone or line").select_option("door")
    expect(page.locator(".event")).to_have_count(2)
    expect(page.locator(".event").first).to_contain_text("chair in door")
    desktop.wait(
        "() => [...document.querySelectorAll('.event img')].every((image) => image.naturalWidth === 320)"
    )
    page.locator(".event button").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Best score0.90")
    desktop.wait("() => document.querySelector('dialog img').naturalWidth === 320")
    image, box = dialog.locator("img").bounding_box(), dialog.locator(".snapshot-box").bounding_box()
    assert image is not None
    assert box is not None
    assert (box["x"] - image["x"]) / image["width"] == pytest.approx(0.1, abs=0.01)
    assert box["height"] / image["height"] == pytest.approx(0.41, abs=0.01)
    desktop.shot("event-light")
    page.keyboard.press("ArrowRight")
    expect(dialog.get_by_role("button", name="Older")).to_be_disabled()
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()


def test_older_events_come_page_by_page(browser: Browser, tmp_path: Path) -> None:
    with dashboard(tmp_path) as (address, service), visitor(browser, address) as visiting:
        for number in range(60):
            event = Event(
                f"more-{number}",
                "hall",
                "presence",
                "car",
                number,
                None,
                None,
                1e9 + number,
                1e9 + number + 5,
                0.7,
                (0, 0, 1, 1),
            )
            service.store.add_event(event)
        page = visiting.sign_in()
        visiting.go("events?label=car", "Events")
        expect(page.locator(".event")).to_have_count(48)
        page.get_by_role("button", name="Older events").click()
        expect(page.locator(".event")).to_have_count(60)
        expect(page.get_by_role("button", name="Older events")).to_be_hidden()
        assert (
            page.locator(".event").evaluate_all("all => new Set(all.map((one) => one.dataset.event)).size")
            == 60
        )
