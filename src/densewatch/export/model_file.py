"""Exporting: graph, proof, measured AP, and then the file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from densewatch.commit import code_commit
from densewatch.export.onnx_graph import write_graph, write_metadata
from densewatch.export.proof import check_pictures, prove, shipped_pictures
from densewatch.metadata import ModelInfo
from densewatch.models.candidates import CandidateNet, levels_of
from densewatch.models.retinanet import RetinaNet

Measure = Callable[[Path], dict[str, dict[str, float]]]
"""Given a model file, returns data name → metric → value."""


def export_model(
    network: RetinaNet,
    info: ModelInfo,
    path: Path,
    *,
    topk: int = 1000,
    pictures: Sequence[Path] | None = None,
    measure: Measure | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> ModelInfo:
    """Write a network as a self-describing model file, and return its description.

    The file appears only when everything went well: the graph was compared with the network on real pictures,
    and AP was measured where that was asked for.

    Args:
        network: in any mode; it is exported in evaluation mode.
        info: its description; levels, parameters, proof and commit are filled in here, and the commit that it
            was trained with moves to `training`.
        path: of the model file, `.onnx`.
        topk: how many candidates each pyramid level passes on.
        pictures: for the comparison, at least two; None takes the photos inside the package.
        measure: measures the finished file; what it returns goes into the metadata.
        on_step: told what is done next, such as `writing the graph`; each step may take half a minute.

    Raises:
        ExportError: the graph's boxes differ from the network's.
        ValueError: `path` is no `.onnx` file, or there are too few pictures.
    """
    if path.suffix != ".onnx":
        raise ValueError(f"{path}: a model file's name ends in .onnx")
    pictures = check_pictures(shipped_pictures() if pictures is None else pictures)
    net = CandidateNet(network.cpu().eval(), topk)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        unfinished = Path(folder) / path.name
        on_step("writing the graph")
        write_graph(net, unfinished)
        info = info.model_copy(
            update={
                "levels": levels_of(network, topk),
                "parameters": sum(parameter.numel() for parameter in network.parameters()),
                "training": {**info.training, "commit": info.commit},
                "commit": code_commit() or "unknown",
            }
        )
        on_step(f"comparing its boxes with PyTorch's on {len(pictures)} pictures at several sizes")
        proof = prove(net, unfinished, info, pictures)
        info = info.model_copy(update={"proof": proof})
        write_metadata(unfinished, info)
        if measure is not None:
            on_step("measuring AP")
            info = info.model_copy(update={"metrics": {**info.metrics, **measure(unfinished)}})
            write_metadata(unfinished, info)
        unfinished.replace(path)
    return info
