"""How training pictures are varied: the settings alone, which need no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class AugmentSettings(BaseModel):
    """How training pictures are varied.

    Attributes:
        geometry: `square` fits the picture into a square of the training size, zooms by `zoom`, and cuts or
            pads to the square; `shorter` scales the shorter side to the training size, as the paper does.
        max_size: limit of the longer side in `shorter` geometry, pixels.
        zoom: smallest and largest zoom in `square` geometry; 0.1, 2.0 is the large scale jitter of
            arXiv 2012.07177.
        flip: probability of a horizontal flip.
        photometric: probability of each change of brightness, contrast, saturation, hue and channel order.
        mosaic: probability that a picture is one of four in a mosaic, 2×2 around a centre that varies; needs
            `square` geometry.
        mosaic_zoom: like `zoom`, for the pictures in a mosaic; at 0.5 a picture about fills a quarter.
        copy_paste: probability that objects of another picture are pasted into this one.
        paste_objects: at most so many objects are pasted into a picture.
        paste_covers: a pasted object hides at most this share of any object that is there.
        close_mosaic: so many epochs at the end have neither mosaics nor pasted objects.
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
    mosaic: float = Field(0.0, ge=0, le=1)
    mosaic_zoom: tuple[float, float] = (0.4, 1.0)
    copy_paste: float = Field(0.0, ge=0, le=1)
    paste_objects: int = Field(5, ge=1)
    paste_covers: float = Field(0.3, ge=0, le=1)
    close_mosaic: int = Field(0, ge=0)
    min_visible: float = Field(0.25, ge=0, le=1)
    min_side: float = Field(3.0, ge=0)
    pad_value: tuple[int, int, int] = (124, 116, 104)

    @field_validator("zoom", "mosaic_zoom")
    @classmethod
    def _zoom_rises(cls, zoom: tuple[float, float]) -> tuple[float, float]:
        smallest, largest = zoom
        if not 0 < smallest <= largest:
            raise ValueError(f"zoom {smallest:g}, {largest:g} must be positive and rise")
        return zoom

    @model_validator(mode="after")
    def _mosaics_are_square(self) -> AugmentSettings:
        if self.mosaic and self.geometry != "square":
            raise ValueError(f"mosaic {self.mosaic:g} needs geometry square, but it is {self.geometry}")
        return self
