"""The dashboard's files: nothing from elsewhere, no markup from data, the colours of annotated pictures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import densewatch
from densewatch.imaging import draw

STATIC = Path(densewatch.__file__).parent / "server" / "static"
SCRIPTS = sorted((STATIC / "js").rglob("*.js"))
PAGES = [STATIC / "index.html", *sorted((STATIC / "css").glob("*.css"))]
LONGEST = 300


def name(path: Path) -> str:
    return path.relative_to(STATIC).as_posix()


@pytest.mark.parametrize("path", SCRIPTS + PAGES, ids=name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]|@import|url\(", text)


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_data_never_becomes_markup(path: Path) -> None:
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc"
    assert not re.search(markup, path.read_text())


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_modules_are_short_and_leave_no_globals(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < LONGEST
    assert not re.search(r"\b(window|globalThis|self)\.\w+ = ", text)


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_imports_lead_to_files_that_are_there(path: Path) -> None:
    text = path.read_text()
    for target in re.findall(r"""(?:from|import)\s*\(?"(\.[^"]+)""", text):
        assert (path.parent / target).is_file(), target


def test_the_page_has_no_script_or_style_of_its_own() -> None:
    text = (STATIC / "index.html").read_text()
    assert not re.search(r"<style|style=|\son\w+=|<script>", text)
    for address in re.findall(r'(?:src|href)="(static/[^"]+)"', text):
        assert (STATIC.parent / address).is_file(), address


def test_classes_have_the_colours_of_annotated_pictures() -> None:
    found = re.findall(r'"(#[0-9a-f]{6})"', (STATIC / "js" / "colors.js").read_text())
    assert [f"#{bytes(color).hex()}" for color in (draw._INK, *draw._COLORS)] == found


def test_what_others_wrote_comes_with_its_licence() -> None:
    assert "MIT" in (STATIC / "vendor" / "uplot-LICENSE.txt").read_text()
    assert sorted(path.name for path in (STATIC / "vendor").iterdir()) == [
        "uplot-LICENSE.txt",
        "uplot.css",
        "uplot.js",
    ]
