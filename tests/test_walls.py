"""The walls of the house: who may import whom, what a plain install runs without, and how quietly."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import densewatch

PACKAGE = Path(densewatch.__file__).parent

MAY_IMPORT = {
    "detections": set(),
    "metadata": set(),
    "records": set(),
    "commit": set(),
    "suggest": set(),
    "extras": set(),
    "hub": set(),
    "published": set(),
    "imaging": {"detections"},
    "data": {"detections", "imaging"},
    "models": {"detections"},
    "evaluation": {"detections", "data"},
    # One engine lives outside `runtime`, which works without PyTorch.
    "torch_engine": {"models", "runtime", "imaging", "detections"},
    # Training measures on the path that users' pictures take: runtime turns candidates into boxes there too.
    "training": {"models", "data", "evaluation", "imaging", "detections", "runtime", "torch_engine"},
    # The doctor asks the networks' own anchors and the runtime's own NMS; its page has evaluation's style.
    "doctor": {"models", "data", "imaging", "runtime", "evaluation"},
    "runtime": {"detections", "imaging"},
    "export": {"models", "data", "runtime", "evaluation", "imaging", "hub", "published"},
    "live": {"runtime", "imaging", "detections"},
    "store": set(),
    "site": {"live"},
    "server": {"site", "live", "store", "imaging", "detections"},
    "cluster": {"runtime", "live", "training"},
    "benchmarking": {"runtime"},
    "loading": {"runtime", "torch_engine"},
    "__main__": {"cli"},
}
"""The table of rooms; `cli` may see all of them."""

OPEN_TO_ALL = {"metadata", "records", "commit", "suggest", "extras", "__version__"}
"""What travels between rooms, and small things that every room may need."""

PLAIN_ROOMS = {
    "detections",
    "metadata",
    "commit",
    "suggest",
    "extras",
    "hub",
    "published",
    "evaluation",
    "imaging",
    "runtime",
    "loading",
    "records",
    "cli",
}
"""Rooms that work in a plain install."""

LIVE_ROOMS = {"live", "store", "site", "server"}
"""Rooms that need what the extra [live] brings, and never PyTorch."""

NOT_IN_A_PLAIN_INSTALL = [
    "torch",
    "torchvision",
    "lightning_fabric",
    "timm",
    "onnx",
    "onnxscript",
    "nncf",
    "onnxruntime",
    "faster_coco_eval",
    "pycocotools",
    "safetensors",
    "tensorboard",
    "jinja2",
    "yaml",
    "openvino_telemetry",
]


def modules() -> Iterator[tuple[str, Path]]:
    """Give every module of the package, by its name below `densewatch`, and its file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            yield name, path


def imports(path: Path) -> set[str]:
    """Return the names of all modules that a file imports anywhere, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import; this house writes whole names"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def rooms(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("densewatch.")}


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_arrows_run_downwards_only(room: str) -> None:
    allowed = MAY_IMPORT[room] | OPEN_TO_ALL | {room}
    for name, path in modules():
        if name.split(".")[0] == room:
            assert rooms(imports(path)) <= allowed, f"{path} reaches into a room that it may not import"


def test_the_table_has_no_circle() -> None:
    left = dict(MAY_IMPORT)
    while left:
        free = [room for room, below in left.items() if not below & set(left)]
        assert free, f"a circle among {sorted(left)}"
        for room in free:
            del left[room]


def test_the_table_has_every_room() -> None:
    assert {name.split(".")[0] for name, _ in modules()} - set(MAY_IMPORT) == {"cli"}


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_an_engine_is_imported_in_one_place(engine: str) -> None:
    """Its telemetry is kept out there; an import elsewhere would let it in."""
    users = {
        name
        for name, path in modules()
        if any(imported.split(".")[0] == engine for imported in imports(path))
    }
    assert users == {f"runtime.{engine}_engine"}


BLOCKER = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is not in a plain install", name=name)

BLOCKED = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Blocker())
for name in sys.argv[2:]:
    importlib.import_module(f"densewatch.{name}")
"""


def run_without_extras(
    *names: str, code: str = "", blocked: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Import modules in a process that lacks packages, by default all extras; then run `code` there."""
    command = [sys.executable, "-c", BLOCKER + code, ",".join(blocked or NOT_IN_A_PLAIN_INSTALL), *names]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_plain_rooms_import_without_any_extra() -> None:
    names = [name for name, _ in modules() if name.split(".")[0] in PLAIN_ROOMS]
    names = [name for name in names if not name.startswith("cli.watch_")]  # `watch` needs [live], and says so
    assert {"runtime.detector", "imaging.resize", "cli.watch"} <= set(names)
    done = run_without_extras(*names)
    assert done.returncode == 0, done.stderr


def test_live_rooms_import_without_pytorch() -> None:
    names = [name for name, _ in modules() if name.split(".")[0] in LIVE_ROOMS]
    names.remove("store.migrations.env")  # which only Alembic can run
    assert {"live.watcher", "store.store", "server.app", "site.yaml_file"} <= set(names)
    done = run_without_extras(*names, blocked=[name for name in NOT_IN_A_PLAIN_INSTALL if name != "yaml"])
    assert done.returncode == 0, done.stderr


def test_the_wall_is_there() -> None:
    done = run_without_extras(code="import torch")
    assert "torch is not in a plain install" in done.stderr


def test_a_detector_runs_without_any_extra(tmp_path: Path) -> None:
    from tiny_model import write_tiny_model

    path = write_tiny_model(tmp_path / "tiny.onnx")
    code = (
        "import numpy, densewatch\n"
        "image = numpy.zeros((64, 64, 3), numpy.uint8); image[:32, 32:, 1] = 255\n"
        f"print(densewatch.load({str(path)!r}).detect(image, threshold=0.9).to_dicts())"
    )
    done = run_without_extras(code=code)
    assert done.stdout.strip() == "[{'label': 'chair', 'score': 1.0, 'box': [32.0, 0.0, 64.0, 32.0]}]", (
        done.stderr
    )
