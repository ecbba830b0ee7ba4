"""What a newcomer meets first: the two commands, the links, the example photos."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "src" / "densewatch" / "assets"
PHOTOS = [*sorted(ASSETS.glob("*.jpg")), *sorted((ROOT / "tests" / "photos").glob("*.jpg"))]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(ASSETS.glob("*.md")),
]

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # `make test` hands its own flags and variables down to whatever make is started below it.
    outer = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
    environment = {key: value for key, value in os.environ.items() if key not in outer}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )


@needs_make
@pytest.mark.parametrize("python", ["false", "no-such-python"])
def test_a_python_that_is_too_old_is_said_in_words(tmp_path: Path, python: str) -> None:
    result = make(f"VENV={tmp_path / 'venv'}", f"PYTHON={python}", "demo")
    assert result.returncode != 0
    assert f"densewatch needs Python 3.11 or newer; found: {python}" in result.stderr
    assert not (tmp_path / "venv").exists()


@needs_make
def test_make_finds_a_python_by_itself(tmp_path: Path) -> None:
    result = make("--dry-run", f"VENV={tmp_path / 'venv'}", "demo")
    assert result.returncode == 0
    assert re.search(r"python3[.\d]* -m venv ", result.stdout)


@needs_make
def test_what_is_installed_is_not_installed_again(tmp_path: Path) -> None:
    for stamp in (".created", ".installed", ".installed-test", ".installed-lint"):
        (tmp_path / stamp).touch()
    for target in ("demo", "test", "test-slow", "lint"):
        assert "pip install" not in make("--dry-run", f"VENV={tmp_path}", target).stdout


def test_the_readme_opens_with_a_picture_and_the_two_commands() -> None:
    opening = (ROOT / "README.md").read_text()[:900]
    assert "![" in opening
    assert opening.index("![") < opening.index("make demo") < opening.index("make test")


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.name)
def test_photos_are_small_and_credited(photo: Path) -> None:
    assert photo.stat().st_size < 200_000
    assert f"`{photo.name}`" in (photo.parent / "CREDITS.md").read_text()
    with Image.open(photo) as image:
        assert image.format == "JPEG"
