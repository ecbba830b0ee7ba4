"""Files of weights, as PyTorch and detectron2 write them, read without running any code in them."""

from __future__ import annotations

import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from densewatch.models.foreign.errors import ImportFailedError
from densewatch.models.foreign.pickled_arrays import MAX_BYTES, Array, read_pickle

# Toolkits save their logs, settings and arguments beside the weights. An object of theirs is replaced by one
# that takes everything and does nothing, or by an empty list or dictionary, where the file puts something
# into it; every other name that a file asks for is refused.
_BYSTANDERS = re.compile(
    r"(mmengine|mmcv|mmdet|detectron2|fvcore|iopath|yacs|addict|omegaconf|argparse|pathlib|numpy|_codecs)\."
    r"|(builtins|__builtin__)\.(getattr|set|frozenset|slice|list|dict|int|float)$"
    r"|collections\.(deque|defaultdict)$"
)
_LISTS = re.compile(r"collections\.deque$|\w+\.list$")
_DICTIONARIES = re.compile(r"collections\.defaultdict$|\w+\.dict$|.*\.(CfgNode|ConfigDict|Dict)$")
_WEIGHTS_KEYS = ("state_dict", "model")  # mmdetection's; detectron2's, which torchvision's scripts use too


@dataclass(frozen=True)
class WeightsFile:
    """What a file of weights holds.

    Attributes:
        path: of the file.
        tensors: name → weights, with float32 values.
        meta: what mmdetection writes beside the weights; empty in other files.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    meta: Mapping[str, Any]


class _Bystander:
    """Takes the place of an object that is no weight; keeps nothing of it."""

    def __new__(cls, *_: Any) -> _Bystander:
        return object.__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _List(list[Any]):
    """Takes the place of a `deque` or a list: what it is made of is dropped, what is put into it stays."""

    def __init__(self, *_: Any) -> None:
        super().__init__()


class _Dictionary:
    """Takes the place of a `defaultdict` or of settings: makes an empty dictionary, which can be filled."""

    def __new__(cls, *_: Any) -> OrderedDict[str, Any]:  # type: ignore[misc]
        return OrderedDict()


def _stand_in(name: str) -> type:
    if _LISTS.match(name):
        return _List
    return _Dictionary if _DICTIONARIES.match(name) else _Bystander


def read_weights(path: Path) -> WeightsFile:
    """Read a `.pkl` of detectron2, or a file that `torch.save` wrote.

    Raises:
        ImportFailedError: the file cannot be read, asks for code to be run, or holds no weights.
    """
    content = _unpickle(path) if path.suffix == ".pkl" and not zipfile.is_zipfile(path) else _load(path)
    if not isinstance(content, dict):
        raise ImportFailedError(
            f"holds a {type(content).__name__}, no dictionary of weights (a `state_dict`)"
        )
    key = next((key for key in _WEIGHTS_KEYS if isinstance(content.get(key), dict)), None)
    state = content if key is None else content[key]
    meta = content.get("meta") if key == "state_dict" else None
    tensors: dict[str, Tensor] = {}
    size = 0
    for name, value in state.items():
        tensor = _tensor(name, value)
        size += tensor.nbytes  # tensors may share their storage, and some become new ones here
        if size > MAX_BYTES:
            raise ImportFailedError(f"has weights of more than {_in_gb(MAX_BYTES)}")
        tensors[str(name).removeprefix("module.")] = tensor
    if not tensors:
        raise ImportFailedError("holds no weights at all")
    return WeightsFile(path, tensors, meta if isinstance(meta, dict) else {})


def _tensor(name: object, value: Any) -> Tensor:
    """Return a weight, in float32 where it is a float."""
    if isinstance(value, Array) and value.values is not None:
        value = torch.from_numpy(value.values)
    if not isinstance(name, str) or not isinstance(value, Tensor):
        raise ImportFailedError(
            f"holds no plain dictionary of tensors (a `state_dict`): {str(name)[:60]!r} is a "
            f"{type(value).__name__.strip('_')}"
        )
    if (
        value.layout != torch.strided
        or value.numel() * value.element_size() > value.untyped_storage().nbytes()
    ):
        raise ImportFailedError(
            f"{name[:60]!r} has the shape {list(value.shape)}, but fewer numbers are stored; refused"
        )
    return value.float() if value.is_floating_point() else value


def _in_gb(size: int) -> str:
    return f"{size / 2**30:.1f} GB"


def _refuse_larger(size: int) -> None:
    """Refuse what would take more memory than any network."""
    if size > MAX_BYTES:
        raise ImportFailedError(f"has {_in_gb(size)}; at most {_in_gb(MAX_BYTES)} are read")


def _unpickle(path: Path) -> Any:
    _refuse_larger(path.stat().st_size)
    return read_pickle(path.read_bytes())


def _load(path: Path) -> Any:
    """Read what `torch.save` wrote, with bystanders in the place of toolkits' own objects."""
    _refuse_larger(_unpacked_size(path))
    try:
        asked_for = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # no zip file, as before PyTorch 1.6, or no file of weights: reading it tells
        asked_for = []
    for name in asked_for:
        if not _BYSTANDERS.match(name):
            raise ImportFailedError(
                f"asks for {name[:100]!r}, which a file of weights has no use for; refused, and nothing in "
                "it was run"
            )
    allowed: Any = [(_stand_in(name), name) for name in asked_for]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no pickle make the reader stumble over anything
        raise ImportFailedError(f"cannot be read as PyTorch weights: {_reason(error)}") from error


def _unpacked_size(path: Path) -> int:
    """Return how many bytes a file becomes in memory: a zip file's entries may be compressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:  # as before PyTorch 1.6, or no file of weights: reading it tells
        return path.stat().st_size


def _reason(error: Exception) -> str:
    """Return what PyTorch found wrong, without its advice to trust the file."""
    text = str(error).strip()
    found = re.search(r"WeightsUnpickler error:\s*(.+)", text)
    return (found[1] if found else text.split("\n")[0] or type(error).__name__)[:200]
