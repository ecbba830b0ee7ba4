"""nncf, which turns a float network into int8: quietly, and without its telemetry."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import cast

import numpy as np
import numpy.typing as npt
import onnx

from densewatch.export.proof import ExportError
from densewatch.extras import how_to_install
from densewatch.imaging.read import read_image
from densewatch.imaging.resize import prepare
from densewatch.metadata import ResizePolicy
from densewatch.runtime.onnxruntime_engine import import_onnxruntime
from densewatch.runtime.openvino_engine import import_openvino


def import_nncf() -> ModuleType:
    """Import nncf without telemetry, its own or that of the two engines that it imports.

    nncf reports its use to its maker through `openvino_telemetry`; after `import_openvino` that package is
    missing in this process. It calibrates in ONNX Runtime, which is kept quiet too.

    Raises:
        ExportError: nncf is not installed.
    """
    import_openvino()
    import_onnxruntime()
    try:
        with _quiet():
            import nncf
    except ImportError as error:
        raise ExportError(f"int8 needs nncf ({error}): {how_to_install('export')}") from error
    return cast(ModuleType, nncf)


def quantise_graph(
    model_file: Path, path: Path, *, keep_float: Sequence[str], pictures: Sequence[Path], resize: ResizePolicy
) -> None:
    """Write the network of a model file in int8: weights, and activations with ranges seen on pictures.

    Weights and activations are symmetric. (Asymmetric ones have finer steps where a range is not the same on
    both sides of zero, but OpenVINO computes convolutions of such inputs in float32, which took half of the
    time of MobileNetV2.) The file has pairs of QuantizeLinear and DequantizeLinear
    around its convolutions, which every ONNX engine runs, and fast ones merge. Metadata stay as they are.

    Args:
        model_file: in float; all its nodes have names.
        path: of the int8 file.
        keep_float: names of the nodes that are not quantised.
        pictures: whose activations give the ranges.
        resize: how pictures are prepared.

    Raises:
        ExportError: nncf is not installed, or cannot quantise this network.
        ImageError: a picture cannot be read.
    """
    nncf = import_nncf()

    def network_input(picture: Path) -> dict[str, npt.NDArray[np.uint8]]:
        return {"image": prepare(read_image(picture), resize).pixels[None]}

    with _quiet():
        try:
            model = nncf.quantize(
                onnx.load(str(model_file)),
                nncf.Dataset(pictures, network_input),
                preset=nncf.QuantizationPreset.PERFORMANCE,
                subset_size=len(pictures),
                ignored_scope=nncf.IgnoredScope(names=list(keep_float)),
            )
        except nncf.errors.ValidationError as error:
            raise ExportError(f"nncf cannot quantise {model_file}: {error}") from error
    onnx.save(model, str(path))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars, notes and warnings of nncf, and of what it imports, away from our output."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
