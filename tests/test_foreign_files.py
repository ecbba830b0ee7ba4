"""Files of weights that are not what they should be: what is refused, and in which words."""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import zipfile
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from typer.testing import CliRunner, Result

from densewatch.cli.main import app
from densewatch.models.checkpoint import load_network
from densewatch.models.foreign import pickled_arrays, weights_file
from densewatch.models.foreign.convert import import_weights
from densewatch.models.foreign.errors import ImportFailedError
from densewatch.models.foreign.pickled_arrays import Array, read_pickle
from densewatch.models.foreign.weights_file import read_weights
from foreign_networks import NAMES, detectron2_state, mmdetection_state, picture

State = dict[str, Tensor]


class Exploit:
    """Makes a folder when a pickle that holds it is loaded in the trusting way."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.trace),)


@pytest.fixture(scope="module")
def state() -> State:
    return detectron2_state("resnet18")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", "import", *(str(argument) for argument in arguments)])


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_pickle_is_not_run(tmp_path: Path, protocol: int) -> None:
    weights, trace = tmp_path / "model_final.pkl", tmp_path / "trace"
    weights.write_bytes(pickle.dumps({"model": {"weight": Exploit(trace)}}, protocol))
    result = run(weights, "-o", tmp_path / "x.safetensors")
    assert result.exit_code == 1
    assert f"error: {weights}: the pickle " in result.stderr
    assert list(tmp_path.iterdir()) == [weights]
    pickle.loads(weights.read_bytes())
    assert trace.is_dir()  # the exploit would have worked


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(content=VALUES, protocol=st.sampled_from([2, 3, 4, 5]))
@settings(max_examples=60, deadline=None)
def test_a_pickle_of_plain_values_is_read_as_python_reads_it(content: Any, protocol: int) -> None:
    assert read_pickle(pickle.dumps(content, protocol)) == content


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "<f8", "<i8", "|u1"])
def test_arrays_are_read_as_numpy_reads_them(dtype: str, protocol: int) -> None:
    for values in (np.arange(24, dtype=dtype).reshape(2, 3, 4), np.zeros((0, 3), dtype), np.array(3, dtype)):
        for array in (values, np.asfortranarray(values)):
            read = read_pickle(pickle.dumps({"a": array}, protocol))["a"]
            assert isinstance(read, Array)
            np.testing.assert_array_equal(read.values, array)


@given(cut=st.integers(0, 400), byte=st.integers(0, 255))
@settings(max_examples=100, deadline=None)
def test_a_broken_pickle_is_an_error_and_nothing_worse(cut: int, byte: int) -> None:
    whole = pickle.dumps({"model": {"weight": np.arange(9.0)}, "epoch": 3}, 4)
    broken = whole[:cut] + bytes([byte]) + whole[cut + 1 :]
    for data in (whole[:cut], broken):
        with contextlib.suppress(ImportFailedError):
            read_pickle(data)


class FromBuffer:
    """Is pickled as numpy pickles an array with protocol 5; many share one content."""

    content = bytes(1000)

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def __reduce__(self) -> tuple[Any, ...]:
        make = np._core.numeric._frombuffer  # type: ignore[attr-defined]
        return make, (self.content, np.dtype("u1"), self.shape, "C")


def test_a_short_pickle_cannot_become_large(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.dumps([FromBuffer((1000,)) for _ in range(20)], 4)
    assert len(data) < 3000
    assert len(read_pickle(data)) == 20
    monkeypatch.setattr(pickled_arrays, "MAX_BYTES", 10_000)
    with pytest.raises(ImportFailedError, match="in memory; refused"):
        read_pickle(data)


def test_a_side_of_an_array_has_bounds() -> None:
    with pytest.raises(ImportFailedError, match="whose shape is no shape"):
        read_pickle(pickle.dumps(FromBuffer((0, 2**31)), 4))


def test_a_tensor_that_is_larger_than_what_is_stored(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"weight": torch.zeros(1).expand(1 << 20, 1 << 20)}, path)  # 4 KB in the file
    with pytest.raises(ImportFailedError, match="but fewer numbers are stored; refused"):
        read_weights(path)


def test_a_zip_file_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, packed = tmp_path / "plain.pth", tmp_path / "packed.pth"
    torch.save({"weight": torch.zeros(100_000)}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    assert packed.stat().st_size < 10_000
    monkeypatch.setattr(weights_file, "MAX_BYTES", 100_000)
    with pytest.raises(ImportFailedError, match="GB are read"):
        read_weights(packed)


def test_tensors_that_share_what_is_stored_cannot_become_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, stored = tmp_path / "weights.pth", torch.zeros(10_000, dtype=torch.float16)
    torch.save({f"weight{number}": stored[:] for number in range(20)}, path)
    assert len(read_weights(path).tensors) == 20
    monkeypatch.setattr(weights_file, "MAX_BYTES", 400_000)
    with pytest.raises(ImportFailedError, match="has weights of more than"):
        read_weights(path)


@pytest.fixture
def toolkit_class(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, type], Any]:
    """Makes classes that are pickled under the names of toolkits that are not installed."""

    def pretend(module: str, name: str, base: type) -> Any:
        parts = module.split(".")
        for count in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:count]), ModuleType(parts[count - 1]))
        cls = type(name, (base,), {"__module__": module})
        monkeypatch.setattr(sys.modules[module], name, cls, raising=False)
        return cls

    return pretend


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("yacs.config", "CfgNode"),
        ("fvcore.common.config", "CfgNode"),
        ("mmcv.utils.config", "ConfigDict"),
        ("addict.addict", "Dict"),
    ],
)
def test_settings_and_logs_beside_the_weights_do_not_matter(
    tmp_path: Path, toolkit_class: Callable[[str, str, type], Any], module: str, name: str
) -> None:
    settings = toolkit_class(module, name, dict)
    config = settings(model=settings(depth=50))
    config.frozen = True
    path = tmp_path / "weights.pth"
    beside = {
        "cfg": config,
        "losses": deque([0.5, 0.25], maxlen=3),
        "counts": defaultdict(int, {"cat": 3}),
        "lists": defaultdict(list, {"cat": [1]}),
        "tables": defaultdict(dict, {"cat": {"a": 1.0}}),
        "means": defaultdict(float, {"cat": 1.0}),
    }
    torch.save({"model": {"weight": torch.ones(2)}, **beside}, path)
    assert read_weights(path).tensors["weight"].tolist() == [1.0, 1.0]


def test_what_cannot_be_read_has_a_reason(
    tmp_path: Path, toolkit_class: Callable[[str, str, type], Any]
) -> None:
    log = toolkit_class("mmcv.logging", "Log", list)
    path = tmp_path / "weights.pth"
    torch.save({"model": {"weight": torch.ones(2)}, "log": log([1, 2])}, path)
    with pytest.raises(ImportFailedError, match=r"cannot be read as PyTorch weights: \w+ .*list"):
        read_weights(path)


def test_the_reason_may_stand_on_the_next_line() -> None:
    error = pickle.UnpicklingError("Advice.\n WeightsUnpickler error: \n\nUnsupported operand 149")
    assert weights_file._reason(error) == "Unsupported operand 149"


def without(state: State, name: str) -> State:
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: without(state, "backbone.top_block.p6.weight"), "'pyramid.p6.weight' is missing"),
        (lambda state: without(state, "head.bbox_pred.bias"), "'box_head.output.bias' is missing"),
        (
            lambda state: state | {"head.centerness.bias": torch.zeros(9)},
            "tensor 'head.centerness.bias' belongs to no RetinaNet of detectron2",
        ),
        (
            lambda state: state | {"head.bbox_pred.bias": torch.zeros(12)},
            "has 12 box outputs and 45 class outputs a cell, not 36 and a multiple of 9",
        ),
        (
            lambda state: without(state, "backbone.bottom_up.res5.1.conv1.weight"),
            "is not a RetinaNet of detectron2: ",
        ),
        (
            lambda state: state | {"pixel_mean": torch.zeros(3), "pixel_std": torch.ones(3)},
            "has pixel_mean [0.0, 0.0, 0.0] and pixel_std [1.0, 1.0, 1.0], which are of none of the styles",
        ),
        (
            lambda state: state | {"anchor_generator.cell_anchors.0": torch.zeros(9, 4)},
            "has other anchors than detectron2's RetinaNet at level P3",
        ),
        (lambda state: {}, "holds no weights at all"),
        (lambda state: {"weight": "text"}, "'weight' is a str"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, state: State, change: Callable[[State], dict[str, Any]], told: str
) -> None:
    path = tmp_path / "model.pth"
    torch.save({"model": change(state)}, path)
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    with pytest.raises(ImportFailedError) as caught:
        import_weights(path, "detectron2", names=str(tmp_path / "names.txt"))
    assert str(caught.value).startswith(f"{path}: ")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (None, "has 5 class outputs, but no class names: give --names coco, or --names FILE"),
        ("coco", "has 5 class outputs, but 80 classes are named ('person' … 'toothbrush')"),
        ("absent.txt", "class names cannot be read from absent.txt"),
        ("cell\ncell\n", "names the class 'cell' more than once"),
        ("\n", "names no class at all"),
    ],
)
def test_class_names_that_do_not_fit(
    tmp_path: Path, state: State, names: str | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(state, "model.pth")
    if names is not None and "\n" in names:
        Path("names.txt").write_text(names)
        names = "names.txt"
    with pytest.raises(ImportFailedError, match=told.replace("(", r"\(").replace(")", r"\)")):
        import_weights(Path("model.pth"), names=names)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("type='RetinaNet'", "type='ATSS'", "model.type = ATSS; only RetinaNet can be imported"),
        ("start_level=1", "start_level=0", "model.neck.start_level = 0; only 1 can be imported"),
    ],
)
def test_settings_of_another_network_of_mmdetection(tmp_path: Path, old: str, new: str, told: str) -> None:
    text = "model = dict(type='RetinaNet', neck=dict(type='FPN', start_level=1))\nos.system('touch x')\n"
    path = tmp_path / "epoch_1.pth"
    meta = {"config": text.replace(old, new), "CLASSES": ("a",)}
    torch.save({"meta": meta, "state_dict": mmdetection_state("resnet18")}, path)
    with pytest.raises(ImportFailedError, match=told):
        import_weights(path)


def test_the_command_writes_a_checkpoint_that_finds_the_same(tmp_path: Path, state: State) -> None:
    weights, output = tmp_path / "model_final.pkl", tmp_path / "cells.safetensors"
    weights.write_bytes(pickle.dumps({"model": {name: value.numpy() for name, value in state.items()}}, 4))
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    result = run(weights, "--names", tmp_path / "names.txt", "-o", output)
    assert result.exit_code == 0, result.stderr
    assert "style caffe, as in detectron2's model zoo" in result.stderr
    assert "retinanet-resnet18-detectron2, 5 class outputs" in result.stderr
    network, info = load_network(output)
    assert info.names == NAMES
    imported = import_weights(weights, names=str(tmp_path / "names.txt")).network
    image = picture().permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        for ours, theirs in zip(network(image).cls_logits, imported(image).cls_logits, strict=True):
            torch.testing.assert_close(ours, theirs, atol=0, rtol=0)


@pytest.mark.slow
def test_the_command_writes_a_model_file_with_its_proof(tmp_path: Path, state: State) -> None:
    weights, output = tmp_path / "model_final.pth", tmp_path / "cells.onnx"
    torch.save({"model": state}, weights)
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    result = run(weights, "--names", tmp_path / "names.txt", "-o", output)
    assert result.exit_code == 0, result.stderr
    assert output.is_file()
