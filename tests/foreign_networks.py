"""RetinaNets of detectron2 and mmdetection: random weights under published names, and what they compute.

The forward passes are written from the published configurations in plain functions, and share no code with
ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]
NUM_CLASSES = 5
WIDTH = 16
NAMES = ("cell", "platelet", "bubble", "fibre", "dust")
BLOCKS = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3), "resnext101": (3, 4, 23, 3)}
STRIDES = (8, 16, 32, 64, 128)
SIZES = tuple(2 ** (step / 3) for step in range(3))
RATIOS = (0.5, 1.0, 2.0)
PIXELS = {  # mean and deviation of channels, and whether these are blue, green, red
    "caffe": ((103.530, 116.280, 123.675), (1.0, 1.0, 1.0), True),
    "caffe2": ((103.530, 116.280, 123.675), (57.375, 57.120, 58.395), True),
    "pytorch": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False),
}


@dataclass(frozen=True)
class Answer:
    """What a toolkit's network says of a picture, all levels in a row.

    Anchors of a cell go by ratio, then by size, whatever their order in the toolkit.
    """

    cls_logits: Tensor
    bbox_deltas: Tensor
    anchors: Tensor
    boxes: Tensor


@dataclass(frozen=True)
class Names:
    """How a toolkit calls the parts of its backbone; numbers are a stage (2 to 5), a block, a convolution."""

    stem: str
    stem_norm: str
    convolution: Callable[[int, int, int], str]
    norm: Callable[[int, int, int], str]
    shortcut: Callable[[int, int], str]
    shortcut_norm: Callable[[int, int], str]


DETECTRON2 = Names(
    stem="backbone.bottom_up.stem.conv1",
    stem_norm="backbone.bottom_up.stem.conv1.norm",
    convolution=lambda stage, block, number: f"backbone.bottom_up.res{stage}.{block}.conv{number}",
    norm=lambda stage, block, number: f"backbone.bottom_up.res{stage}.{block}.conv{number}.norm",
    shortcut=lambda stage, block: f"backbone.bottom_up.res{stage}.{block}.shortcut",
    shortcut_norm=lambda stage, block: f"backbone.bottom_up.res{stage}.{block}.shortcut.norm",
)
MMDETECTION = Names(
    stem="backbone.conv1",
    stem_norm="backbone.bn1",
    convolution=lambda stage, block, number: f"backbone.layer{stage - 1}.{block}.conv{number}",
    norm=lambda stage, block, number: f"backbone.layer{stage - 1}.{block}.bn{number}",
    shortcut=lambda stage, block: f"backbone.layer{stage - 1}.{block}.downsample.0",
    shortcut_norm=lambda stage, block: f"backbone.layer{stage - 1}.{block}.downsample.1",
)


def random_backbone(
    names: Names, depth: str, pixel_std: float, groups: int = 1, base_width: int = 64
) -> State:
    """Return a ResNet's weights with realistic statistics, for input of a deviation of about `pixel_std`."""
    torch.manual_seed(0)
    state: State = {}

    def add(name: str, norm: str, out: int, inside: int, kernel: int, strength: float = 1.0) -> None:
        state[f"{name}.weight"] = torch.randn(out, inside, kernel, kernel) * math.sqrt(
            2 / (inside * kernel * kernel)
        )
        state[f"{norm}.weight"] = strength * (0.5 + torch.rand(out))
        state[f"{norm}.bias"] = 0.1 * torch.randn(out)
        state[f"{norm}.running_mean"] = 0.2 * torch.randn(out)
        state[f"{norm}.running_var"] = 0.5 + torch.rand(out)

    add(names.stem, names.stem_norm, 64, 3, 7)
    state[f"{names.stem}.weight"] /= pixel_std
    channels = 64
    expansion = 1 if depth == "resnet18" else 4
    for stage, blocks in enumerate(BLOCKS[depth], start=2):
        planes = 64 << (stage - 2)
        middle = planes * base_width // 64 * groups
        for block in range(blocks):
            shapes = (
                [(planes, channels, 3), (planes, planes, 3)]
                if expansion == 1
                else [(middle, channels, 1), (middle, middle // groups, 3), (planes * 4, middle, 1)]
            )
            for number, (out, inside, kernel) in enumerate(shapes, start=1):
                place = (stage, block, number)
                strength = 0.3 if number == len(shapes) else 1.0  # as after training, or the sum explodes
                add(names.convolution(*place), names.norm(*place), out, inside, kernel, strength)
            if block == 0 and (stage > 2 or expansion == 4):
                place_of_shortcut = (stage, block)
                add(
                    names.shortcut(*place_of_shortcut),
                    names.shortcut_norm(*place_of_shortcut),
                    planes * expansion,
                    channels,
                    1,
                )
            channels = planes * expansion
    return state


def random_rest(names: dict[str, str], c5: int, depth: int = 4) -> State:
    """Return the weights of pyramid and heads; `names` says how each part is called."""
    torch.manual_seed(1)
    state: State = {}

    def add(name: str, out: int, inside: int, kernel: int, gain: float = 1.0, bias: float = 0.0) -> None:
        deviation = gain / math.sqrt(inside * kernel * kernel)
        state[f"{name}.weight"] = torch.randn(out, inside, kernel, kernel) * deviation
        state[f"{name}.bias"] = bias + 0.1 * torch.randn(out)

    for level in range(3):
        add(names["lateral"].format(level), WIDTH, c5 >> (2 - level), 1)
        add(names["output"].format(level), WIDTH, WIDTH, 3)
    add(names["p6"], WIDTH, c5, 3)
    add(names["p7"], WIDTH, WIDTH, 3)
    for tower in ("class_tower", "box_tower"):
        for number in range(depth):
            add(names[tower].format(number), WIDTH, WIDTH, 3, gain=math.sqrt(2))
    add(names["class_output"], 9 * NUM_CLASSES, WIDTH, 3, bias=-2.0)
    add(names["box_output"], 36, WIDTH, 3, gain=0.3)
    return state


DETECTRON2_REST = {
    "p6": "backbone.top_block.p6",
    "p7": "backbone.top_block.p7",
    "class_output": "head.cls_score",
    "box_output": "head.bbox_pred",
}
MMDETECTION_REST = {
    "lateral": "neck.lateral_convs.{}.conv",
    "output": "neck.fpn_convs.{}.conv",
    "p6": "neck.fpn_convs.3.conv",
    "p7": "neck.fpn_convs.4.conv",
    "class_tower": "bbox_head.cls_convs.{}.conv",
    "box_tower": "bbox_head.reg_convs.{}.conv",
    "class_output": "bbox_head.retina_cls",
    "box_output": "bbox_head.retina_reg",
}


def detectron2_state(depth: str, pixel_std: float = 60.0, groups: int = 1, base_width: int = 64) -> State:
    """Return random weights under detectron2's names: levels count from 3, towers count their ReLUs too."""
    rest = random_rest(
        {
            **DETECTRON2_REST,
            "lateral": "lateral{}",
            "output": "output{}",
            "class_tower": "class{}",
            "box_tower": "box{}",
        },
        512 if depth == "resnet18" else 2048,
    )
    renamed = {}
    for name, value in rest.items():
        for number in range(4):
            for ours, theirs in (
                ("lateral", f"backbone.fpn_lateral{number + 3}."),
                ("output", f"backbone.fpn_output{number + 3}."),
                ("class", f"head.cls_subnet.{2 * number}."),
                ("box", f"head.bbox_subnet.{2 * number}."),
            ):
                if name.startswith(f"{ours}{number}."):
                    name = theirs + name.split(".", 1)[1]
        renamed[name] = value
    return random_backbone(DETECTRON2, depth, pixel_std, groups, base_width) | renamed


def mmdetection_state(depth: str, pixel_std: float = 60.0, groups: int = 1, base_width: int = 64) -> State:
    """Return random weights under mmdetection's names, with batch norm's counters, as its files have them."""
    state = random_backbone(MMDETECTION, depth, pixel_std, groups, base_width)
    counters = {
        name.replace("running_var", "num_batches_tracked"): torch.tensor(90_000)
        for name in state
        if name.endswith("running_var")
    }
    return state | counters | random_rest(MMDETECTION_REST, 512 if depth == "resnet18" else 2048)


def picture(height: int = 96, width: int = 160) -> Tensor:
    """Return a picture of coloured waves, uint8 [H, W, 3] RGB."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    waves = [torch.sin(x / (3 + channel) + channel) * torch.cos(y / (5 - channel)) for channel in range(3)]
    offsets = torch.tensor([150.0, 110.0, 80.0])
    return (torch.stack(waves, dim=-1) * 70 + offsets).clamp(0, 255).to(torch.uint8)


def detectron2_answer(state: State, image: Tensor, style: str, groups: int = 1) -> Answer:
    """Compute what detectron2's RetinaNet says of an RGB picture, uint8 [H, W, 3]."""
    state = {name: value.double() for name, value in state.items()}
    features = _backbone(state, _input(image, style), DETECTRON2, style == "caffe", groups)
    pyramid = _pyramid(
        state,
        features,
        [f"backbone.fpn_lateral{level}" for level in (3, 4, 5)],
        [f"backbone.fpn_output{level}" for level in (3, 4, 5)],
    )
    p6 = _convolve(state, "backbone.top_block.p6", features[-1], stride=2, padding=1)
    levels = [*pyramid, p6, _convolve(state, "backbone.top_block.p7", F.relu(p6), stride=2, padding=1)]
    towers = [[f"head.{name}_subnet.{place}" for place in (0, 2, 4, 6)] for name in ("cls", "bbox")]
    logits, deltas = _heads(state, levels, towers, ["head.cls_score", "head.bbox_pred"])
    cells = [
        [_around(0, 0, base * size, ratio) for size in SIZES for ratio in RATIOS]
        for base in (32, 64, 128, 256, 512)
    ]
    by_ratio = [3 * size + ratio for ratio in range(3) for size in range(3)]
    return _answer(levels, logits, deltas, cells, by_ratio)


def mmdetection_answer(
    state: State, image: Tensor, style: str, groups: int = 1, target_stds: tuple[float, ...] = (1, 1, 1, 1)
) -> Answer:
    """Compute what mmdetection's RetinaNet says of an RGB picture, uint8 [H, W, 3]."""
    state = {name: value.double() for name, value in state.items()}
    features = _backbone(state, _input(image, style), MMDETECTION, style == "caffe", groups)
    pyramid = _pyramid(
        state,
        features,
        [f"neck.lateral_convs.{number}.conv" for number in range(3)],
        [f"neck.fpn_convs.{number}.conv" for number in range(3)],
    )
    p6 = _convolve(state, "neck.fpn_convs.3.conv", features[-1], stride=2, padding=1)
    levels = [*pyramid, p6, _convolve(state, "neck.fpn_convs.4.conv", p6, stride=2, padding=1)]
    towers = [[f"bbox_head.{name}_convs.{place}.conv" for place in range(4)] for name in ("cls", "reg")]
    logits, deltas = _heads(state, levels, towers, ["bbox_head.retina_cls", "bbox_head.retina_reg"])
    deltas = [level * torch.tensor(target_stds).double() for level in deltas]
    octave_base_scale = 4
    cells = [
        [_around(0, 0, stride * octave_base_scale * size, ratio) for ratio in RATIOS for size in SIZES]
        for stride in STRIDES
    ]
    return _answer(levels, logits, deltas, cells, list(range(9)))


def _input(image: Tensor, style: str) -> Tensor:
    mean, std, is_bgr = PIXELS[style]
    channels = image.double().flip(-1) if is_bgr else image.double()
    return (
        (channels - torch.tensor(mean, dtype=torch.float64)) / torch.tensor(std, dtype=torch.float64)
    ).permute(2, 0, 1)[None]


def _convolve(
    state: State, name: str, value: Tensor, stride: int = 1, padding: int = 0, groups: int = 1
) -> Tensor:
    weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
    return F.conv2d(value, weight, bias, stride, padding, groups=groups)


def _normalise(state: State, name: str, value: Tensor) -> Tensor:
    shape = (1, -1, 1, 1)
    scale = state[f"{name}.weight"] / (state[f"{name}.running_var"] + 1e-5).sqrt()
    shift = state[f"{name}.bias"] - state[f"{name}.running_mean"] * scale
    return value * scale.view(shape) + shift.view(shape)


def _backbone(state: State, value: Tensor, names: Names, stride_in_1x1: bool, groups: int) -> list[Tensor]:
    """Return C3, C4 and C5."""
    value = F.relu(_normalise(state, names.stem_norm, _convolve(state, names.stem, value, 2, 3)))
    value = F.max_pool2d(value, 3, 2, 1)
    features = []
    for stage in (2, 3, 4, 5):
        block = 0
        while f"{names.convolution(stage, block, 1)}.weight" in state:
            stride = 2 if stage > 2 and block == 0 else 1
            value = _block(state, value, names, (stage, block), stride, stride_in_1x1, groups)
            block += 1
        features.append(value)
    return features[1:]


def _block(
    state: State,
    value: Tensor,
    names: Names,
    place: tuple[int, int],
    stride: int,
    stride_in_1x1: bool,
    groups: int,
) -> Tensor:
    is_bottleneck = f"{names.convolution(*place, 3)}.weight" in state
    if is_bottleneck:
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        steps = [(first, 0, 1), (second, 1, groups), (1, 0, 1)]
    else:
        steps = [(stride, 1, 1), (1, 1, 1)]
    inside = value
    for number, (step, padding, parts) in enumerate(steps, start=1):
        inside = _convolve(state, names.convolution(*place, number), inside, step, padding, parts)
        inside = _normalise(state, names.norm(*place, number), inside)
        if number < len(steps):
            inside = F.relu(inside)
    if f"{names.shortcut(*place)}.weight" in state:
        value = _convolve(state, names.shortcut(*place), value, stride)
        value = _normalise(state, names.shortcut_norm(*place), value)
    return F.relu(inside + value)


def _pyramid(state: State, features: list[Tensor], laterals: list[str], outputs: list[str]) -> list[Tensor]:
    merged = [_convolve(state, name, value) for name, value in zip(laterals, features, strict=True)]
    for level in (1, 0):
        above = merged[level + 1].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        merged[level] = merged[level] + above
    return [_convolve(state, name, value, padding=1) for name, value in zip(outputs, merged, strict=True)]


def _heads(
    state: State, levels: list[Tensor], towers: list[list[str]], outputs: list[str]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return logits [cells, 9, C] and deltas [cells, 9, 4] of each level."""
    answers: tuple[list[Tensor], list[Tensor]] = ([], [])
    for tower, output, answer, values in zip(towers, outputs, answers, (NUM_CLASSES, 4), strict=True):
        for level in levels:
            for name in tower:
                level = F.relu(_convolve(state, name, level, padding=1))
            level = _convolve(state, output, level, padding=1)
            answer.append(level[0].permute(1, 2, 0).reshape(-1, 9, values))
    return answers


def _around(x: float, y: float, side: float, ratio: float) -> list[float]:
    """Return the box around a point that has the area of a square of `side`, and height / width `ratio`."""
    width = math.sqrt(side * side / ratio)
    height = width * ratio
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def _answer(
    levels: list[Tensor],
    logits: list[Tensor],
    deltas: list[Tensor],
    cells: list[list[list[float]]],
    by_ratio: list[int],
) -> Answer:
    anchors = []
    for level, stride, cell in zip(levels, STRIDES, cells, strict=True):
        rows, columns = level.shape[-2:]
        for row in range(rows):
            for column in range(columns):
                shift = torch.tensor([column, row, column, row]).double() * stride
                anchors.append((torch.tensor(cell, dtype=torch.float64) + shift)[by_ratio])
    all_anchors = torch.cat(anchors)
    all_deltas = torch.cat([level[:, by_ratio].flatten(0, 1) for level in deltas])
    return Answer(
        cls_logits=torch.cat([level[:, by_ratio].flatten(0, 1) for level in logits]),
        bbox_deltas=all_deltas,
        anchors=all_anchors,
        boxes=_decode(all_anchors, all_deltas),
    )


def _decode(anchors: Tensor, deltas: Tensor) -> Tensor:
    widths, heights = anchors[:, 2] - anchors[:, 0], anchors[:, 3] - anchors[:, 1]
    x = anchors[:, 0] + widths / 2 + deltas[:, 0] * widths
    y = anchors[:, 1] + heights / 2 + deltas[:, 1] * heights
    most = math.log(1000 / 16)
    widths = widths * deltas[:, 2].clamp(max=most).exp()
    heights = heights * deltas[:, 3].clamp(max=most).exp()
    return torch.stack([x - widths / 2, y - heights / 2, x + widths / 2, y + heights / 2], dim=1)
