"""What mmdetection's settings say of the network's input: channels, mean and deviation, size of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from densewatch.metadata import ResizePolicy
from densewatch.models.foreign.conversion import STYLES, Preparation, Style, agree
from densewatch.models.foreign.errors import ImportFailedError
from densewatch.models.foreign.mmdetection_config import Settings

DEFAULT_RESIZE = ResizePolicy(mode="shorter", size=800, max_size=1333, antialias=False)
_PIPELINES = ("test_pipeline", "data.test.pipeline", "test_dataloader.dataset.pipeline")
_LEAST_PX = 32


def choose_preparation(settings: Settings, style: Style | None) -> Preparation:
    """Return what the backbone expects: what the settings say, else what the style does.

    Args:
        settings: in the file.
        style: that a user names, or that is known of a published file; None where there is none.

    Raises:
        ImportFailedError: neither says it, or the style contradicts the settings.
    """
    told = _preparation_in(settings)
    if style is None:
        if told is None:
            raise ImportFailedError(
                "does not say what its backbone expects: give --style pytorch (RGB, as torchvision's "
                "ResNets), --style caffe (BGR, stride in the 1×1), or --style caffe2 (BGR, stride in the 3×3)"
            )
        return told
    named = STYLES[style]
    stride_in = _stride_in(settings)
    if told is not None and not (
        agree(told.mean, named.mean) and agree(told.std, named.std) and told.bgr == named.bgr
    ):
        raise ImportFailedError(
            f"has settings with mean {list(told.mean)}, std {list(told.std)} and channels in the order "
            f"{'BGR' if told.bgr else 'RGB'}, so it cannot be of style {style!r}; leave --style away"
        )
    if stride_in is not None and stride_in != named.stride_in:
        raise ImportFailedError(
            f"has settings with model.backbone.style = {settings.at('model.backbone.style')!r}, so it cannot "
            f"be of style {style!r}; leave --style away"
        )
    return told or named


def _preparation_in(settings: Settings) -> Preparation | None:
    """Return what the settings say; None where they do not tell mean and deviation."""
    is_new = settings.at("model.data_preprocessor") is not None
    norm = "model.data_preprocessor" if is_new else "img_norm_cfg"
    mean, std = settings.at(f"{norm}.mean"), settings.at(f"{norm}.std")
    if not _are_channels(mean) or not _are_channels(std):
        return None
    if is_new:  # of version 3: pictures are read as BGR, and either option exchanges their channels
        to_rgb = settings.at(f"{norm}.bgr_to_rgb", False) or settings.at(f"{norm}.rgb_to_bgr", False)
    else:
        to_rgb = settings.at(f"{norm}.to_rgb", True)
    return Preparation(tuple(mean), tuple(std), bgr=not to_rgb, stride_in=_stride_in(settings) or "3x3")


def _stride_in(settings: Settings) -> Any:
    """Return where bottlenecks stride; None where the settings do not speak of it."""
    style = settings.at("model.backbone.style")
    return None if style is None else "1x1" if style == "caffe" else "3x3"


def _are_channels(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) == 3 and all(isinstance(item, int | float) for item in value)
    )


def read_resize(settings: Settings) -> ResizePolicy | None:
    """Return how pictures are scaled for testing; None where the settings do not say it plainly."""
    steps = next((steps for place in _PIPELINES if isinstance(steps := settings.at(place), list)), [])
    found = list(_resizes(steps))
    if len(found) != 1:
        return None
    scale, keeps_ratio = found[0]
    if isinstance(scale, list) and len(scale) == 1:  # a list of sizes, of which there is one
        scale = scale[0]
    if keeps_ratio is not True or not isinstance(scale, list) or len(scale) != 2:
        return None
    if not all(type(side) is int and side >= _LEAST_PX for side in scale):
        return None
    return DEFAULT_RESIZE.model_copy(update={"size": min(scale), "max_size": max(scale)})


def _resizes(steps: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Give size and `keep_ratio` of each step that scales; its default changed from version 2 to 3."""
    for step in steps:
        if not isinstance(step, dict):
            continue
        inner = step.get("transforms")
        if step.get("type") == "MultiScaleFlipAug" and isinstance(inner, list):
            yield from (
                (step.get("img_scale"), item.get("keep_ratio", True))
                for item in inner
                if isinstance(item, dict) and "Resize" in str(item.get("type"))
            )
        elif "Resize" in str(step.get("type")):
            scale = step.get("scale", step.get("img_scale"))
            yield scale, step.get("keep_ratio") if step.get("type") == "Resize" else None
