"""The anchors that mmdetection's settings describe, as options of our `AnchorConfig`."""

from __future__ import annotations

from typing import Any

from densewatch.models.foreign.conversion import PER_CELL
from densewatch.models.foreign.errors import ImportFailedError
from densewatch.models.foreign.mmdetection_config import Settings

STRIDES = (8, 16, 32, 64, 128)
_GENERATOR = "model.bbox_head.anchor_generator"
_DEFAULT = {"octave_base_scale": 4, "scales_per_octave": 3, "ratios": [0.5, 1.0, 2.0]}
_MOST_OCTAVE_STEPS = PER_CELL


def read_anchors(settings: Settings) -> dict[str, Any]:
    """Return the anchors of the settings; those of mmdetection's RetinaNet where no generator is described.

    mmdetection multiplies the base size of each level, its stride unless `base_sizes` says otherwise, by
    scales. Its `center_offset` is a share of the base size, ours of the stride.

    Raises:
        ImportFailedError: the settings contradict themselves, or describe anchors that ours cannot be.
    """
    generator = settings.at(_GENERATOR, _DEFAULT)
    if not isinstance(generator, dict):
        raise ImportFailedError(
            f"its settings have {_GENERATOR} = {str(generator)[:80]}, which cannot be read"
        )
    bases = STRIDES if generator.get("base_sizes") is None else _positive(generator, "base_sizes")
    scales, ratios = _scales(generator), _positive(generator, "ratios")
    if len(bases) != len(STRIDES):
        raise ImportFailedError(f"its settings have {len(bases)} base_sizes, not one for each of P3 to P7")
    if len(scales) * len(ratios) != PER_CELL:
        raise ImportFailedError(
            f"its settings have {len(scales)} scales and {len(ratios)} ratios: only networks with 9 anchors "
            "a cell can be imported"
        )
    centered = bool(generator.get("center_offset"))
    if centered and bases != STRIDES:
        raise ImportFailedError(
            f"its settings have {_GENERATOR}.base_sizes other than the strides, and center_offset: the "
            "anchors' centres then lie elsewhere than in the middle of a cell, which cannot be imported"
        )
    smallest = min(scales)
    return {
        "sizes": tuple(base * smallest for base in bases),
        "scales": tuple(scale / smallest for scale in scales),
        "ratios": ratios,
        "center": "half" if centered else "corner",
    }


def _scales(generator: dict[str, Any]) -> tuple[float, ...]:
    """Return what base sizes are multiplied by: `scales`, or so many in an octave from a first one."""
    first, steps = generator.get("octave_base_scale"), generator.get("scales_per_octave")
    if generator.get("scales") is not None:
        if first is not None or steps is not None:
            raise ImportFailedError(
                f"its settings have both {_GENERATOR}.scales and octave_base_scale or scales_per_octave"
            )
        return _positive(generator, "scales")
    if (
        first is None
        or not _is_positive(first)
        or type(steps) is not int
        or not 1 <= steps <= _MOST_OCTAVE_STEPS
    ):
        raise ImportFailedError(
            f"its settings have {_GENERATOR} without `scales`, and without `octave_base_scale` and "
            "`scales_per_octave` that are positive numbers"
        )
    return tuple(first * 2 ** (step / steps) for step in range(steps))


def _positive(generator: dict[str, Any], name: str) -> tuple[float, ...]:
    values = generator.get(name)
    if not isinstance(values, list) or not values or not all(_is_positive(value) for value in values):
        raise ImportFailedError(
            f"its settings have {_GENERATOR}.{name} = {str(values)[:80]}, no list of positive numbers"
        )
    return tuple(values)


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and value > 0
