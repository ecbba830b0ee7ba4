"""RetinaNets that others published: their AP, where it is written, and the file of weights, if there is one.

All AP are in percent, averaged over IoU 0.50 to 0.95. What was measured on test-dev is not to be compared
with val2017 to the last tenth.
"""

from __future__ import annotations

from dataclasses import dataclass

_PAPER = "arXiv 1708.02002"
_DETECTRON = "Detectron, MODEL_ZOO.md"
_DETECTRON2 = "detectron2, MODEL_ZOO.md"
_MMDETECTION = "mmdetection, configs/retinanet"
_VAL, _TEST = "COCO val2017", "COCO test-dev"


@dataclass(frozen=True)
class PublishedNetwork:
    """A network with a published figure.

    Attributes:
        name: for listings.
        preset: of our configuration that is the same network, but for the backbone's name.
        backbone: as `BackboneConfig.name` has it.
        ap: in percent.
        data: what it was measured on; `COCO minival` is 5,000 pictures, those of val2017.
        source: where the figure is written.
        file: name of the published file of weights, which `densewatch models import` takes; or empty.
        licence: SPDX identifier of the weights; or empty, where there is no file.
    """

    name: str
    preset: str
    backbone: str
    ap: float
    data: str
    source: str
    file: str = ""
    licence: str = ""


def _paper(name: str, preset: str, backbone: str, ap: float, table: str) -> PublishedNetwork:
    return PublishedNetwork(name, preset, backbone, ap, _TEST, f"{_PAPER}, {table}")


def _detectron(name: str, preset: str, backbone: str, ap: float) -> PublishedNetwork:
    return PublishedNetwork(name, preset, backbone, ap, "COCO minival", _DETECTRON)


def _detectron2(name: str, backbone: str, ap: float, file: str) -> PublishedNetwork:
    return PublishedNetwork(
        f"detectron2 {name}", "detectron2", backbone, ap, _VAL, _DETECTRON2, file, "CC-BY-SA-3.0"
    )


def _mmdetection(name: str, backbone: str, ap: float, file: str) -> PublishedNetwork:
    return PublishedNetwork(
        f"mmdetection {name}", "mmdetection", backbone, ap, _VAL, _MMDETECTION, file, "Apache-2.0"
    )


PUBLISHED_NETWORKS = (
    _paper("paper R50, 800 px", "paper", "resnet50", 35.7, "Table 1e"),
    _paper("paper R101, 800 px", "paper-r101", "resnet101", 37.8, "Table 1e"),
    _paper("paper R101, scale jitter, 1.5×", "paper-r101", "resnet101", 39.1, "Table 2"),
    _paper("paper ResNeXt-101", "paper-x101-32x8d", "resnext101_32x8d", 40.8, "Table 2"),
    _detectron("Detectron R50 1x", "paper", "resnet50", 35.7),
    _detectron("Detectron R101 2x", "paper-r101", "resnet101", 37.8),
    _detectron("Detectron X101-32x8d 1x", "paper-x101-32x8d", "resnext101_32x8d", 39.5),
    _detectron("Detectron X101-64x4d 1x", "paper-x101-64x4d", "resnext101_64x4d", 39.8),
    _detectron2("R50 1x", "resnet50", 37.4, "model_final_bfca0b.pkl"),
    _detectron2("R50 3x", "resnet50", 38.7, "model_final_5bd44e.pkl"),
    _detectron2("R101 3x", "resnet101", 40.4, "model_final_971ab9.pkl"),
    _mmdetection("R18 1x", "resnet18", 31.7, "retinanet_r18_fpn_1x_coco_20220407_171055-614fd399.pth"),
    _mmdetection("R50 caffe 1x", "resnet50", 36.3, "retinanet_r50_caffe_fpn_1x_coco_20200531-f11027c5.pth"),
    _mmdetection("R50 1x", "resnet50", 36.5, "retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth"),
    _mmdetection("R50 2x", "resnet50", 37.4, "retinanet_r50_fpn_2x_coco_20200131-fdb43119.pth"),
    _mmdetection(
        "R50 3x", "resnet50", 39.5, "retinanet_r50_fpn_mstrain_3x_coco_20210718_220633-88476508.pth"
    ),
    _mmdetection(
        "R101 caffe 1x", "resnet101", 38.5, "retinanet_r101_caffe_fpn_1x_coco_20200531-b428fa0f.pth"
    ),
    _mmdetection("R101 1x", "resnet101", 38.5, "retinanet_r101_fpn_1x_coco_20200130-7a93545f.pth"),
    _mmdetection("R101 2x", "resnet101", 38.9, "retinanet_r101_fpn_2x_coco_20200131-5560aee8.pth"),
    _mmdetection(
        "R101 3x", "resnet101", 41.0, "retinanet_r101_fpn_mstrain_3x_coco_20210720_214650-7ee888e0.pth"
    ),
    _mmdetection(
        "X101-32x4d 1x",
        "resnext101_32x4d",
        39.9,
        "retinanet_x101_32x4d_fpn_1x_coco_20200130-5c8b7ec4.pth",
    ),
    _mmdetection(
        "X101-64x4d 1x",
        "resnext101_64x4d",
        41.0,
        "retinanet_x101_64x4d_fpn_1x_coco_20200130-366f5af1.pth",
    ),
    _mmdetection(
        "X101-64x4d 3x",
        "resnext101_64x4d",
        41.6,
        "retinanet_x101_64x4d_fpn_mstrain_3x_coco_20210719_051838-022c2187.pth",
    ),
)
"""In the order in which they are listed. torchvision's two can be pulled: see `hub.PUBLISHED_MODELS`."""
