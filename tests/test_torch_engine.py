"""PyTorch as an engine: model files and checkpoints give the boxes that the other engines give."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn

import densewatch as dw
from densewatch.export.onnx_graph import write_graph, write_metadata
from densewatch.export.proof import MAX_BOX_ERROR_PX, MAX_SCORE_ERROR, _nearest, candidate_errors, compare
from densewatch.imaging.read import read_image
from densewatch.imaging.resize import batch, prepare
from densewatch.metadata import ClassInfo, LevelInfo, ModelInfo, ResizePolicy
from densewatch.models.candidates import CandidateNet
from densewatch.models.checkpoint import save_checkpoint
from densewatch.models.config import preset
from densewatch.models.model_file_weights import load_model_file_network
from densewatch.models.retinanet import RetinaNet
from densewatch.runtime.engine import EngineError, Output, describe_engine
from densewatch.runtime.engines import create_engine
from densewatch.runtime.model_file import ModelFileError, embedded_models, read_info
from densewatch.torch_engine.load import load_torch_engine
from densewatch.torch_engine.network import kept_anchors, make_ready
from densewatch.torch_engine.programs import Programs

PHOTO = Path(dw.__file__).parent / "assets" / "astronaut.jpg"
TOPK = 60
CPU = torch.device("cpu")


def network() -> RetinaNet:
    """Return a narrow ResNet-18 RetinaNet, with both kinds of norm, whose scores are spread out."""
    torch.manual_seed(0)
    narrow = {"width": 16, "depth": 1, "groups": 4}
    made = RetinaNet(
        preset("torchvision-v2", 3, backbone={"name": "resnet18"}, head=narrow, pyramid={"width": 16})
    )
    with torch.no_grad():
        for parameter in made.parameters():  # no two are equal, as after training
            parameter.add_(0.01 * torch.randn_like(parameter))
        for layer in made.modules():
            if isinstance(layer, nn.BatchNorm2d):
                for name, value in layer.named_buffers():
                    if name == "running_mean":
                        value.normal_(std=0.1)
                    elif name == "running_var":
                        value.uniform_(0.5, 1.5)
        made.class_head.output.weight.normal_(std=0.5)  # type: ignore[operator]
    return made.eval()


def description(made: RetinaNet) -> ModelInfo:
    return ModelInfo(
        name="narrow",
        family="retinanet",
        architecture=made.config.model_dump(mode="json"),
        classes=tuple(ClassInfo(name=name, id=number) for number, name in enumerate(("cup", "jar", "tin"))),
        resize=ResizePolicy(mode="longer", size=160, max_size=None),
        levels=tuple(
            LevelInfo(stride=stride, anchors_per_cell=9, topk=TOPK) for stride in (8, 16, 32, 64, 128)
        ),
    )


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "narrow.onnx"
    write_graph(CandidateNet(network(), TOPK), path)
    write_metadata(path, description(network()))
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "narrow.safetensors"
    save_checkpoint(path, network(), description(network()).model_copy(update={"levels": ()}))
    return path


def photos(policy: ResizePolicy, count: int = 2) -> npt.NDArray[np.uint8]:
    image = read_image(PHOTO)
    return batch([prepare(np.roll(image, 50 * shift, 1), policy) for shift in range(count)], policy.pad_value)


def differences(expected: Output, actual: Output) -> tuple[float, float]:
    """Return by how much boxes and scores differ at most, for 95 of 100 candidates."""
    errors = candidate_errors(expected, actual, 0.05, _nearest)
    box_error, score_error = np.percentile(errors, 95, axis=0).tolist()
    return box_error, score_error


def test_a_model_file_gives_what_the_other_engines_give(model_file: Path) -> None:
    info, engine = load_torch_engine(model_file, device="cpu", threads=1)
    images = photos(info.resize)
    expected = create_engine(model_file, "onnxruntime", precision="float32", device="cpu")(images)
    difference = compare(expected, engine(images))
    assert difference.candidates >= 100
    assert difference.box_error_px <= MAX_BOX_ERROR_PX
    assert difference.score_error <= MAX_SCORE_ERROR
    assert describe_engine(engine) == f"torch {torch.__version__}, float32, 1 threads"


def test_the_embedded_model_too() -> None:
    path = embedded_models()[0]
    info, engine = load_torch_engine(path, device="cpu", threads=1)
    images = photos(info.resize)
    expected = create_engine(path, "openvino", precision="float32")(images)
    difference = compare(expected, engine(images))
    assert difference.box_error_px <= MAX_BOX_ERROR_PX
    assert difference.score_error <= MAX_SCORE_ERROR


def test_a_checkpoint_is_what_its_model_file_is(model_file: Path, checkpoint: Path) -> None:
    found = dw.load(checkpoint, device="cpu").detect(PHOTO, threshold=0.3)
    exported = dw.load(model_file, engine="torch", device="cpu").detect(PHOTO, threshold=0.3)
    assert len(exported) > 20
    best = exported.scores[:10]
    assert np.allclose(found.scores[:10], best, atol=MAX_SCORE_ERROR)
    assert [level.topk for level in dw.load(checkpoint, device="cpu").info.levels] == [1000] * 5


def test_bfloat16_is_near(model_file: Path) -> None:
    info, exact = load_torch_engine(model_file, device="cpu", threads=1)
    _, rough = load_torch_engine(model_file, device="cpu", threads=1, precision="bfloat16")
    assert rough.numeric_type == "bfloat16"
    images = photos(info.resize)
    boxes, scores = rough(images)
    assert boxes.dtype == scores.dtype == np.float32
    assert 0 < differences(exact(images), (boxes, scores))[0] < 2
    assert 0 < differences(exact(images), (boxes, scores))[1] < 0.03


def test_frozen_batch_norm_is_a_product_and_a_sum(model_file: Path, tmp_path: Path) -> None:
    """As the exporter writes it: here half of the first convolution is made up for afterwards."""
    model = onnx.load(model_file)
    position, first = next((i, node) for i, node in enumerate(model.graph.node) if node.op_type == "Conv")
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    weight, bias = (numpy_helper.to_array(constants[name]) for name in first.input[1:])
    constants[first.input[1]].CopyFrom(numpy_helper.from_array(weight / 2, first.input[1]))
    for name, value in (("twice", np.full_like(bias, 2)), ("shift", bias)):
        model.graph.initializer.append(numpy_helper.from_array(value.reshape(1, -1, 1, 1), name))
    end = first.output[0]
    del first.input[2:]
    first.output[0] = "half"
    model.graph.node.insert(position + 1, helper.make_node("Mul", ["half", "twice"], ["whole"]))
    model.graph.node.insert(position + 2, helper.make_node("Add", ["whole", "shift"], [end]))
    path = tmp_path / "frozen.onnx"
    onnx.save(model, path)
    expected = load_model_file_network(model_file)[0].state_dict()
    found = load_model_file_network(path)[0].state_dict()
    assert all(torch.allclose(found[name], value) for name, value in expected.items())


def test_files_that_pytorch_does_not_run(model_file: Path, tmp_path: Path) -> None:
    info = read_info(model_file)
    int8, lost = tmp_path / "int8.onnx", tmp_path / "lost.onnx"
    model = onnx.load(model_file)
    onnx.save(model, int8)
    write_metadata(int8, info.model_copy(update={"numeric_type": "int8"}))
    with pytest.raises(
        EngineError, match=r"int8\.onnx: is quantised to int8, which PyTorch does not compute"
    ):
        dw.load(int8, engine="torch")
    names = {tensor.name: tensor for tensor in model.graph.initializer}
    names["network.class_head.tower.1.weight"].name = "val_1"
    onnx.save(model, lost)
    with pytest.raises(EngineError, match=r"cannot be told apart \(class_head\.tower\.1\.weight\)"):
        dw.load(lost, engine="torch")
    text = tmp_path / "text.onnx"
    text.write_text("hello")
    with pytest.raises(ModelFileError, match="is not an ONNX file"):
        dw.load(text, engine="torch")
    torn = tmp_path / "torn.safetensors"
    torn.write_text("hello")
    with pytest.raises(EngineError, match="cannot be read as safetensors"):
        dw.load(torn)


def test_read_only_pictures(checkpoint: Path) -> None:
    image = read_image(PHOTO)[:160, :160].copy()
    image.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dw.load(checkpoint, device="cpu").detect(image)


def test_what_pytorch_raises_is_an_engine_error(checkpoint: Path) -> None:
    _, engine = load_torch_engine(checkpoint, device="cpu")
    with pytest.raises(EngineError, match=r"PyTorch failed at a picture of 64x32 px: \S"):
        engine(np.zeros((1, 32, 64, 4), np.uint8))


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without a GPU")
def test_no_gpu(checkpoint: Path) -> None:
    with pytest.raises(EngineError, match=r"--device cuda:1: PyTorch \S"):
        dw.load(checkpoint, device="cuda:1")
    assert dw.load(checkpoint).engine.device == "cpu"
    assert dw.load(checkpoint).batch == 1


def test_anchors_are_computed_once_for_each_size() -> None:
    ready = make_ready(network(), CPU, torch.float32)
    kept = kept_anchors(ready)
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        first = ready(images).anchors
        assert all(one is other for one, other in zip(ready(images).anchors, first, strict=True))
        ready(torch.rand(1, 3, 96, 64))
        assert len(kept.kept) == 2
        for width in range(1, 80):
            kept((64, 32 * width), [(8, 4 * width)] * 5)
        assert len(kept.kept) == 64
        expected = network()(images).anchors
    assert all(torch.equal(one, other) for one, other in zip(first, expected, strict=True))


class Recorded:
    """Stands for networks made for one shape."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.made: list[tuple[int, ...]] = []

    def general(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.calls.append("general")
        return images, images

    def make(self, example: Tensor) -> object:
        shape = tuple(example.shape)
        self.made.append(shape)
        if shape == (13,):
            raise RuntimeError("out of memory")

        def special(images: Tensor) -> tuple[Tensor, Tensor]:
            assert tuple(images.shape) == shape
            self.calls.append("special")
            return images, images

        return special


def test_shapes_that_come_often_get_a_network_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    recorded = Recorded()
    programs = Programs(recorded.general, recorded.make, after=3, most=2)  # type: ignore[arg-type]
    for size in (5, 5, 6, 5, 5):
        programs(torch.zeros(size))
    assert recorded.calls == ["general", "general", "general", "special", "special"]
    assert recorded.made == [(5,)]
    for size in (6, 6, 5, 7, 7, 7, 7):  # there is no place for a third
        programs(torch.zeros(size))
    assert recorded.made == [(5,), (6,)]
    recorded.calls.clear()
    for size in (5, 6, 7, 5):
        programs(torch.zeros(size))
    assert recorded.calls == ["special", "special", "general", "special"]
    assert recorded.made == [(5,), (6,)]
    assert caplog.text == ""


def test_a_shape_for_which_no_network_can_be_made(caplog: pytest.LogCaptureFixture) -> None:
    recorded = Recorded()
    programs = Programs(recorded.general, recorded.make, after=3, most=2)  # type: ignore[arg-type]
    for _ in range(5):
        programs(torch.zeros(13))
    assert recorded.calls == ["general"] * 5
    assert recorded.made == [(13,)]
    assert "no network for inputs of (13,): out of memory" in caplog.text


gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_gives_what_the_cpu_gives(model_file: Path, precision: str) -> None:
    """Before a shape is recorded, when it is, and repeated; with pictures that differ each time."""
    info, exact = load_torch_engine(model_file, device="cpu")
    _, engine = load_torch_engine(model_file, device="cuda", precision=precision)  # type: ignore[arg-type]
    assert engine.device.startswith("cuda:0 (")
    allowed = (MAX_BOX_ERROR_PX, MAX_SCORE_ERROR) if precision == "float32" else (2, 0.03)
    for shift in range(6):
        for count in (1, 2):
            images = np.roll(photos(info.resize, count), 16 * shift, axis=2)
            box_error, score_error = differences(exact(images), engine(images))
            assert box_error <= allowed[0]
            assert score_error <= allowed[1]


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("batch_size", [1, 4])
def test_many_pictures_on_a_gpu(model_file: Path, batch_size: int) -> None:
    image = read_image(PHOTO)
    pictures = [np.roll(image, 10 * shift, 1)[: 400 + 50 * (shift % 3)] for shift in range(30)]
    one_by_one = dw.load(model_file, engine="torch", device="cpu")
    many = dw.load(model_file, engine="torch", device="cuda", precision="float32", batch=batch_size)
    for image, found in zip(pictures, many.detect_many(pictures, threshold=0.3), strict=True):
        expected = one_by_one.detect(image, threshold=0.3)
        assert found.size == expected.size
        assert abs(len(found) - len(expected)) <= 2  # scores at the threshold
        assert np.allclose(found.scores[:10], expected.scores[:10], atol=MAX_SCORE_ERROR)


@pytest.mark.gpu
@gpu
def test_a_gpu_that_is_not_there(checkpoint: Path) -> None:
    with pytest.raises(EngineError, match="--device cuda:99: there are"):
        dw.load(checkpoint, device="cuda:99")
