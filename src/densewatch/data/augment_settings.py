"""How training pictures are varied: the settings alone, which need no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class AugmentSettings(BaseModel):
    """How training pictures are varied.

    Attributes:
        geometry: `square` fits the picture into a square of the training size, zooms by `zoom`, and cuts or
            pads to the square; `shorter` scales the shorter side to the training size, as the paper does.
        max_size: limit of the longer side in `shorter` geometry, pixels.
        zoom: smallest and largest zoom in `square` geometry.
        flip: probability of a horizontal flip.
        photometric: probability of each change of brightness, contrast, saturation, hue and channel order.
        min_visible: an object of which a cut leaves less than this share becomes an ignored region.
        min_side: an object with a side shorter than this many pixels becomes an ignored region.
        pad_value: RGB around a picture that does not fill its square.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    geometry: Literal["square", "shorter"] = "shorter"
    max_size: int = Field(1333, ge=32)
    zoom: tuple[float, float] = (1.0, 1.0)
    flip: float = Field(0.5, ge=0, le=1)
    photometric: float = Field(0.0, ge=0, le=1)
    min_visible: float = Field(0.25, ge=0, le=1)
    min_side: float = Field(3.0, ge=0)
    pad_value: tuple[int, int, int] = (124, 116, 104)

    @model_validator(mode="after")
    def _zoom_rises(self) -> AugmentSettings:
        smallest, largest = self.zoom
        if not 0 < smallest <= largest:
            raise ValueError(f"zoom {smallest:g}, {largest:g} must be positive and rise")
        return self
