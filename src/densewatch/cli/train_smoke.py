"""`densewatch train --smoke`: the whole way in a minute, from labels to boxes, on a few pictures."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from densewatch.cli.console import SOME_FAILED, report_error, say
from densewatch.cli.needs import EXPORTING, need
from densewatch.training.settings import DataSource, TrainSettings

_PICTURES = 8
_SIDE_PX = 320


def run_smoke(settings: TrainSettings) -> None:
    """Train, export, measure and detect as the commands do, each a process, in a folder that goes away.

    Ends the program where a step fails, with what that step said.
    """
    need(EXPORTING, "--smoke, which exports too,", "export")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="densewatch-smoke-") as name:
        folder = Path(name)
        small = _small(settings, folder / "run")
        (folder / "smoke.yaml").write_text(small.model_dump_json(exclude={"resume"}), encoding="utf-8")
        _do("train", "--config", folder / "smoke.yaml")
        _do("export", folder / "run" / "model.safetensors")
        model = folder / "run" / "model.onnx"
        measured = small.val or small.data[0]
        _do("evaluate", "--model", model, *_as_flags(measured), "--limit", _PICTURES, "--resamples", 0)
        _do("detect", "--model", model, _first_picture(measured))
    say(f"smoke: all in {time.monotonic() - began:.0f} s, on at most {_PICTURES} pictures of each data set")


def _small(settings: TrainSettings, out: Path) -> TrainSettings:
    def few(source: DataSource) -> DataSource:
        return source.model_copy(update={"limit": _PICTURES, "repeat": 1})

    changes = {
        "data": tuple(few(source) for source in settings.data),
        "val": None if settings.val is None else few(settings.val),
        "imgsz": (min(_SIDE_PX, *settings.imgsz),),
        "batch": min(settings.batch, _PICTURES // 2),
        "epochs": 2,
        "patience": 0,
        "warmup": 1,
        "workers": min(settings.workers, 1),
        "cache": "off",
        "out": out,
        "resume": False,
    }
    return settings.model_copy(update=changes)


def _as_flags(source: DataSource) -> list[str]:
    flags = ["--data", str(source.annotations)]
    flags += [] if source.images is None else ["--images", str(source.images)]
    flags += [] if source.split is None else ["--split", source.split]
    return flags + [part for key, value in source.where.items() for part in ("--where", f"{key}={value}")]


def _first_picture(source: DataSource) -> Path:
    from densewatch.training.sources import read_source

    return read_source(source.model_copy(update={"limit": 1}))[0].path


def _do(verb: str, *arguments: object) -> None:
    """Run one command; say how long it took, or what it said before it failed."""
    began = time.monotonic()
    command = [sys.executable, "-m", "densewatch", verb, *(str(argument) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stderr)
        report_error(f"smoke: {verb} failed")
        raise SystemExit(SOME_FAILED)
    say(f"smoke: {verb} works ({time.monotonic() - began:.0f} s)")
