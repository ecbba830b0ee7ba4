"""Both engines run a model file alike, the cache never serves an old network, nobody is told anything."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from densewatch.runtime.engine import Engine, EngineError, Output, Precision, describe_engine
from densewatch.runtime.engines import EngineName, create_engine
from densewatch.runtime.openvino_engine import OpenVinoEngine, import_openvino
from tiny_model import draw_squares, tiny_info, write_tiny_model

ENGINES: list[EngineName] = ["openvino", "onnxruntime"]


@pytest.fixture(autouse=True)
def cache_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep compiled networks of tests out of the user's cache."""
    home = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home


def blobs(cache_home: Path) -> list[Path]:
    return sorted(cache_home.glob("densewatch/compiled/*/*.blob"))


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 96, 160), (3, 160, 96)])
def test_boxes_and_scores(tmp_path: Path, name: EngineName, shape: tuple[int, int, int]) -> None:
    engine = create_engine(
        write_tiny_model(tmp_path / "tiny.onnx", tiny_info(strides=(32,))), name, threads=1
    )
    batch, height, width = shape
    images = np.stack([draw_squares((height, width), [(0, 0, 32, "chair")])] * batch)
    images[-1] = draw_squares((height, width), [(width - 32, height - 32, 32, "person")], brightness=204)
    boxes, scores = engine(images)
    cells = (height // 32) * (width // 32)
    assert (boxes.shape, scores.shape) == ((batch, cells, 4), (batch, cells, 3))
    assert boxes.dtype == scores.dtype == np.float32
    assert boxes[-1, 0].tolist() == [width - 32, height - 32, width, height]
    assert scores[-1, 0].tolist() == pytest.approx([0.8, 0, 0], abs=0.004)
    if batch > 1:
        assert boxes[0, 0].tolist() == [0, 0, 32, 32]
        assert scores[0, 0].tolist() == pytest.approx([0, 1, 0])


@pytest.mark.parametrize("name", ENGINES)
def test_engine_says_what_it_is(tmp_path: Path, name: EngineName) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    engine: Engine = create_engine(path, name, threads=1, precision="float32", device="cpu")
    assert (engine.name, engine.numeric_type, engine.threads) == (name, "float32", 1)
    assert engine.version[0].isdigit()
    assert describe_engine(engine) == f"{name} {engine.version}, float32, 1 threads"
    assert create_engine(path).name == "openvino"
    assert create_engine(path, name, threads=2, streams=5, device="cpu").streams == 2


@pytest.mark.parametrize(("name", "library"), [("openvino", "OpenVINO"), ("onnxruntime", "ONNX Runtime")])
def test_what_the_library_raises_is_an_engine_error(tmp_path: Path, name: EngineName, library: str) -> None:
    engine = create_engine(write_tiny_model(tmp_path / "tiny.onnx"), name, threads=1)
    with pytest.raises(EngineError, match=rf"{library} failed at a picture of 64x32 px: \S"):
        engine(np.zeros((1, 32, 64, 4), np.uint8))  # a channel too many


@pytest.mark.parametrize("name", ENGINES)
def test_results_are_not_overwritten_by_the_next_call(tmp_path: Path, name: EngineName) -> None:
    engine = create_engine(write_tiny_model(tmp_path / "tiny.onnx"), name)
    _, scores = engine(draw_squares((64, 64), [(0, 0, 64, "chair")])[None])
    before = scores.copy()
    engine(np.zeros((1, 64, 64, 3), np.uint8))
    assert np.array_equal(scores, before)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("streams", [1, 3])
def test_several_threads(tmp_path: Path, name: EngineName, streams: int) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    engine = create_engine(path, name, threads=streams, streams=streams, device="cpu")
    assert engine.streams == streams
    wrong: list[int] = []

    def run(cell: int) -> None:
        image = draw_squares((64, 256), [(32 * cell, 0, 32, "car")])[None]
        wrong.extend(cell for _ in range(20) if engine(image)[0][0, 0, 0] != 32 * cell)

    threads = [threading.Thread(target=run, args=(cell,)) for cell in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_compiled_network_is_kept_and_used(
    tmp_path: Path, cache_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    create_engine(path)
    (blob,) = blobs(cache_home)
    written = blob.stat().st_mtime_ns
    create_engine(path)
    assert [(item, item.stat().st_mtime_ns) for item in blobs(cache_home)] == [(blob, written)]
    assert caplog.records == []


def test_a_rewritten_file_is_never_served_from_the_cache(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx", tiny_info(topk=101))
    images = np.zeros((1, 512, 512, 3), np.uint8)
    old, stamp = create_engine(path)(images)[0], path.stat()
    write_tiny_model(path, tiny_info(topk=102))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert path.stat().st_size == stamp.st_size
    assert (old.shape[1], create_engine(path)(images)[0].shape[1]) == (101 + 64, 102 + 64)


def test_a_damaged_cache_is_compiled_anew(tmp_path: Path, cache_home: Path) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    create_engine(path)
    (blob,) = blobs(cache_home)
    blob.chmod(0o600)
    os.truncate(blob, 100)
    assert create_engine(path)(np.zeros((1, 32, 32, 3), np.uint8))[0].shape == (1, 2, 4)


def test_a_cache_that_cannot_be_written_is_a_warning(
    tmp_path: Path, cache_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache_home.write_text("a file where a folder should be")
    with caplog.at_level(logging.WARNING):
        engine = create_engine(write_tiny_model(tmp_path / "tiny.onnx"))
    assert engine(np.zeros((1, 32, 32, 3), np.uint8))[0].shape == (1, 2, 4)
    (record,) = caplog.records
    assert "every start compiles" in record.getMessage()
    assert str(cache_home) in record.getMessage()


_TWO_ENGINES = """
import signal, sys, threading
from pathlib import Path
from densewatch.runtime.engines import create_engine

signal.signal(signal.SIGINT, lambda *_: print("signalled", flush=True))
path = Path(sys.argv[1])
first, second = create_engine(path, "openvino"), create_engine(path, "openvino")
del first
held = [second]
del second
thread = threading.Thread(target=held.clear)
thread.start()
thread.join()
signal.raise_signal(signal.SIGINT)
"""


def test_a_process_that_let_go_of_its_engines_survives_signals(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    command = [sys.executable, "-c", _TWO_ENGINES, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "signalled\n"), done.stderr


def test_bfloat16_where_the_cpu_has_it(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    core = import_openvino().Core()
    if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert create_engine(path, precision="bfloat16").numeric_type == "bfloat16"
        assert create_engine(path).numeric_type == "bfloat16"
    else:
        assert create_engine(path).numeric_type == "float32"
        with pytest.raises(EngineError, match="does not compute bfloat16 in hardware"):
            create_engine(path, precision="bfloat16")


@pytest.mark.parametrize(
    ("engine", "threads", "precision", "error", "message"),
    [
        (
            "tensorflow",
            None,
            "auto",
            ValueError,
            "engine must be one of auto, openvino, onnxruntime, tensorrt, not 'tensorflow'",
        ),
        ("auto", None, "int4", ValueError, "precision must be one of auto, float32, bfloat16, not 'int4'"),
        ("auto", 0, "auto", ValueError, "threads must be at least 1, not 0"),
        ("onnxruntime", None, "bfloat16", EngineError, "float32 only; use --engine openvino"),
    ],
)
def test_wrong_settings(
    tmp_path: Path,
    engine: EngineName,
    threads: int | None,
    precision: Precision,
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        create_engine(write_tiny_model(tmp_path / "tiny.onnx"), engine, threads, precision)


@pytest.mark.parametrize("name", ENGINES)
def test_a_broken_network(tmp_path: Path, name: EngineName, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(write_tiny_model(tmp_path / "tiny.onnx").read_bytes()[:-200])
    with pytest.raises(EngineError, match=r"cannot run .*broken\.onnx: \S"):
        create_engine(path, name)
    assert caplog.records == []  # the cache is not to blame


@pytest.mark.parametrize("name", ENGINES)
def test_a_network_with_other_outputs(tmp_path: Path, name: EngineName) -> None:
    path = write_tiny_model(tmp_path / "other.onnx")
    model = onnx.load(path)
    renamed = onnx.compose.add_prefix(model, "x/", rename_nodes=False)
    onnx.save(renamed, path)
    with pytest.raises(EngineError, match=r"has no boxes, image, scores, but x/image"):
        create_engine(path, name)


@pytest.mark.parametrize("name", ENGINES)
def test_a_missing_engine(tmp_path: Path, name: EngineName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(EngineError, match=r"cannot be imported .*pip install"):
        create_engine(write_tiny_model(tmp_path / "tiny.onnx"), name)


@pytest.mark.parametrize("name", ENGINES)
def test_nothing_is_reported_to_anyone(tmp_path: Path, name: EngineName) -> None:
    """Both engines, imported in the usual way, would write an identity below HOME and send messages."""
    path = write_tiny_model(tmp_path / "tiny.onnx")
    home = tmp_path / "home"
    home.mkdir()
    code = (
        "import sys; from pathlib import Path; from densewatch.runtime.engines import create_engine\n"
        f"path = Path({str(path)!r})\n"
        "create_engine(path, sys.argv[1], threads=1, precision='float32')\n"
        "print([name for name, module in sys.modules.items() if 'openvino_telemetry' in name and module])"
    )
    # Both keep quiet by themselves where they believe to be in a test run, and here they must not.
    unset = {"CI", "XDG_CACHE_HOME", *(key for key in os.environ if key.startswith("ORT_"))}
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    done = subprocess.run(
        [sys.executable, "-c", code, name],
        env={**environment, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    strangers = [found for found in home.rglob("*") if "densewatch" not in found.parts]
    assert [str(found) for found in strangers if found.is_file()] == []


def test_a_size_that_comes_often_is_compiled_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the same results, by whichever thread it is compiled."""
    fixed: list[list[int]] = []
    engine = create_engine(write_tiny_model(tmp_path / "tiny.onnx"), "openvino", threads=2, streams=2)
    assert isinstance(engine, OpenVinoEngine)
    read = engine._core.read_model

    def noted(path: Path) -> Any:
        model = read(path)
        fixed.append(list(images.shape))
        return model

    library = SimpleNamespace(read_model=noted, compile_model=engine._core.compile_model)
    monkeypatch.setattr(engine, "_core", library)
    for images in (draw_squares((64, 96), [(32, 32, 32, "car")])[None], np.zeros((2, 64, 64, 3), np.uint8)):
        with ThreadPoolExecutor(3) as pool:
            outputs = list(pool.map(engine, [images] * 40))
        first, *others = (candidates(output) for output in outputs)  # equal scores stand in any order
        assert all(other == first for other in others)
    assert fixed == [[1, 64, 96, 3], [2, 64, 64, 3]]
    assert caplog.records == []


def candidates(output: Output) -> list[list[tuple[float, ...]]]:
    """Return the candidates of each picture, box and scores, sorted."""
    return [
        sorted(map(tuple, np.concatenate(both, axis=1).round(5).tolist()))
        for both in zip(*output, strict=True)
    ]


def test_threads_that_all_come_first_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """In a new process: OpenVINO's binding sets itself up with the first array that it is given."""
    path = write_tiny_model(tmp_path / "tiny.onnx")
    code = f"""
import sys, threading
from pathlib import Path
import numpy as np
from densewatch.runtime.engines import create_engine
sys.setswitchinterval(1e-6)
engine = create_engine(Path({str(path)!r}), "openvino", threads=4, streams=4)
start = threading.Barrier(4)
def run():
    start.wait()
    engine(np.zeros((1, 64, 64, 3), np.uint8))
threads = [threading.Thread(target=run) for _ in range(4)]
for thread in threads:
    thread.start()
"""
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_around_int8_the_rest_computes_in_float32(engine: EngineName, tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    assert create_engine(path, engine, device="cpu", weights="int8").numeric_type == "int8 and float32"
