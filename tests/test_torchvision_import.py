"""`densewatch models import` of torchvision's weights: what comes out, and what is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.detection import RetinaNet as TorchvisionRetinaNet
from torchvision.models.detection._utils import overwrite_eps
from typer.testing import CliRunner, Result

from densewatch.cli.main import app
from densewatch.export.torchvision_check import check_against_torchvision
from densewatch.models.checkpoint import load_network, read_checkpoint
from densewatch.models.foreign import convert
from densewatch.models.foreign.conversion import PublishedFile
from densewatch.models.foreign.errors import ImportFailedError
from densewatch.models.retinanet import RetinaNet
from densewatch.runtime.model_file import read_info
from torchvision_networks import V1, V2, random_network

OLD_NAMES = (
    ("backbone.fpn.inner_blocks.0.0.", "backbone.fpn.inner_blocks.0."),
    ("backbone.fpn.inner_blocks.1.0.", "backbone.fpn.inner_blocks.1."),
    ("backbone.fpn.inner_blocks.2.0.", "backbone.fpn.inner_blocks.2."),
    ("backbone.fpn.layer_blocks.0.0.", "backbone.fpn.layer_blocks.0."),
    ("backbone.fpn.layer_blocks.1.0.", "backbone.fpn.layer_blocks.1."),
    ("backbone.fpn.layer_blocks.2.0.", "backbone.fpn.layer_blocks.2."),
    *(
        (f"head.{head}_head.conv.{block}.0.", f"head.{head}_head.conv.{2 * block}.")  # its ReLUs counted too
        for head in ("classification", "regression")
        for block in range(4)
    ),
)
"""torchvision's names since 0.13, and before."""


@dataclass(frozen=True)
class Original:
    """A network of torchvision, and the file that its weights were saved in."""

    architecture: str
    network: TorchvisionRetinaNet
    weights: Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for files of 150 MB each, which pytest would keep for three runs."""
    path = tmp_path_factory.mktemp("weights")
    yield path
    shutil.rmtree(path)


def save_network(architecture: str, folder: Path) -> Original:
    network = random_network(architecture)
    overwrite_eps(network, 1e-5)  # as torchvision builds it, but for its published file
    weights = folder / f"{architecture}.pth"
    torch.save(network.state_dict(), weights)
    return Original(architecture, network, weights)


@pytest.fixture(scope="module")
def v1(folder: Path) -> Original:
    return save_network(V1, folder)


@pytest.fixture(scope="module")
def v2(folder: Path) -> Original:
    return save_network(V2, folder)


@pytest.fixture(params=["v1", "v2"])
def original(request: pytest.FixtureRequest) -> Original:
    found: Original = request.getfixturevalue(request.param)
    return found


def told(result: Result) -> str:
    """Return what standard error says last; before it are that the work has begun, and V1's note."""
    begun, *notes, outcome = result.stderr.splitlines()
    assert begun.startswith("converting the weights")
    assert all("does not say the epsilon of its frozen batch norm: 1e-05" in note for note in notes)
    return outcome


def import_weights(weights: Path, output: Path, *more: str) -> Result:
    return CliRunner().invoke(app, ["models", "import", str(weights), "-o", str(output), *more])


def test_a_checkpoint_computes_what_the_original_does(original: Original, folder: Path) -> None:
    output = folder / "imported.safetensors"
    result = import_weights(original.weights, output)
    assert result.exit_code == 0, result.stderr
    name = original.architecture.replace("_", "-")
    assert told(result) == f"wrote {output}: {name}, 80 class outputs"
    ours, info = load_network(output)
    assert (len(info.names), info.names[0], info.names[-1]) == (80, "person", "toothbrush")
    image = torch.rand(1, 3, 128, 160, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        dense = ours(image)
        features = original.network.backbone((image - ours.mean) / ours.std)
        theirs = original.network.head(list(features.values()))
    cls_logits = theirs["cls_logits"][..., list(info.category_ids)]
    torch.testing.assert_close(torch.cat(dense.cls_logits, dim=1), cls_logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        torch.cat(dense.bbox_deltas, dim=1), theirs["bbox_regression"], atol=1e-4, rtol=0
    )


PUBLISHED = PublishedFile("retinanet_resnet50_fpn_coco-eeacb38b.pth", "torchvision", "pytorch")


def faint_batch_norm(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's weights with variances in the stem that epsilon bears on."""
    state = network.state_dict()
    name = "backbone.body.bn1.running_var"
    return state | {
        name: state[name] * 1e-5,
        "backbone.body.bn1.weight": state["backbone.body.bn1.weight"] / 300,
    }


def eps_of(imported: convert.Imported) -> float:
    return imported.network.config.backbone.norm_eps


def test_the_epsilon_of_v1_hangs_on_where_it_comes_from(v1: Original, folder: Path) -> None:
    """0 in the published file alone; 1e-5 for trained batch norm, which has counters, and for any other."""
    path = folder / "epsilon.pth"
    torch.save(faint_batch_norm(v1.network), path)
    published = convert.import_weights(path, published=PUBLISHED)
    other = convert.import_weights(path)
    assert (eps_of(published), published.converted.notes) == (0.0, ())
    assert eps_of(other) == 1e-5
    assert "does not say the epsilon of its frozen batch norm" in other.converted.notes[0]
    trained = get_model(V1, weights=None, weights_backbone=None)
    torch.save(trained.state_dict(), path)
    counted = convert.import_weights(path)
    assert (eps_of(counted), counted.converted.notes) == (1e-5, ())


@pytest.mark.parametrize("published", [PUBLISHED, None])
def test_the_comparison_knows_the_epsilon_by_itself(
    v1: Original, folder: Path, published: PublishedFile | None
) -> None:
    path = folder / "epsilon.pth"
    torch.save(faint_batch_norm(v1.network), path)
    imported = convert.import_weights(path, published=published)
    check_against_torchvision(imported)
    backbone = imported.network.config.backbone.model_copy(update={"norm_eps": 1e-5 - eps_of(imported)})
    wrong = RetinaNet(imported.network.config.model_copy(update={"backbone": backbone})).eval()
    wrong.load_state_dict(imported.network.state_dict())
    with pytest.raises(ImportFailedError, match="differs from torchvision's retinanet_resnet50_fpn: a logit"):
        check_against_torchvision(replace(imported, network=wrong))


def with_old_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return V1's weights under the names that torchvision gave them before 0.13."""
    renamed = {}
    for name, value in state.items():
        new, old = next((pair for pair in OLD_NAMES if name.startswith(pair[0])), ("", ""))
        renamed[old + name.removeprefix(new)] = value
    assert sum(name not in state for name in renamed) == 2 * len(OLD_NAMES)  # a weight and a bias each
    return renamed


def test_names_from_before_torchvision_0_13_are_understood(v1: Original, folder: Path) -> None:
    old = folder / "old.pth"
    torch.save(with_old_names(v1.network.state_dict()), old)
    tensors = []
    for weights in (v1.weights, old):
        result = import_weights(weights, folder / "imported.safetensors")
        assert result.exit_code == 0, result.stderr
        tensors.append(read_checkpoint(folder / "imported.safetensors")[0])
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


@pytest.mark.parametrize("toolkit", ["detectron2", "mmdetection"])
def test_weights_of_another_toolkit_than_said(v1: Original, tmp_path: Path, toolkit: str) -> None:
    result = import_weights(v1.weights, tmp_path / "x.safetensors", "--from", toolkit)
    assert result.exit_code == 1
    assert told(result).startswith(f"error: {v1.weights}: tensor 'backbone.body.conv1.weight' belongs to no ")
    assert list(tmp_path.iterdir()) == []


class Exploit:
    """Makes a folder when a pickle that holds it is loaded in the trusting way."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.trace),)


def test_code_in_the_weights_is_not_run(tmp_path: Path) -> None:
    weights, trace = tmp_path / "weights.pth", tmp_path / "trace"
    torch.save({"backbone.body.conv1.weight": Exploit(trace)}, weights)
    result = import_weights(weights, tmp_path / "x.safetensors")
    assert result.exit_code == 1
    assert told(result).startswith(f"error: {weights}: asks for ")
    assert "refused, and nothing in it was run" in told(result)
    assert list(tmp_path.iterdir()) == [weights]
    torch.load(weights, weights_only=False)
    assert trace.exists()  # the exploit would have worked


def test_text_is_no_weights_file(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    weights.write_text("these are no weights")
    result = import_weights(weights, tmp_path / "x.safetensors")
    assert result.exit_code == 1
    assert told(result).startswith(f"error: {weights}: cannot be read as PyTorch weights: ")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"epoch": 3}, "holds no plain dictionary of tensors"),
        ({"head.classification_head.cls_logits.bias": torch.zeros(9 * 21)}, "is missing"),
        (
            {"roi_heads.box_head.fc6.bias": torch.zeros(4)},
            "has 1 tensors, but none is the class output of a RetinaNet of torchvision, detectron2, ",
        ),
    ],
    ids=["no tensors", "not all tensors", "another family"],
)
def test_other_contents_are_named(tmp_path: Path, state: dict[str, object], reason: str) -> None:
    weights = tmp_path / "weights.pth"
    torch.save(state, weights)
    result = import_weights(weights, tmp_path / "x.safetensors")
    assert result.exit_code == 1
    assert told(result).startswith(f"error: {weights}: ")
    assert reason in told(result)
    assert list(tmp_path.iterdir()) == [weights]


@pytest.mark.slow
def test_a_model_file_comes_with_its_proof(v2: Original, folder: Path) -> None:
    output = folder / "imported.onnx"
    result = import_weights(v2.weights, output)
    assert result.exit_code == 0, result.stderr
    info = read_info(output)
    assert info.proof is not None
    assert len(info.proof.shapes) >= 6
    assert info.proof.max_box_error_px <= 0.1
    assert info.proof.max_score_error <= 1e-3
