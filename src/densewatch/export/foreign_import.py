"""Other toolkits' weights, turned into a model file or a checkpoint of ours."""

from __future__ import annotations

import hashlib
from pathlib import Path

from densewatch.export.model_file import export_model
from densewatch.export.torchvision_check import (
    ARCHITECTURES,
    architecture_of,
    check_against_torchvision,
    published_weights,
)
from densewatch.hub import hash_in_name
from densewatch.metadata import ModelInfo
from densewatch.models.checkpoint import save_checkpoint
from densewatch.models.foreign.conversion import PublishedFile, Style, Toolkit
from densewatch.models.foreign.convert import Imported, import_weights
from densewatch.models.foreign.errors import ImportFailedError
from densewatch.models.retinanet import RetinaNet
from densewatch.published import PUBLISHED_NETWORKS, PublishedNetwork

_COCO = "COCO train2017"


def import_network(
    weights: Path,
    toolkit: Toolkit | None = None,
    style: Style | None = None,
    names: str | None = None,
) -> tuple[RetinaNet, ModelInfo, tuple[str, ...]]:
    """Read somebody else's weights into our network; see `import_weights` for what is given.

    Outputs are compared with torchvision's own, where the weights are torchvision's.

    Returns:
        the network in evaluation mode, its description, and what was taken for granted.

    Raises:
        ImportFailedError: the file cannot be read, is no RetinaNet's, or the outputs differ.
    """
    imported = import_weights(weights, toolkit, style, names, recognise_published(weights))
    if imported.converted.toolkit == "torchvision":
        try:
            check_against_torchvision(imported)
        except ImportFailedError as error:
            raise ImportFailedError(f"{weights}: {error}") from error
    return imported.network, _describe(imported), imported.converted.notes


def recognise_published(path: Path) -> PublishedFile | None:
    """Return which published file this one is by its hash, whatever its name; None where it is none.

    torchvision and mmdetection end their files' names in eight digits of a SHA-256, detectron2 in six of an
    MD5.
    """
    sha256 = _digest(path, "sha256")
    for architecture in ARCHITECTURES:
        url = str(published_weights(architecture).url)
        if sha256.startswith(hash_in_name(url)):
            return PublishedFile(url.rsplit("/", 1)[-1], "torchvision", "pytorch")
    ends: dict[Toolkit, str] = {"mmdetection": sha256[:8], "detectron2": _digest(path, "md5")[:6]}
    for network in PUBLISHED_NETWORKS:
        for toolkit, digits in ends.items():
            if network.preset == toolkit and Path(network.file).stem.endswith(digits):
                return PublishedFile(network.file, toolkit, _style_of(network))
    return None


def _style_of(network: PublishedNetwork) -> Style:
    """Return what the backbone of a published network expects; the names of mmdetection's tell it."""
    return "caffe" if network.preset == "detectron2" or "_caffe_" in network.file else "pytorch"


def convert_weights(
    weights: Path,
    output: Path,
    toolkit: Toolkit | None = None,
    style: Style | None = None,
    names: str | None = None,
) -> tuple[ModelInfo, tuple[str, ...]]:
    """Write somebody else's weights as a model file (`.onnx`), or a checkpoint to train on (`.safetensors`).

    Returns:
        the description of what was written, and what was taken for granted.

    Raises:
        ImportFailedError: the weights cannot be converted.
        ExportError: the exported graph's boxes differ from the network's.
        ValueError: the output's name ends in neither.
    """
    if output.suffix not in (".onnx", ".safetensors"):
        raise ValueError(f"{output}: a model file's name ends in .onnx, that of a checkpoint in .safetensors")
    network, info, notes = import_network(weights, toolkit, style, names)
    if output.suffix == ".safetensors":
        output.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(output, network, info)
        return info, notes
    return export_model(network, info, output), notes


def _describe(imported: Imported) -> ModelInfo:
    toolkit, config = imported.converted.toolkit, imported.network.config
    info = ModelInfo(
        name=f"retinanet-{config.backbone.name}-{toolkit}".replace("_", "-"),
        family="retinanet",
        architecture=config.model_dump(mode="json"),
        classes=imported.classes,
        resize=imported.converted.resize,
        parameters=sum(parameter.numel() for parameter in imported.network.parameters()),
        training={"source": f"{toolkit}, file {imported.file.path.name}"},
    )
    describe = _describe_torchvision if toolkit == "torchvision" else _describe_published
    return describe(info, imported)


def _describe_torchvision(info: ModelInfo, imported: Imported) -> ModelInfo:
    """Add torchvision's name of the network and, where the file is the published one, what is known of it."""
    architecture = architecture_of(imported.network)
    source = {"source": f"torchvision {architecture}, file {imported.file.path.name}"}
    info = info.model_copy(update={"name": architecture.replace("_", "-"), "training": source})
    if imported.published is None:
        return info
    published = published_weights(architecture)
    box_map = published.meta["_metrics"]["COCO-val2017"]["box_map"]
    return info.model_copy(
        update={
            "training": {**source, "data": [_COCO], "recipe": published.meta["recipe"]},
            "metrics": {"COCO val2017, as published": {"AP": box_map / 100}},
            "licence": "BSD-3-Clause",
        }
    )


def _describe_published(info: ModelInfo, imported: Imported) -> ModelInfo:
    """Add what was published of a file, where it is a published one."""
    if imported.published is None:
        return info
    name = imported.published.name
    published = next(network for network in PUBLISHED_NETWORKS if network.file == name)
    return info.model_copy(
        update={
            "training": {**info.training, "data": [_COCO], "published": published.source},
            "metrics": {f"{published.data}, as published": {"AP": published.ap / 100}},
            "licence": published.licence,
        }
    )


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()
