"""Zones, lines and masks, drawn in the dashboard with the mouse, by keys and by numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from dashboard import PHONE, Visitor, chromium, dashboard, visitor


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def address(browser: Browser, tmp_path: Path) -> Iterator[str]:
    with dashboard(tmp_path) as (running, _):
        yield running


@pytest.fixture
def operator(browser: Browser, address: str) -> Iterator[Visitor]:
    with visitor(browser, address) as visiting:
        open_hall(visiting, "operator")
        yield visiting


def open_hall(visiting: Visitor, name: str) -> None:
    visiting.sign_in(name)
    visiting.go("camera/hall", "Great hall")
    expect(visiting.page.locator(".camera-view canvas")).to_have_attribute("data-boxes", "3")


def click_at(visiting: Visitor, x: float, y: float, count: int = 1) -> None:
    """Click where shares of the picture's width and height say."""
    left, top, width, height = picture(visiting)
    visiting.page.mouse.click(left + x * width, top + y * height, click_count=count)


def drag(visiting: Visitor, start: tuple[float, float], end: tuple[float, float]) -> None:
    left, top, width, height = picture(visiting)
    mouse = visiting.page.mouse
    mouse.move(left + start[0] * width, top + start[1] * height)
    mouse.down()
    mouse.move(left + end[0] * width, top + end[1] * height, steps=4)
    mouse.up()


def picture(visiting: Visitor) -> tuple[float, float, float, float]:
    box = visiting.page.locator(".camera-view canvas").bounding_box()
    assert box is not None
    return box["x"], box["y"], box["width"], box["height"]


def save(visiting: Visitor, name: str | None = None) -> None:
    form = visiting.page.locator(".editor-form")
    if name is not None:
        form.get_by_label("Name").fill(name)
    form.get_by_role("button", name="Save").click()
    expect(form).to_have_count(0)


def delete(visiting: Visitor) -> None:
    """Answer yes to the question, and wait until the server has done it and the form is gone."""
    visiting.page.get_by_role("button", name="Delete for good").click()
    expect(visiting.page.locator(".editor-form")).to_have_count(0)


def drawn(visiting: Visitor) -> Locator:
    return visiting.page.locator(".edit-layer .handle")


def zone(visiting: Visitor, name: str) -> list[list[float]]:
    points: list[list[float]] = visiting.api("cameras/hall")["zones"][name]["points"]
    return points


def test_a_zone_is_drawn_with_the_mouse_and_arrives(operator: Visitor) -> None:
    page = operator.page
    page.get_by_role("button", name="Draw a zone").click()
    for corner in ((0.2, 0.2), (0.6, 0.2), (0.6, 0.7), (0.2, 0.7)):
        click_at(operator, *corner)
    operator.shot("zone-being-drawn")
    click_at(operator, 0.2, 0.2)  # the first point ends it
    expect(page.get_by_label("Name")).to_be_focused()
    page.get_by_text("Counts", exact=True).locator("..").get_by_text("Classes: all").click()
    page.locator(".editor-form").get_by_label("chair").uncheck()
    page.keyboard.press("Escape")  # closes the list, not the form
    page.get_by_label("Threshold").last.fill("0.4")
    operator.shot("zone-form")
    save(operator, "counter")
    kept = operator.api("cameras/hall")["zones"]["counter"]
    assert kept["points"] == [
        pytest.approx(point, abs=0.01) for point in ([0.2, 0.2], [0.6, 0.2], [0.6, 0.7], [0.2, 0.7])
    ]
    assert kept["only"] == ["person", "car"]
    assert kept["threshold"] == 0.4
    assert kept["anchor"] == "bottom"
    expect(page.locator("[data-zone=counter]")).to_contain_text("counter: 1 person")
    expect(page.get_by_role("button", name="Change counter")).to_be_focused()


def test_enter_a_double_click_and_escape_end_a_drawing(operator: Visitor) -> None:
    page = operator.page
    page.get_by_role("button", name="Draw a zone").click()
    for corner in ((0.1, 0.1), (0.3, 0.1), (0.3, 0.3)):
        click_at(operator, *corner)
    page.keyboard.press("Enter")
    save(operator, "by-enter")
    page.get_by_role("button", name="Draw a zone").click()
    for corner in ((0.5, 0.5), (0.8, 0.5)):
        click_at(operator, *corner)
    click_at(operator, 0.8, 0.8, count=2)
    save(operator, "by-double-click")
    assert len(zone(operator, "by-enter")) == len(zone(operator, "by-double-click")) == 3
    page.get_by_role("button", name="Draw a zone").click()
    click_at(operator, 0.5, 0.5)
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Draw a zone")).to_be_focused()
    assert set(operator.api("cameras/hall")["zones"]) == {"door", "by-enter", "by-double-click"}


def test_points_are_dragged_added_removed_and_undone(operator: Visitor) -> None:
    page = operator.page
    page.get_by_role("button", name="Change door").click()
    drag(operator, (0.5, 0.998), (0.7, 0.9))
    drag(operator, (0.25, 0.002), (0.25, 0.2))  # the middle of an edge becomes a point
    expect(drawn(operator)).to_have_count(5)
    page.get_by_role("button", name="Undo").click()
    expect(drawn(operator)).to_have_count(4)
    save(operator)
    assert zone(operator, "door") == [
        pytest.approx(p, abs=0.01) for p in ([0, 0], [0.5, 0], [0.7, 0.9], [0, 1])
    ]
    page.get_by_role("button", name="Change door").click()
    page.get_by_role("button", name="Remove point 3").click()
    save(operator)
    assert len(zone(operator, "door")) == 3


def test_a_zone_is_made_by_keyboard_alone_as_numbers(operator: Visitor) -> None:
    page = operator.page
    page.get_by_role("button", name="A zone by numbers").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type("desk")
    across = page.get_by_label("Point 1, % across")
    across.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("12.5")
    page.keyboard.press("Enter")
    expect(page.locator(".editor-form")).to_have_count(0)
    assert zone(operator, "desk")[0] == [0.125, 0.3]
    expect(page.get_by_role("button", name="Change desk")).to_be_focused()


def test_a_zone_is_drawn_by_keys_in_the_picture(operator: Visitor) -> None:
    page = operator.page
    page.get_by_role("button", name="Draw a zone").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("application")).to_be_focused()
    page.keyboard.press("Space")
    for key in ("Shift+ArrowRight", "Shift+ArrowDown"):
        page.keyboard.press(key)
        page.keyboard.press(key)
        page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name")).to_be_focused()
    handle = page.get_by_role("button", name="Point 1: 50.0 % across")
    handle.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("button", name="Point 1: 49.0 % across")).to_be_focused()
    save(operator, "keys")
    assert zone(operator, "keys") == [[0.49, 0.5], [0.6, 0.5], [0.6, 0.6]]


def test_a_line_shows_which_way_is_in(operator: Visitor) -> None:
    page = operator.page
    page.get_by_role("button", name="Draw a line").click()
    click_at(operator, 0.5, 0.8)
    click_at(operator, 0.5, 0.2)  # upwards: in is to the right
    text = page.locator(".draft-arrow text").bounding_box()
    left, _, width, _ = picture(operator)
    assert text is not None
    assert text["x"] > left + 0.5 * width
    page.get_by_role("button", name="Swap in and out").click()
    expect(page.get_by_label("start, % down")).to_have_value(re.compile("^(19|20)"))
    save(operator, "gate")
    line = operator.api("cameras/hall")["lines"]["gate"]
    assert line["start"] == pytest.approx([0.5, 0.2], abs=0.01)
    assert line["margin"] == 0.01
    expect(page.locator("[data-line=gate]")).to_contain_text("gate: in")
    operator.shot("line")


def test_a_zone_is_deleted_after_a_question(operator: Visitor) -> None:
    page = operator.page
    page.get_by_role("button", name="Change door").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("button", name="Keep")).to_be_focused()
    delete(operator)
    expect(page.get_by_role("button", name="Change door")).to_have_count(0)
    assert operator.api("cameras/hall")["zones"] == {}


def test_what_the_server_refuses_is_said_and_nothing_is_lost(operator: Visitor) -> None:
    page = operator.page
    operator.expected.append("status of 4")
    page.get_by_role("button", name="A zone by numbers").click()
    page.get_by_label("Name").fill("door")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_have_text("There is a zone door already. Choose another name.")
    page.get_by_label("Name").fill("Not An Id")
    page.get_by_role("button", name="Save").click()
    assert page.get_by_label("Name").evaluate("input => input.validity.patternMismatch")
    operator.context.route(
        "**/zones/desk", lambda route: route.fulfill(status=409, json={"detail": "the file is locked"})
    )
    page.get_by_label("Name").fill("desk")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_have_text("the file is locked")
    expect(page.get_by_label("Name")).to_have_value("desk")


def test_edges_that_cross_are_pointed_out(operator: Visitor) -> None:
    page = operator.page
    page.get_by_role("button", name="A zone by numbers").click()
    expect(page.get_by_text("Its edges cross each other.")).to_have_count(0)
    page.get_by_label("Point 2, % down").fill("90")
    page.get_by_label("Point 2, % across").fill("40")
    page.get_by_label("Point 3, % down").focus()
    expect(page.get_by_text("Its edges cross each other.")).to_be_visible()


def test_masks_are_for_admins(browser: Browser, address: str) -> None:
    with visitor(browser, address) as visiting:
        open_hall(visiting, "admin")
        page = visiting.page
        page.get_by_role("button", name="Draw a mask").click()
        for corner in ((0.0, 0.0), (0.3, 0.0), (0.3, 0.3)):
            click_at(visiting, *corner)
        page.keyboard.press("Enter")
        save(visiting)
        assert len(visiting.api("cameras/hall")["masks"]) == 1
        page.get_by_role("button", name="Change Mask 1").click()
        page.get_by_role("button", name="Delete").click()
        delete(visiting)
        expect(page.get_by_role("button", name="Change Mask 1")).to_have_count(0)
        assert visiting.api("cameras/hall")["masks"] == []


def test_operators_draw_no_masks(operator: Visitor) -> None:
    expect(operator.page.get_by_role("button", name="Draw a zone")).to_be_visible()
    expect(operator.page.get_by_role("button", name="Draw a mask")).to_have_count(0)


def test_a_zone_is_drawn_on_a_phone(browser: Browser, address: str) -> None:
    with visitor(browser, address, PHONE, "dark") as visiting:
        open_hall(visiting, "operator")
        page = visiting.page
        page.get_by_role("button", name="Draw a zone").click()
        for corner in ((0.2, 0.2), (0.8, 0.2), (0.5, 0.8)):
            click_at(visiting, *corner)
        visiting.shot("phone-zone-being-drawn")
        click_at(visiting, 0.2, 0.2)
        save(visiting, "phone")
        assert len(zone(visiting, "phone")) == 3
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
