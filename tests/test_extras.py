"""The sentence on optional packages names only extras that there are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from densewatch.extras import how_to_install

ROOT = Path(__file__).resolve().parents[1]


def test_every_extra_that_is_named_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    code = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    named = set(re.findall(r"how_to_install\(['\"](\w+)['\"]\)|pip install '\.\[(\w+)\]'", code))
    assert {name for pair in named for name in pair if name} <= set(extras)
    assert "pip install 'densewatch" not in code, "densewatch is on no package index"


def test_the_sentence() -> None:
    assert how_to_install("eval") == (
        "install densewatch with its [eval] extra (in a checkout: pip install '.[eval]')"
    )
