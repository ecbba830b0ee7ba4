"""From a file of weights, whosever it is, to a network of ours: which toolkit, which classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from densewatch.metadata import ClassInfo
from densewatch.models.foreign import detectron2, mmdetection, torchvision
from densewatch.models.foreign.class_names import COCO, coco_classes, read_classes
from densewatch.models.foreign.conversion import Converted, PublishedFile, Style, Toolkit, pick_classes
from densewatch.models.foreign.errors import ImportFailedError
from densewatch.models.foreign.weights_file import WeightsFile, read_weights
from densewatch.models.retinanet import RetinaNet

TOOLKITS: tuple[Toolkit, ...] = get_args(Toolkit)
_COCO_OUTPUTS = 91  # of torchvision's networks: COCO's ids up to 90 are its outputs

# Tensors that no other toolkit's RetinaNet has.
_SIGNS: dict[Toolkit, str] = {
    "torchvision": "head.classification_head.cls_logits.bias",
    "detectron2": "head.cls_score.bias",
    "mmdetection": "bbox_head.retina_cls.bias",
}


@dataclass(frozen=True)
class Imported:
    """A network of ours with somebody else's weights.

    Attributes:
        network: in evaluation mode.
        converted: where it comes from, and how its pictures are prepared.
        classes: in the order of its outputs.
        rows: which of the toolkit's outputs these are.
        file: that it was read from.
        published: that file, where its toolkit published it.
    """

    network: RetinaNet
    converted: Converted
    classes: tuple[ClassInfo, ...]
    rows: tuple[int, ...]
    file: WeightsFile
    published: PublishedFile | None = None


def import_weights(
    path: Path,
    toolkit: Toolkit | None = None,
    style: Style | None = None,
    names: str | None = None,
    published: PublishedFile | None = None,
) -> Imported:
    """Read weights of another toolkit into our network.

    Args:
        path: of the file.
        toolkit: whose it is; None finds out by the names of the tensors.
        style: what the backbone expects, where the file does not say it.
        names: `coco` or a file with class names, see `read_classes`; None takes those in the file.
        published: what is known of the file, where it is one that was published.

    Raises:
        ImportFailedError: the file cannot be read, or is no RetinaNet's; the message begins with its name.
    """
    named = None if names is None else read_classes(names)
    try:
        file = read_weights(path)
        toolkit = toolkit or _recognise(file)
        if published is not None and published.toolkit != toolkit:
            published = None
        converted = _convert(file, toolkit, style, published)
        classes, rows = _choose_classes(converted, named)
        return Imported(_build(converted, rows), converted, classes, rows, file, published)
    except ImportFailedError as error:
        raise ImportFailedError(f"{path}: {error}") from error


def _recognise(file: WeightsFile) -> Toolkit:
    for toolkit, sign in _SIGNS.items():
        if sign in file.tensors:
            return toolkit
    raise ImportFailedError(
        f"has {len(file.tensors)} tensors, but none is the class output of a RetinaNet of "
        f"{', '.join(TOOLKITS)}; the first is {next(iter(file.tensors))[:80]!r}"
    )


def _convert(
    file: WeightsFile, toolkit: Toolkit, style: Style | None, published: PublishedFile | None
) -> Converted:
    if published is not None:
        if style not in (None, published.style):
            raise ImportFailedError(
                f"is the published {published.name}, which is of style {published.style!r}, not {style!r}"
            )
        style = published.style
    if toolkit == "detectron2":
        return detectron2.convert(file, style)
    if toolkit == "mmdetection":
        return mmdetection.convert(file, style, published)
    if style not in (None, "pytorch"):
        raise ImportFailedError(
            f"is of torchvision, whose networks are all of style 'pytorch', not {style!r}"
        )
    return torchvision.convert(file, published)


def _choose_classes(
    converted: Converted, named: tuple[ClassInfo, ...] | None
) -> tuple[tuple[ClassInfo, ...], tuple[int, ...]]:
    """Return the classes, and which outputs of the toolkit's network they are."""
    outputs = converted.config.num_classes
    is_torchvision = converted.toolkit == "torchvision"
    coco = coco_classes()
    classes = named or converted.classes or (coco if is_torchvision and outputs == _COCO_OUTPUTS else None)
    if classes is None:
        raise ImportFailedError(
            f"has {outputs} class outputs, but no class names: give --names {COCO}, or --names FILE with "
            "a name a line"
        )
    if is_torchvision and outputs == _COCO_OUTPUTS and classes == coco:
        return classes, tuple(item.id for item in classes)
    if is_torchvision and outputs == len(classes) + 1:
        return classes, tuple(range(1, outputs))  # output 0 is what torchvision calls background
    if outputs != len(classes):
        raise ImportFailedError(
            f"has {outputs} class outputs, but {len(classes)} classes are named ({classes[0].name!r} … "
            f"{classes[-1].name!r})"
        )
    return classes, tuple(range(outputs))


def _build(converted: Converted, rows: tuple[int, ...]) -> RetinaNet:
    config = converted.config.model_copy(update={"num_classes": len(rows)})
    network = RetinaNet(config)
    try:
        network.load_state_dict(pick_classes(converted.tensors, rows))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ImportFailedError(f"is not a RetinaNet of {converted.toolkit}: {reason[:400]}") from error
    return network.eval()
