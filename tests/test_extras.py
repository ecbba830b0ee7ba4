"""The sentence on optional packages names only extras that there are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from densewatch.cli import needs
from densewatch.cli.main import app
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


@pytest.mark.parametrize("verb", [["export"], ["models", "import"]])
def test_a_verb_asks_for_what_it_needs_before_it_begins(
    verb: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights.pth").touch()
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name == "onnxscript" else object())
    result = CliRunner().invoke(app, [*verb, str(tmp_path / "weights.pth"), "-o", str(tmp_path / "m.onnx")])
    assert result.exit_code == 2
    assert "needs onnxscript: install densewatch with its [export] extra" in result.stderr


def test_a_torchvision_of_another_pytorch_is_named(tmp_path: Path) -> None:
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    (tmp_path / "labels.json").write_text('{"images": [], "annotations": [], "categories": []}')
    done = subprocess.run(
        [sys.executable, "-m", "densewatch", "doctor", str(tmp_path / "labels.json")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: torchvision was built for another PyTorch")
