"""Other toolkits' weights, turned into a model file or a checkpoint of ours."""

from __future__ import annotations

import hashlib
from pathlib import Path

from densewatch.export.model_file import export_model
from densewatch.export.torchvision_check import architecture_of, check_against_torchvision, published_weights
from densewatch.hub import hash_in_name
from densewatch.metadata import ModelInfo
from densewatch.models.checkpoint import save_checkpoint
from densewatch.models.foreign.conversion import Style, Toolkit
from densewatch.models.foreign.convert import Imported, import_weights
from densewatch.models.foreign.errors import ImportFailedError
from densewatch.models.retinanet import RetinaNet
from densewatch.published import PUBLISHED_NETWORKS

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
    imported = import_weights(weights, toolkit, style, names)
    if imported.converted.toolkit == "torchvision":
        try:
            check_against_torchvision(imported)
        except ImportFailedError as error:
            raise ImportFailedError(f"{weights}: {error}") from error
    return imported.network, _describe(imported), imported.converted.notes


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
    published = published_weights(architecture)
    source = {"source": f"torchvision {architecture}, file {imported.file.path.name}"}
    info = info.model_copy(update={"name": architecture.replace("_", "-"), "training": source})
    if not _digest(imported.file.path, "sha256").startswith(hash_in_name(published.url)):
        return info
    box_map = published.meta["_metrics"]["COCO-val2017"]["box_map"]
    return info.model_copy(
        update={
            "training": {**source, "data": [_COCO], "recipe": published.meta["recipe"]},
            "metrics": {"COCO val2017, as published": {"AP": box_map / 100}},
            "licence": "BSD-3-Clause",
        }
    )


def _describe_published(info: ModelInfo, imported: Imported) -> ModelInfo:
    """Add what was published of a file, where its hash is that of a published one, whatever its name.

    detectron2 ends its file names in six digits of an MD5, mmdetection in eight of a SHA-256.
    """
    path = imported.file.path
    algorithm, digits = ("md5", 6) if imported.converted.toolkit == "detectron2" else ("sha256", 8)
    digest = _digest(path, algorithm)[:digits]
    published = next(
        (network for network in PUBLISHED_NETWORKS if Path(network.file).stem.endswith(digest)), None
    )
    if published is None:
        return info
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
