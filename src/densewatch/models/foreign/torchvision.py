"""torchvision's RetinaNets: its names, and the epsilon of batch norm, which its files do not say."""

from __future__ import annotations

import re
from collections.abc import Iterator

from densewatch.metadata import TORCHVISION_RESIZE
from densewatch.models.config import preset
from densewatch.models.foreign.conversion import Converted, PublishedFile, count_classes, layout, rename
from densewatch.models.foreign.errors import ImportFailedError
from densewatch.models.foreign.weights_file import WeightsFile

# torchvision's → ours. The `(?:\.0)?` bridges the names before and after torchvision 0.13.
_RULES = (
    (r"backbone\.body\.conv1\.", r"backbone.stages.0.0."),
    (r"backbone\.body\.bn1\.", r"backbone.stages.0.1."),
    (r"backbone\.body\.layer1\.", r"backbone.stages.1.1."),
    (r"backbone\.body\.layer([234])\.", r"backbone.stages.\1."),
    (r"backbone\.fpn\.inner_blocks\.(\d)(?:\.0)?\.", r"pyramid.lateral.\1."),
    (r"backbone\.fpn\.layer_blocks\.(\d)(?:\.0)?\.", r"pyramid.output.\1."),
    (r"backbone\.fpn\.extra_blocks\.(p[67])\.", r"pyramid.\1."),
    (r"head\.classification_head\.cls_logits\.", r"class_head.output."),
    (r"head\.regression_head\.bbox_reg\.", r"box_head.output."),
)
_TOWERS = (("classification", "class_head"), ("regression", "box_head"))
_MAX_DEPTH = 16
_EPS = 1e-5  # of batch norm, trained or frozen, wherever torchvision does not overwrite it
_COUNTER = ".num_batches_tracked"
_NORM_IN_TOWER = re.compile(r"head\.\w+_head\.conv\.\d+\.1\.")
_EPS_NOTE = (
    f"does not say the epsilon of its frozen batch norm: {_EPS:g}, as in networks that torchvision builds on "
    "ImageNet's weights; one that was trained further from the published COCO weights has 0"
)


def convert(file: WeightsFile, published: PublishedFile | None = None) -> Converted:
    """Return torchvision's RetinaNet with ResNet-50, V1 or V2, in our words.

    Args:
        file: a state dictionary of torchvision's.
        published: the file, where torchvision published it.

    Raises:
        ImportFailedError: a tensor has a name that torchvision's RetinaNet has not, or another backbone.
    """
    has_norms = any(_NORM_IN_TOWER.match(name) for name in file.tensors)
    name = "torchvision-v2" if has_norms else "torchvision-v1"
    # Frozen batch norm, V1's, has no counters.
    ignored = r"$" if has_norms else r".*\.num_batches_tracked$"
    rules = (*_RULES, *_tower_rules(3 if has_norms else 2))
    tensors = rename(file.tensors, rules, ignored, "torchvision")
    found = layout(tensors)
    if found["backbone"]["name"] != "resnet50":
        raise ImportFailedError(
            f"has a {found['backbone']['name']}: of torchvision, only networks with ResNet-50 can be imported"
        )
    # torchvision overwrites epsilon for one file alone: the V1 weights that it published.
    is_published_v1 = published is not None and not has_norms
    found["backbone"]["norm_eps"] = 0.0 if is_published_v1 else _EPS
    config = preset(name, count_classes(tensors), **found)
    # Trained batch norm has counters; frozen, V1's, has none, and may come from the published file.
    is_told = is_published_v1 or any(name.endswith(_COUNTER) for name in file.tensors)
    notes = () if is_told else (_EPS_NOTE,)
    return Converted("torchvision", config, tensors, None, TORCHVISION_RESIZE, notes)


def _tower_rules(layers: int) -> Iterator[tuple[str, str]]:
    """Yield the rules for towers, whose blocks of `layers` modules are flat in ours: 2.1 → 2 × layers + 1."""
    for theirs, ours in _TOWERS:
        prefix = rf"head\.{theirs}_head\.conv\."
        for block in range(_MAX_DEPTH):
            for layer in range(2):
                place = block * layers + layer
                yield rf"{prefix}{block}\.{layer}\.", f"{ours}.tower.{place}."
        yield rf"{prefix}(\d+)\.(?=weight|bias)", rf"{ours}.tower.\1."  # flat before torchvision 0.13, too
