"""What a model file or a checkpoint says of itself: the JSON under `metadata_props["densewatch"]`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

SCHEMA_VERSION = 1
METADATA_KEY = "densewatch"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ResizePolicy(_Strict):
    """How a picture of any size becomes the network's input.

    The picture is scaled without changing its aspect, put in the top left corner, and padded on the right and
    at the bottom to a multiple of `multiple`.

    Attributes:
        mode: `shorter` scales the shorter side to `size` unless the longer one then passes `max_size`;
            `longer` scales the longer side to `size`; `none` keeps the picture's own size.
        size: pixels.
        max_size: limit of the longer side in `shorter` mode.
        antialias: shrink by averaging blocks of pixels while a factor of 2 is left, which spares decoding
            large photos whole; False is plain bilinear, as torchvision's detectors do.
        pad_value: RGB of the padding.
        multiple: height and width of the input are multiples of this.
    """

    mode: Literal["shorter", "longer", "none"] = "shorter"
    size: int = Field(800, ge=32)
    max_size: int | None = Field(1333, ge=32)
    antialias: bool = True
    pad_value: tuple[int, int, int] = (124, 116, 104)
    multiple: int = Field(32, ge=1)


TORCHVISION_RESIZE = ResizePolicy(mode="shorter", size=800, max_size=1333, antialias=False)


class ClassInfo(_Strict):
    """A class: its name and its category id in the data it was trained on."""

    name: str
    id: int


class LevelInfo(_Strict):
    """A pyramid level: which candidates of the output are its own.

    The K candidates of an output are grouped by level, in this order; a level contributes
    `min(topk, ceil(H / stride) * ceil(W / stride) * anchors_per_cell)` of them, best first.
    """

    stride: int
    anchors_per_cell: int
    topk: int


class EqualityProof(_Strict):
    """That the exported graph gives the boxes of the network it was made from.

    Attributes:
        shapes: input shapes that were compared, as (batch, height, width).
        pictures: names of the pictures that were compared.
        candidates: how many candidates with a score of at least `min_score` were compared.
        max_box_error_px: largest difference of a coordinate.
        max_score_error: largest difference of a score.
        engine: engine and version that ran the exported graph.
    """

    shapes: list[tuple[int, int, int]]
    pictures: list[str]
    candidates: int
    min_score: float
    max_box_error_px: float
    max_score_error: float
    engine: str


class EngineAgreement(_Strict):
    """How near the boxes of two engines are that run the same int8 file.

    They round at other places, so they are never equal. The errors that are given hold for 99 of 100
    candidates; the worst ones are given too.

    Attributes:
        engines: names and versions.
        candidates: how many with a score of at least `min_score` were compared.
        box_error: 1 less the IoU of the two boxes.
        score_error: largest difference of a score.
        worst_box_error: of all candidates.
        worst_score_error: of all candidates.
    """

    engines: tuple[str, str]
    candidates: int
    min_score: float
    box_error: float
    score_error: float
    worst_box_error: float
    worst_score_error: float


class Int8Info(_Strict):
    """What quantising to int8 cost, and how it was done.

    Attributes:
        data: what AP was measured on.
        float_ap: AP of the float file, from 0 to 1, as all AP here.
        int8_ap: AP of this file.
        ap_loss: the difference; below 0 where int8 happens to be better.
        max_ap_loss: what was allowed.
        float_parts: parts of the network that were left in float, because they lost the most AP in int8.
        calibration: where the pictures came from whose activations gave the ranges.
        calibration_pictures: how many they were.
        nncf: version of the library that quantised.
        agreement: of the engines that run this file.
    """

    data: str
    float_ap: float
    int8_ap: float
    ap_loss: float
    max_ap_loss: float
    float_parts: tuple[str, ...]
    calibration: str
    calibration_pictures: int
    nncf: str
    agreement: EngineAgreement


class ModelInfo(_Strict):
    """The self-description that travels inside every model file and checkpoint.

    Attributes:
        name: short name, such as `light-80`.
        family: `retinanet`, …
        architecture: the family's own settings, enough to build the network again.
        classes: in label order.
        resize: how pictures are prepared.
        levels: how candidates are grouped; empty for a family without levels.
        threshold: default score threshold.
        iou: default NMS threshold.
        numeric_type: of the weights: `float32`, or `int8`.
        parameters: number of weights.
        training: data and recipe, as plain JSON.
        metrics: data name → metric → value, as measured.
        licence: SPDX identifier, or a sentence.
        commit: git commit of the code that wrote the file.
        proof: set by export; that of an int8 file is about the float graph that was quantised.
        int8: set by quantising, else None and not written, so that older versions read float files.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    family: str
    architecture: dict[str, Any] = {}
    classes: tuple[ClassInfo, ...]
    resize: ResizePolicy = ResizePolicy()
    levels: tuple[LevelInfo, ...] = ()
    threshold: float = 0.5
    iou: float = 0.5
    numeric_type: str = "float32"
    parameters: int = 0
    training: dict[str, Any] = {}
    metrics: dict[str, dict[str, float]] = {}
    licence: str = "unknown"
    commit: str = "unknown"
    proof: EqualityProof | None = None
    int8: Int8Info | None = None

    @model_serializer(mode="wrap")
    def _leave_out_int8(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        if self.int8 is None:
            values.pop("int8", None)
        return values

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in label order."""
        return tuple(item.name for item in self.classes)

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Original category ids in label order."""
        return tuple(item.id for item in self.classes)
