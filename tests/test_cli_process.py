"""The command as a process of its own: start, streams, signals, terminals."""

from __future__ import annotations

import json
import os
import pty
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from densewatch import __version__
from tiny_model import draw_squares, write_tiny_model

COMMAND = [sys.executable, "-c", "from densewatch.cli.main import main; main()"]
VERBS = [
    "detect",
    "evaluate",
    "bench",
    "models list",
    "models info",
    "models pull",
    "models import",
    "models cache",
]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model file and twenty pictures in `photos`."""
    folder = tmp_path_factory.mktemp("scene")
    write_tiny_model(folder / "tiny.onnx")
    (folder / "photos").mkdir()
    Image.fromarray(draw_squares((96, 96), [(0, 0, 32, "car")])).save(folder / "photos" / "0.png")
    for number in range(1, 20):
        shutil.copy(folder / "photos" / "0.png", folder / "photos" / f"{number}.png")
    return folder


def environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "100"}


def run(*arguments: str, scene: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], env=environment(), cwd=scene, capture_output=True, text=True, timeout=60
    )


def test_version() -> None:
    assert run("--version").stdout == f"densewatch {__version__}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples(verb: str) -> None:
    result = run(*verb.split(), "--help")
    assert result.returncode == 0
    assert f"densewatch {verb}" in result.stdout.partition("Examples:")[2]


@pytest.mark.parametrize(
    ("typed", "meant"), [("detct", "detect"), ("evalute", "evaluate"), ("model", "models")]
)
def test_a_mistyped_verb_suggests_the_nearest(typed: str, meant: str) -> None:
    result = run(typed)
    assert result.returncode == 2
    assert f"'{meant}'" in result.stderr
    assert result.stdout == ""


def test_help_starts_fast() -> None:
    durations_s = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        durations_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # CPU time, because wall time is also about what else the machine does; about 0.2 s.
    assert statistics.median(durations_s) < 1.0


def test_the_command_line_loads_nothing_heavy_before_it_is_needed() -> None:
    code = "import sys, densewatch.cli.main; print(*sorted(sys.modules))"
    modules = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    heavy = {
        "torch",
        "torchvision",
        "openvino",
        "onnxruntime",
        "supervision",
        "cv2",
        "PIL",
        "numpy",
        "pydantic",
    }
    assert modules & heavy == set()


def test_interrupt_ends_with_130_and_no_traceback(scene: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "detect", "photos/0.png", "-", "--model", "tiny.onnx", "--format", "jsonl"],
        env=environment(),
        cwd=scene,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["counts"] == {"car": 1}
    process.send_signal(signal.SIGINT)  # it is waiting for a picture that never comes
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in errors


@pytest.mark.parametrize("output_format", ["json", "coco"])
def test_an_interrupted_document_holds_what_was_done(scene: Path, output_format: str) -> None:
    options = ["--model", "tiny.onnx", "--format", output_format, "--save", "drawn"]
    process = subprocess.Popen(
        [*COMMAND, "detect", "photos/0.png", "-", *options],
        env=environment(),
        cwd=scene,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    while not (scene / "drawn" / "0.jpg").exists():  # the first picture is done then
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    shutil.rmtree(scene / "drawn")
    assert process.returncode == 130
    document = json.loads(output)
    assert len(document if output_format == "coco" else document["images"]) == 1


@pytest.mark.parametrize("output_format", ["jsonl", "csv", "table"])
def test_a_reader_that_leaves_early_is_no_error(scene: Path, output_format: str) -> None:
    process = subprocess.Popen(
        [*COMMAND, "detect", "photos", "--model", "tiny.onnx", "--format", output_format],
        env=environment(),
        cwd=scene,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=30)
    assert errors == ""


def test_progress_shows_on_a_terminal_and_stays_out_of_the_results(scene: Path) -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "detect", "photos", "--model", "tiny.onnx", "--format", "jsonl"],
        env={**environment(), "TERM": "xterm"},
        cwd=scene,
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
    )
    output, _ = process.communicate(timeout=60)
    os.close(terminal)
    shown = os.read(controller, 65536).decode()
    os.close(controller)
    assert "detecting" in shown
    assert "/20" in shown
    assert [json.loads(line)["source"] for line in output.splitlines()] == [
        f"photos/{i}.png" for i in range(20)
    ]


def test_progress_is_silent_without_a_terminal(scene: Path) -> None:
    result = run("detect", "photos", "--model", "tiny.onnx", "--format", "csv", scene=scene)
    assert result.stderr == ""
    assert len(result.stdout.splitlines()) == 21


def test_a_name_that_the_encoding_lacks_is_printed_somehow(scene: Path) -> None:
    odd = scene / os.fsdecode(b"odd-\xff-\xe9.png")
    try:
        shutil.copy(scene / "photos" / "0.png", odd)
    except OSError:
        pytest.skip("this file system takes no such names")
    result = subprocess.run(
        [*COMMAND, "detect", odd.name, "--model", "tiny.onnx"],
        env={**environment(), "PYTHONIOENCODING": "utf-8:strict"},
        cwd=scene,
        capture_output=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert b"odd-" in result.stdout
