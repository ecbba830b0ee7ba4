"""Exporting in int8: quantise, measure what it costs, leave in float what costs too much, or refuse."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from densewatch.commit import code_commit
from densewatch.export.agreement import check_agreement
from densewatch.export.graph_parts import name_nodes, split_graph
from densewatch.export.model_file import Measure
from densewatch.export.nncf_int8 import import_nncf, quantise_graph
from densewatch.export.onnx_graph import write_metadata
from densewatch.export.proof import ExportError, check_pictures, shipped_pictures
from densewatch.metadata import Int8Info, ModelInfo
from densewatch.runtime.model_file import read_info

MAX_AP_LOSS = 0.005


@dataclass(frozen=True)
class Calibration:
    """Pictures whose activations give the ranges of the eight bits; labels are not looked at.

    Attributes:
        pictures: at least one; a few hundred are enough.
        source: where they come from, for the metadata, such as the name of their folder.
    """

    pictures: Sequence[Path]
    source: str


@dataclass(frozen=True)
class Choice:
    """Which parts of a network stay in float.

    Attributes:
        float_parts: by name.
        ap: of the network so quantised.
    """

    float_parts: tuple[str, ...]
    ap: float


def quantise_model(
    model_file: Path,
    path: Path,
    calibration: Calibration,
    measure: Measure,
    *,
    max_ap_loss: float = MAX_AP_LOSS,
    pictures: Sequence[Path] | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> ModelInfo:
    """Write a float model file's network as an int8 model file, and return its description.

    All of the network is quantised first, but for top-k and box decoding. Where that loses too much AP, each
    part of the network is left in float in turn (`graph_parts.split_graph`), then the worst ones together.
    The file appears only if AP stayed within the bound and both engines run it alike.

    Args:
        model_file: in float.
        path: of the int8 file, `.onnx`.
        calibration: pictures like those that the model will see.
        measure: measures a model file on one data set; AP counts.
        max_ap_loss: how much AP may be lost, 0 to 1: 0.005 is half a point.
        pictures: for the comparison of the engines, at least two; None takes the photos inside the package.
        on_step: told what is done next; each step may take minutes.

    Raises:
        ExportError: too much AP is lost however many parts stay in float, the engines disagree, nncf is not
            installed or cannot quantise this network, or AP cannot be measured on the data.
        ValueError: `path` is no `.onnx` file or is `model_file`, which must be in float; or there are too few
            pictures.
    """
    info = read_info(model_file)
    _check(model_file, info, path, calibration)
    pictures = check_pictures(shipped_pictures() if pictures is None else pictures)
    nncf_version: str = import_nncf().__version__
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        on_step("measuring AP of the float network")
        data, float_ap = _only_ap(measure(model_file))
        attempts = _Attempts(model_file, info, Path(folder), calibration, measure, on_step)
        choice = choose_float_parts(list(attempts.parts), attempts.ap, float_ap - max_ap_loss)
        _refuse_if_worse(choice, attempts.ap(()), float_ap, max_ap_loss)
        unfinished, metrics = attempts.files[choice.float_parts]
        on_step(f"comparing OpenVINO with ONNX Runtime on {len(pictures)} pictures at several sizes")
        int8 = Int8Info(
            data=data,
            float_ap=float_ap,
            int8_ap=choice.ap,
            ap_loss=round(float_ap - choice.ap, 6),
            max_ap_loss=max_ap_loss,
            float_parts=choice.float_parts,
            calibration=calibration.source,
            calibration_pictures=len(calibration.pictures),
            nncf=nncf_version,
            agreement=check_agreement(unfinished, model_file, info.resize, pictures),
        )
        info = info.model_copy(
            update={
                "name": f"{info.name}-int8",
                "numeric_type": "int8",
                "metrics": metrics,
                "int8": int8,
                "commit": code_commit() or "unknown",
            }
        )
        write_metadata(unfinished, info)
        unfinished.replace(path)
    return info


def choose_float_parts(
    parts: Sequence[str], ap_with: Callable[[tuple[str, ...]], float], needed_ap: float
) -> Choice:
    """Return the fewest parts to leave in float so that AP is kept, or the choice with the best AP.

    The damage that a part does is measured by leaving it alone in float. The parts with which AP is best
    then stay in float together: two, three, and so on.

    Args:
        parts: their names.
        ap_with: gives AP when these parts stay in float, in the order of `parts` or of their damage.
        needed_ap: from which on AP is kept.
    """
    tried = [Choice((), ap_with(()))]
    if tried[0].ap >= needed_ap or len(parts) < 2:
        return tried[0]
    alone = sorted((Choice((part,), ap_with((part,))) for part in parts), key=lambda choice: -choice.ap)
    tried.append(alone[0])
    worst_first = [choice.float_parts[0] for choice in alone]
    for count in range(2, len(parts)):  # with all of them in float there would be nothing in int8
        if tried[-1].ap >= needed_ap:
            break
        tried.append(Choice(tuple(worst_first[:count]), ap_with(tuple(worst_first[:count]))))
    return tried[-1] if tried[-1].ap >= needed_ap else max(tried, key=lambda choice: choice.ap)


class _Attempts:
    """Int8 files with some parts in float, each written and measured once.

    Attributes:
        parts: part → names of its nodes.
        files: parts in float → file, and its metrics.
    """

    def __init__(
        self,
        model_file: Path,
        info: ModelInfo,
        folder: Path,
        calibration: Calibration,
        measure: Measure,
        on_step: Callable[[str], None],
    ) -> None:
        model = onnx.load(str(model_file))
        name_nodes(model.graph)
        self.parts, self._never = split_graph(model.graph)
        if not self.parts:
            raise ExportError(f"{model_file}: its network has no convolution that could be quantised")
        self.files: dict[tuple[str, ...], tuple[Path, dict[str, dict[str, float]]]] = {}
        self._named = folder / "float.onnx"
        onnx.save(model, str(self._named))
        self._info, self._calibration, self._measure, self._on_step = info, calibration, measure, on_step

    def ap(self, float_parts: tuple[str, ...]) -> float:
        """Return AP when these parts stay in float."""
        if float_parts not in self.files:
            path = self._named.with_name(f"int8-{len(self.files)}.onnx")
            kept = f", {', '.join(float_parts)} left in float" if float_parts else ""
            self._on_step(f"quantising with {len(self._calibration.pictures)} pictures{kept}")
            quantise_graph(
                self._named,
                path,
                keep_float=[*self._never, *(node for part in float_parts for node in self.parts[part])],
                pictures=self._calibration.pictures,
                resize=self._info.resize,
            )
            self._on_step("measuring AP in int8")
            self.files[float_parts] = path, self._measure(path)
        return _only_ap(self.files[float_parts][1])[1]


def _check(model_file: Path, info: ModelInfo, path: Path, calibration: Calibration) -> None:
    if path.suffix != ".onnx":
        raise ValueError(f"{path}: a model file's name ends in .onnx")
    if info.numeric_type == "int8":
        raise ValueError(f"{model_file} is in int8 already; quantise the float file that it was made from")
    if path.exists() and path.samefile(model_file):
        raise ValueError(f"{path}: would be written over the float model file; choose another name")
    if not calibration.pictures:
        raise ValueError("there is no picture to calibrate on")


def _only_ap(metrics: dict[str, dict[str, float]]) -> tuple[str, float]:
    """Return what was measured on, and AP there."""
    ((data, numbers),) = metrics.items()
    if "AP" not in numbers:
        raise ExportError(f"{data}: no AP can be measured there, because it has no objects")
    return data, numbers["AP"]


def _refuse_if_worse(choice: Choice, all_int8: float, float_ap: float, max_ap_loss: float) -> None:
    if choice.ap >= float_ap - max_ap_loss:
        return
    kept = (
        f", and still {choice.ap:.4f} with {', '.join(choice.float_parts)} in float"
        if choice.float_parts
        else ""
    )
    raise ExportError(
        f"int8 loses too much: AP is {float_ap:.4f} in float and {all_int8:.4f} in int8{kept}; "
        f"{100 * (float_ap - choice.ap):.2f} points are lost and {100 * max_ap_loss:.2f} are allowed; "
        "no model file was written"
    )
