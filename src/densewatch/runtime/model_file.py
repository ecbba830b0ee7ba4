"""Find a model file, and read what it says of itself without loading its network."""

from __future__ import annotations

import hashlib
import json
import os
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO

import platformdirs
from pydantic import ValidationError

from densewatch.metadata import METADATA_KEY, SCHEMA_VERSION, ModelInfo
from densewatch.runtime.cpu import has_int8_products

# Field numbers of ONNX's `ModelProto` and `StringStringEntryProto`, and protobuf's wire types.
_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2
_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5


class ModelFileError(ValueError):
    """A file that is no model file, or one that this version cannot read; the message says why."""


class ModelNotFoundError(FileNotFoundError):
    """No model of that name or path; the message says where it was looked for and what to do."""


class UnknownModelError(ModelNotFoundError):
    """No model of a name.

    Attributes:
        name: what was asked for.
    """

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is no model {name!r}, neither embedded nor in {models_dir()}, and no file of that name; "
            "`densewatch models list` shows what there is"
        )
        self.name = name


def embedded_models() -> list[Path]:
    """Return the paths of the models that are shipped inside the package: in float, and in int8.

    Raises:
        ModelNotFoundError: this installation carries no model.
    """
    folder = Path(str(files("densewatch") / "weights"))
    paths = [folder / name for name in ("default.onnx", "default-int8.onnx")]
    if not paths[0].is_file():
        raise ModelNotFoundError(
            f"this installation of densewatch has no embedded model ({paths[0]} is not there); "
            "install the package again, or name a model file with --model (in Python: load(path))"
        )
    return [path for path in paths if path.is_file()]


def embedded_model() -> Path:
    """Return the path of the model that is used where none is named: the fastest form that is right here.

    That is int8 where the CPU multiplies 8-bit numbers in hardware, else float: other CPUs gain little from
    int8, and some add such products in 16 bits, which overflow.

    Raises:
        ModelNotFoundError: this installation carries no model.
    """
    *_, int8_or_float = embedded_models()
    return int8_or_float if has_int8_products() else embedded_models()[0]


def models_dir() -> Path:
    """Return the folder in the user's cache where pulled models lie; it may not exist yet."""
    return platformdirs.user_cache_path("densewatch") / "models"


def compiled_dir() -> Path:
    """Return the folder in the user's cache where compiled networks lie; it may not exist yet."""
    return platformdirs.user_cache_path("densewatch") / "compiled"


def digest(path: Path) -> str:
    """Return the start of a file's SHA-256: the name of the folder in which its compiled networks lie.

    Libraries know a compiled network by the path, size and time of the model file, and would run the old
    network of a file that is written anew.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def find_model(model: str | Path | None = None) -> Path:
    """Return the path of a model file.

    Args:
        model: a path, the name of a pulled or of an embedded model, or None for the embedded one.

    Raises:
        ModelNotFoundError: there is no such file.
        UnknownModelError: `model` is no path, and there is no model of that name.
    """
    if model is None:
        return embedded_model()
    path = Path(model)
    if path.is_file():
        return path
    if path.is_dir():
        raise ModelNotFoundError(f"{model} is a folder; name a model file (.onnx) inside it")
    if path.suffix == ".onnx" or path.name != str(model):
        raise ModelNotFoundError(f"there is no model file {model}")
    pulled = models_dir() / f"{model}.onnx"
    if pulled.is_file():
        return pulled
    embedded = _embedded_named(str(model))
    if embedded is None:
        raise UnknownModelError(str(model))
    return embedded


def _embedded_named(name: str) -> Path | None:
    """Return the model inside the package that has this name, if any has."""
    try:
        return next((path for path in embedded_models() if read_info(path).name == name), None)
    except ModelNotFoundError:
        return None


def read_info(path: Path) -> ModelInfo:
    """Return what a model file says of itself; its network is skipped, so this takes no time at any size.

    Raises:
        ModelFileError: `path` is no ONNX file, no densewatch model, or newer than this version.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        text = _read_metadata_property(file, path, METADATA_KEY)
    if text is None:
        raise ModelFileError(
            f"{path} is not a densewatch model file: its ONNX metadata has no {METADATA_KEY!r} entry; "
            "model files are written by `densewatch export` or `densewatch models import`"
        )
    return _parse_info(text, path)


def _parse_info(text: str, path: Path) -> ModelInfo:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelFileError(f"{path}: its {METADATA_KEY!r} metadata is not JSON ({error})") from None
    version = values.get("schema_version", SCHEMA_VERSION) if isinstance(values, dict) else SCHEMA_VERSION
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ModelFileError(
            f"{path} has model file schema {version}, and this version of densewatch reads up to "
            f"{SCHEMA_VERSION}; upgrade densewatch"
        )
    try:
        return ModelInfo.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ModelFileError(
            f"{path}: its {METADATA_KEY!r} metadata is wrong at {where!r}: {first['msg']}"
        ) from None


def _read_metadata_property(file: BinaryIO, path: Path, key: str) -> str | None:
    """Return the entry `key` of `metadata_props` in an ONNX file, or None.

    An ONNX file is one protobuf message. Only its few top-level fields are visited; the graph, nearly all of
    the file, is stepped over. No package of a plain install reads just this: OpenVINO parses the whole graph.
    """
    size = os.fstat(file.fileno()).st_size
    found = None
    try:
        if size == 0:
            raise EOFError
        while file.tell() < size:
            number, wire_type = divmod(_read_varint(file), 8)
            if number == _METADATA_PROPS and wire_type == _LENGTH_DELIMITED:
                end = _checked_end(file, _read_varint(file), size)
                entry = _read_entry(file, end)
                found = entry[_VALUE] if entry.get(_KEY) == key else found
            else:
                _skip_field(file, wire_type, size)
    except (EOFError, KeyError, UnicodeDecodeError):
        raise ModelFileError(
            f"{path} ({size} bytes) is not an ONNX file, or it is damaged or cut short; get the file again"
        ) from None
    return found


def _read_entry(file: BinaryIO, end: int) -> dict[int, str]:
    """Return a message that has only text fields, as field number → text."""
    fields = {}
    while file.tell() < end:
        number, wire_type = divmod(_read_varint(file), 8)
        if wire_type != _LENGTH_DELIMITED:
            raise EOFError
        length = _read_varint(file)
        _checked_end(file, length, end)
        fields[number] = file.read(length).decode()
    return fields


def _skip_field(file: BinaryIO, wire_type: int, size: int) -> None:
    if wire_type == _VARINT:
        _read_varint(file)
        return
    # An unknown wire type ends as a KeyError: what follows cannot be ONNX.
    fixed = {_FIXED64: 8, _FIXED32: 4, _LENGTH_DELIMITED: None}[wire_type]
    file.seek(_checked_end(file, _read_varint(file) if fixed is None else fixed, size))


def _checked_end(file: BinaryIO, length: int, limit: int) -> int:
    """Return where a field of `length` bytes ends, which must not be past `limit`."""
    end = file.tell() + length
    if end > limit:
        raise EOFError
    return end


def _read_varint(file: BinaryIO) -> int:
    """Return protobuf's variable-length integer: seven bits a byte, low bits first."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise EOFError
