"""ImageNet weights find their places in the backbone, and files that do not fit are refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import MobileNet_V2_Weights

from densewatch.imaging.read import read_image
from densewatch.models.backbones import Backbone, build_backbone
from densewatch.models.config import BackboneConfig
from densewatch.models.mobilenet_weights import load_mobilenet_v2

Arrays = dict[str, npt.NDArray[np.float32]]
ROOT = Path(__file__).resolve().parents[1]
IMAGENET: list[str] = MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"]
LAST = ("51_conv", "52_conv")  # the classifier, which a backbone has not


def backbone(norm: str = "folded") -> Backbone:
    built = build_backbone(BackboneConfig.model_validate({"name": "mobilenet_v2", "norm": norm}))
    assert isinstance(built, Backbone)
    return built


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """Return random arrays named and shaped as in the file, a layer of the classifier among them."""
    generator = np.random.default_rng(0)
    found: Arrays = {}
    for index, convolution in enumerate([*convolutions(backbone()), nn.Conv2d(320, 1280, 1)]):
        name = f"{index:02}_{'dw' if convolution.groups > 1 else 'conv'}"
        found[f"{name}.weight"] = generator.normal(size=convolution.weight.shape).astype(np.float32)
        found[f"{name}.bias"] = generator.normal(size=convolution.out_channels).astype(np.float32)
    return found


def save(path: Path, arrays: Arrays) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_every_convolution_gets_its_own_array(tmp_path: Path, arrays: Arrays) -> None:
    network = backbone()
    load_mobilenet_v2(network, save(tmp_path / "weights.npz", arrays))
    names = sorted({name.split(".")[0] for name in arrays})
    for name, convolution in zip(names[:-1], convolutions(network), strict=True):
        assert np.array_equal(convolution.weight.detach().numpy(), arrays[f"{name}.weight"])
        assert convolution.bias is not None
        assert np.array_equal(convolution.bias.detach().numpy(), arrays[f"{name}.bias"])


def test_a_shape_that_differs_is_an_error(tmp_path: Path, arrays: Arrays) -> None:
    path = save(tmp_path / "bent.npz", {**arrays, "03_conv.weight": np.zeros((96, 16, 3, 3), np.float32)})
    with pytest.raises(
        ValueError, match=r"bent\.npz: 03_conv\.weight is \[96, 16, 3, 3\], but .* \[96, 16, 1, 1\]"
    ):
        load_mobilenet_v2(backbone(), path)


def test_a_missing_bias_is_an_error(tmp_path: Path, arrays: Arrays) -> None:
    path = save(
        tmp_path / "bare.npz", {name: value for name, value in arrays.items() if name != "03_conv.bias"}
    )
    with pytest.raises(ValueError, match=r"bare\.npz: has no array 03_conv\.bias"):
        load_mobilenet_v2(backbone(), path)


def test_too_few_arrays_are_an_error(tmp_path: Path, arrays: Arrays) -> None:
    path = save(tmp_path / "short.npz", {name: value for name, value in arrays.items() if name < "20"})
    with pytest.raises(
        ValueError, match=r"short\.npz: has weights of 20 convolutions, but the backbone has 51"
    ):
        load_mobilenet_v2(backbone(), path)


def test_a_backbone_with_batch_norm_has_no_place_for_the_biases(tmp_path: Path, arrays: Arrays) -> None:
    path = save(tmp_path / "weights.npz", arrays)
    with pytest.raises(ValueError, match=r"00_conv\.bias has no place.*norm 'folded'"):
        load_mobilenet_v2(backbone("batch"), path)


@pytest.mark.parametrize(
    ("photo", "seen"),
    [
        ("src/densewatch/assets/coffee.jpg", "espresso"),
        ("../shared/data/everyday/val/coco-000000000776.jpg", "teddy"),
        ("../shared/data/everyday/val/coco-000000000785.jpg", "ski"),
    ],
)
def test_the_published_weights_see_what_is_in_a_photo(shared: Path, photo: str, seen: str) -> None:
    path, picture = shared / "weights" / "mobilenet_v2_imagenet.npz", ROOT / photo
    for needed in (path, picture):
        if not needed.is_file():
            pytest.skip(f"needs {needed}")
    network = backbone()
    load_mobilenet_v2(network, path)
    pixels = cv2.resize(read_image(picture), (224, 224), interpolation=cv2.INTER_AREA)
    with np.load(path, allow_pickle=False) as arrays, torch.inference_mode():
        features = network(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1)[-1]
        (weight, bias), (class_weight, class_bias) = (
            [torch.from_numpy(arrays[f"{name}.{part}"]) for part in ("weight", "bias")] for name in LAST
        )
        pooled = F.relu6(F.conv2d(features, weight, bias)).mean(dim=(2, 3), keepdim=True)
        best = int(F.conv2d(pooled, class_weight, class_bias).argmax())
    assert IMAGENET[best - 1] == seen  # output 0 is background
