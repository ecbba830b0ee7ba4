"""What mmdetection's settings describe: followed, or refused by name; and files that were published."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from densewatch.export import foreign_import
from densewatch.export.foreign_import import recognise_published
from densewatch.models.anchors import Anchors
from densewatch.models.config import preset
from densewatch.models.foreign.conversion import STYLES, PublishedFile, Style
from densewatch.models.foreign.convert import import_weights
from densewatch.models.foreign.errors import ImportFailedError
from densewatch.models.foreign.mmdetection_anchors import read_anchors
from densewatch.models.foreign.mmdetection_config import Settings, read_settings
from densewatch.models.foreign.mmdetection_input import choose_preparation, read_resize
from densewatch.published import PublishedNetwork
from foreign_networks import NAMES, State, mmdetection_state

STRIDES = (8, 16, 32, 64, 128)
OCTAVES = {"octave_base_scale": 4, "scales_per_octave": 3}
OLD_HEAD = "octave_base_scale=4, anchor_strides=[8, 16, 32, 64, 128], target_stds=[1.0, 1.0, 1.0, 1.0]"


def with_generator(**generator: Any) -> Settings:
    described = {"type": "AnchorGenerator", "ratios": [0.5, 1.0, 2.0], "strides": list(STRIDES), **generator}
    return Settings({"model": {"bbox_head": {"anchor_generator": described}}})


def their_cell(base: float, scales: list[float], ratios: list[float], center_offset: float) -> torch.Tensor:
    """Compute as `AnchorGenerator.gen_single_level_base_anchors` of mmdetection 2 and 3 does."""
    heights = torch.tensor(ratios).sqrt()
    ws = (base * (1 / heights)[:, None] * torch.tensor(scales)[None, :]).view(-1)
    hs = (base * heights[:, None] * torch.tensor(scales)[None, :]).view(-1)
    center = center_offset * base
    return torch.stack([center - ws / 2, center - hs / 2, center + ws / 2, center + hs / 2], dim=-1)


@pytest.mark.parametrize(
    ("generator", "bases", "scales"),
    [
        (OCTAVES, STRIDES, [4.0, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3)]),
        (
            {"octave_base_scale": 3, "scales_per_octave": 3},
            STRIDES,
            [3.0, 3 * 2 ** (1 / 3), 3 * 2 ** (2 / 3)],
        ),
        ({"scales": [2.0, 5.0, 3.0], "octave_base_scale": None}, STRIDES, [2.0, 5.0, 3.0]),
        ({"scales": [8], "ratios": [0.2, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0]}, STRIDES, [8.0]),
        (
            {**OCTAVES, "base_sizes": [6, 12, 24, 48, 96]},
            (6, 12, 24, 48, 96),
            [4.0, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3)],
        ),
        ({**OCTAVES, "center_offset": 0.5}, STRIDES, [4.0, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3)]),
    ],
)
def test_anchors_are_those_of_the_generator(
    generator: dict[str, Any], bases: tuple[int, ...], scales: list[float]
) -> None:
    config = preset("mmdetection", anchors=read_anchors(with_generator(**generator))).anchors
    ours = Anchors(config, STRIDES)((128, 128), [(1, 1)] * 5)
    for level, base in enumerate(bases):
        ratios = generator.get("ratios", [0.5, 1.0, 2.0])
        theirs = their_cell(base, scales, ratios, generator.get("center_offset", 0.0))
        torch.testing.assert_close(ours[level], theirs, rtol=1e-5, atol=1e-4)


def test_settings_without_a_generator_mean_mmdetections_own() -> None:
    assert preset("mmdetection", anchors=read_anchors(Settings({}))) == preset("mmdetection")


@pytest.mark.parametrize(
    ("generator", "told"),
    [
        ({}, "without `scales`, and without `octave_base_scale` and `scales_per_octave`"),
        ({"octave_base_scale": "4", "scales_per_octave": 3}, "that are positive numbers"),
        ({"octave_base_scale": 4, "scales_per_octave": 10**9}, "that are positive numbers"),
        ({**OCTAVES, "scales": [4.0]}, "both model.bbox_head.anchor_generator.scales and octave_base_scale"),
        ({"scales": [4.0, 8.0]}, "2 scales and 3 ratios: only networks with 9 anchors a cell"),
        (
            {"scales": [4.0, -8.0, 5.0]},
            "anchor_generator.scales = [4.0, -8.0, 5.0], no list of positive numbers",
        ),
        ({**OCTAVES, "ratios": None}, "anchor_generator.ratios = None, no list"),
        ({**OCTAVES, "base_sizes": [8, 16]}, "2 base_sizes, not one for each of P3 to P7"),
        (
            {**OCTAVES, "base_sizes": [6, 12, 24, 48, 96], "center_offset": 0.5},
            "base_sizes other than the strides",
        ),
    ],
)
def test_anchors_that_cannot_be_followed_are_refused(generator: dict[str, Any], told: str) -> None:
    with pytest.raises(ImportFailedError) as caught:
        read_anchors(with_generator(**generator))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "bbox_head=dict(anchor_generator=dict(centers=[(4, 4), (8, 8)]))",
            "anchor_generator.centers = [[4, 4]",
        ),
        ("neck=dict(upsample_cfg=dict(mode='bilinear'))", "model.neck.upsample_cfg.mode = bilinear"),
        ("backbone=dict(norm_cfg=dict(type='BN', eps=0.001))", "model.backbone.norm_cfg.eps = 0.001"),
    ],
)
def test_settings_of_another_network_are_named(text: str, told: str) -> None:
    with pytest.raises(ImportFailedError) as caught:
        read_settings({"config": f"model = dict({text})"})
    assert told in str(caught.value)


@pytest.fixture(scope="module")
def state() -> State:
    return mmdetection_state("resnet18")


def write(path: Path, state: State, config: str | None, **meta: Any) -> Path:
    settings = {} if config is None else {"config": config}
    torch.save({"meta": {"CLASSES": NAMES, **settings, **meta}, "state_dict": state}, path)
    return path


INPUT = "img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)\n"
PUBLISHED = PublishedFile("retinanet_r18.pth", "mmdetection", "pytorch")


def test_settings_from_before_version_2_are_refused_by_their_shape(tmp_path: Path, state: State) -> None:
    """Their generator laid rounded anchors around 0.5 * (base size - 1). Published files run in version 2."""
    config = f"{INPUT}model = dict(type='RetinaNet', bbox_head=dict(type='RetinaHead', {OLD_HEAD}))"
    path = write(tmp_path / "epoch_12.pth", state, config, mmdet_version="2.3.0")
    with pytest.raises(ImportFailedError, match="as mmdetection had before version 2"):
        import_weights(path)
    assert import_weights(path, published=PUBLISHED).converted.notes == ()
    plain = write(tmp_path / "epoch_12.pth", state, None, mmdet_version="1.2.0")
    notes = import_weights(plain, style="pytorch").converted.notes
    assert any("half a cell off if it was trained before" in note for note in notes)


def test_a_published_file_is_of_its_own_style(tmp_path: Path, state: State) -> None:
    path = write(tmp_path / "renamed.pth", state, None)
    with pytest.raises(
        ImportFailedError, match=r"is the published retinanet_r18\.pth, which is of style 'pytorch'"
    ):
        import_weights(path, style="caffe", published=PUBLISHED)
    imported = import_weights(path, published=PUBLISHED)
    assert imported.published == PUBLISHED
    assert imported.network.config.backbone.stride_in == "3x3"
    assert import_weights(path, style="caffe").published is None


def test_groups_of_the_head_are_followed(tmp_path: Path, state: State) -> None:
    normed: State = {}
    for name, value in state.items():
        if "_convs." in name and name.startswith("bbox_head.") and name.endswith(".bias"):
            block = name.removesuffix(".conv.bias")
            normed |= {f"{block}.gn.weight": torch.ones_like(value), f"{block}.gn.bias": value}
        else:
            normed[name] = value
    config = f"{INPUT}model = dict(bbox_head=dict(norm_cfg=dict(type='GN', num_groups=GROUPS)))"
    path = write(tmp_path / "epoch_12.pth", normed, config.replace("GROUPS", "8"))
    assert import_weights(path).network.config.head.groups == 8
    write(path, normed, config.replace("GROUPS", "5"))
    with pytest.raises(
        ImportFailedError, match="the head's width 16 is no multiple of the 5 groups of its norm"
    ):
        import_weights(path)


def settings_of(style: Style, **norm: Any) -> Settings:
    expected = STYLES[style]
    values = {"mean": list(expected.mean), "std": list(expected.std), "to_rgb": not expected.bgr, **norm}
    backbone = {"style": "caffe" if style == "caffe" else "pytorch"}
    return Settings({"img_norm_cfg": values, "model": {"backbone": backbone}})


@pytest.mark.parametrize("said", ["caffe", "caffe2", "pytorch"])
@pytest.mark.parametrize("named", ["caffe", "caffe2", "pytorch"])
def test_a_style_must_not_contradict_the_settings(said: Style, named: Style) -> None:
    settings = settings_of(said)
    if said == named:
        assert choose_preparation(settings, named) == STYLES[said]
    else:
        with pytest.raises(ImportFailedError, match=f"so it cannot be of style '{named}'"):
            choose_preparation(settings, named)
    assert choose_preparation(settings, None) == STYLES[said]


def test_a_style_must_not_contradict_the_stride_alone() -> None:
    settings = Settings({"model": {"backbone": {"style": "caffe"}}})
    assert choose_preparation(settings, "caffe") == STYLES["caffe"]
    with pytest.raises(ImportFailedError, match=r"model\.backbone\.style = 'caffe', so it cannot be"):
        choose_preparation(settings, "pytorch")


def test_channels_are_exchanged_where_old_settings_do_not_speak_of_it() -> None:
    """`to_rgb` is True by default in `img_norm_cfg`; `bgr_to_rgb`, of version 3, is False."""
    settings = settings_of("pytorch", to_rgb=None)
    assert choose_preparation(settings, None).bgr is False
    new = Settings({"model": {"data_preprocessor": {"mean": [1.0] * 3, "std": [2.0] * 3}}})
    assert choose_preparation(new, None).bgr is True


FLIPPED = {"type": "MultiScaleFlipAug", "img_scale": [640, 320], "transforms": [{"type": "Resize"}]}
PLAIN = {"type": "Resize", "scale": [1000, 600], "keep_ratio": True}


@pytest.mark.parametrize(
    ("tree", "size"),
    [
        ({"test_pipeline": [{"type": "LoadImageFromFile"}, PLAIN]}, (600, 1000)),
        ({"test_dataloader": {"dataset": {"pipeline": [PLAIN]}}}, (600, 1000)),
        ({"data": {"test": {"pipeline": [FLIPPED]}}}, (320, 640)),
        ({"test_pipeline": [{**FLIPPED, "img_scale": [[512, 512]]}]}, (512, 512)),
        ({"test_pipeline": [{**FLIPPED, "img_scale": [[640, 320], [800, 400]]}]}, None),
        ({"test_pipeline": [{**FLIPPED, "transforms": [{"type": "Resize", "keep_ratio": False}]}]}, None),
        ({"test_pipeline": [{"type": "Resize", "scale": [1000, 600]}]}, None),
        ({"test_pipeline": [PLAIN, PLAIN]}, None),
        ({"test_pipeline": [{"type": "FixScaleResize", "scale": [1000, 600], "keep_ratio": True}]}, None),
        ({"test_pipeline": [{**PLAIN, "scale": [1000, 0.5]}]}, None),
        ({}, None),
    ],
)
def test_the_size_of_test_pictures_is_read(tree: dict[str, Any], size: tuple[int, int] | None) -> None:
    resize = read_resize(Settings(tree))
    assert (None if resize is None else (resize.size, resize.max_size)) == size


def test_the_size_goes_into_what_is_imported_or_is_taken_for_granted(tmp_path: Path, state: State) -> None:
    pipeline = "test_pipeline = [dict(type='Resize', scale=(960, 544), keep_ratio=True)]\n"
    model = "model = dict(type='RetinaNet')"
    imported = import_weights(write(tmp_path / "a.pth", state, f"{INPUT}{pipeline}{model}")).converted
    assert (imported.resize.size, imported.resize.max_size, imported.notes) == (544, 960, ())
    granted = import_weights(write(tmp_path / "b.pth", state, f"{INPUT}{model}")).converted
    assert (granted.resize.size, granted.resize.max_size) == (800, 1333)
    assert "does not say plainly which size its pictures have" in granted.notes[0]


@pytest.mark.parametrize(
    ("toolkit", "algorithm", "digits", "name", "style"),
    [
        ("mmdetection", "sha256", 8, "retinanet_r50_fpn_1x_coco-", "pytorch"),
        ("mmdetection", "sha256", 8, "retinanet_r50_caffe_fpn_1x_coco-", "caffe"),
        ("detectron2", "md5", 6, "model_final_", "caffe"),
    ],
)
def test_a_published_file_is_recognised_by_its_hash(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    toolkit: str,
    algorithm: str,
    digits: int,
    name: str,
    style: str,
) -> None:
    path = tmp_path / "renamed.pth"
    path.write_bytes(b"weights")
    assert recognise_published(path) is None
    file = f"{name}{hashlib.new(algorithm, b'weights').hexdigest()[:digits]}.pth"
    network = PublishedNetwork("R50", toolkit, "resnet50", 37.0, "COCO val2017", "a model zoo", file)
    monkeypatch.setattr(foreign_import, "PUBLISHED_NETWORKS", (network,))
    found = recognise_published(path)
    assert found is not None
    assert (found.name, found.toolkit, found.style) == (file, toolkit, style)
