"""Pickles of numpy arrays, such as detectron2's `.pkl`, read as data.

A pickle is a program for a small stack machine, and Python's own reader runs it: it imports what the file
names, and calls it. This reader knows the instructions that arrays, numbers, text and containers need, and
builds these itself. It imports and calls nothing that the file names; whatever else one asks for is refused.
"""

from __future__ import annotations

import math
import pickletools
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from densewatch.models.foreign.errors import ImportFailedError

MAX_BYTES = 2 << 30
_MAX_INSTRUCTIONS = 1_000_000  # a ResNet-152 has about 20,000
_MAX_DIMENSIONS = 8
_MAX_SIDE = 2**31
_BROKEN = (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError, struct.error)

_VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NEW: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_EMPTY: dict[str, Callable[[], Any]] = {"OrderedDict": dict, "bytes": bytes}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = {"PROTO", "FRAME", "STOP"}
_BYTE_ORDERS = {"<": "<", ">": ">", "=": "", "|": ""}
_DTYPES = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1"})

_KNOWN = {
    f"{module}.{name}": name
    for name, modules in {
        "_reconstruct": ("numpy.core.multiarray", "numpy._core.multiarray"),
        "scalar": ("numpy.core.multiarray", "numpy._core.multiarray"),
        "_frombuffer": ("numpy.core.numeric", "numpy._core.numeric"),
        "ndarray": ("numpy",),
        "dtype": ("numpy",),
        "encode": ("_codecs",),
        "OrderedDict": ("collections",),
        "bytes": ("__builtin__",),
    }.items()
    for module in modules
}
"""What a pickle of arrays may name → what it is here. The names moved with numpy 2."""


@dataclass(frozen=True)
class _Global:
    """Stands for a name; nothing of that name is ever looked up."""

    name: str


@dataclass
class _DType:
    code: str
    byte_order: str = "="


@dataclass
class Array:
    """An array in the making; `values` is None until its content has come."""

    values: npt.NDArray[Any] | None = None


@dataclass
class _Machine:
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    made_bytes: int = 0

    def take(self, size: int) -> None:
        """Count bytes that are about to be made: a short pickle may ask for one array a thousand times."""
        self.made_bytes += size
        if self.made_bytes > MAX_BYTES:
            raise ImportFailedError(
                f"the pickle becomes more than {MAX_BYTES / 2**30:.0f} GB in memory; refused"
            )

    def pop_to_mark(self) -> list[Any]:
        """Take everything above the last mark off the stack."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items


def read_pickle(data: bytes) -> Any:
    """Return what a pickle holds: containers, text, numbers, and each array as an `Array`.

    Raises:
        ImportFailedError: it asks for anything else, or is broken, or larger than any network.
    """
    if len(data) > MAX_BYTES:
        raise ImportFailedError(f"the pickle has {len(data) / 1e9:.1f} GB; at most 2 GB are read")
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count > _MAX_INSTRUCTIONS:
                raise ImportFailedError(f"the pickle has more than {_MAX_INSTRUCTIONS:,} instructions")
            _step(machine, opcode.name, argument)
        (content,) = machine.stack
    except ImportFailedError:
        raise
    except _BROKEN as error:
        raise ImportFailedError(f"is no pickle that can be read: {str(error)[:200]}") from error
    return content


def _step(machine: _Machine, name: str, argument: Any) -> None:
    """Carry out one instruction."""
    stack = machine.stack
    if name in _VALUES:
        stack.append(argument)
    elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
    elif name in _NEW:
        stack.append(_NEW[name]())
    elif name in _TUPLES:
        stack[-_TUPLES[name] :] = [tuple(stack[-_TUPLES[name] :])]
    elif name == "MARK":
        machine.marks.append(len(stack))
    elif name == "TUPLE":
        stack.append(tuple(machine.pop_to_mark()))
    elif name in ("BINPUT", "LONG_BINPUT"):
        machine.memo[argument] = stack[-1]
    elif name == "MEMOIZE":
        machine.memo[len(machine.memo)] = stack[-1]
    elif name in ("BINGET", "LONG_BINGET"):
        stack.append(machine.memo[argument])
    elif name in ("GLOBAL", "STACK_GLOBAL"):
        stack.append(_global(machine, argument))
    elif name not in _IGNORED:
        _combine(machine, name)


def _combine(machine: _Machine, name: str) -> None:
    """Carry out an instruction that puts one thing into another, or makes a thing of others."""
    stack = machine.stack
    if name in ("APPEND", "APPENDS"):
        items = machine.pop_to_mark() if name == "APPENDS" else [stack.pop()]
        _expect(stack[-1], list).extend(items)
    elif name in ("SETITEM", "SETITEMS"):
        items = machine.pop_to_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
        target = _expect(stack[-1], dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) not in (str, int):  # of tuples in tuples, a hash could take for ever
                raise ImportFailedError(
                    f"the pickle has a key of type {type(key).__name__}; text is expected"
                )
            target[key] = value
    elif name == "REDUCE":
        arguments = _expect(stack.pop(), tuple)
        stack.append(_make(machine, _expect(stack.pop(), _Global).name, arguments))
    elif name == "BUILD":
        state = stack.pop()
        _fill(machine, stack[-1], state)
    else:
        raise ImportFailedError(f"the pickle has the instruction {name}, which arrays do not need; refused")


def _global(machine: _Machine, argument: Any) -> _Global:
    if argument is None:  # the two names are on the stack, as text
        name, module = machine.stack.pop(), machine.stack.pop()
        full_name = f"{_expect(module, str)}.{_expect(name, str)}"
    else:
        full_name = argument.replace(" ", ".", 1)
    if full_name not in _KNOWN:
        raise ImportFailedError(
            f"the pickle asks for {full_name[:100]!r}, which a file of weights has no use for; refused, and "
            "nothing in it was run"
        )
    return _Global(_KNOWN[full_name])


def _make(machine: _Machine, name: str, arguments: tuple[Any, ...]) -> Any:
    """Return what calling the thing of that name would have given."""
    if name == "_reconstruct":
        return Array()  # whatever its first shape: the content comes with its own
    if name == "dtype":
        return _DType(_expect(arguments[0], str))
    if name == "scalar":
        return _array(machine, (), arguments[0], arguments[1], fortran=False)
    if name == "_frombuffer":
        content, dtype, shape, order = arguments
        machine.take(len(_expect(content, bytes, bytearray)))
        return _array(machine, shape, dtype, bytes(content), fortran=order == "F")
    if name == "encode" and arguments[1] in ("latin1", "latin-1"):
        machine.take(len(_expect(arguments[0], str)))
        return arguments[0].encode("latin-1")
    if name in _EMPTY and not arguments:
        return _EMPTY[name]()
    raise ImportFailedError(f"the pickle calls {name} in a way that arrays do not need; refused")


def _fill(machine: _Machine, target: Any, state: Any) -> None:
    """Give a thing in the making its content."""
    if isinstance(target, Array):
        _, shape, dtype, fortran, content = _expect(state, tuple)
        target.values = _array(machine, shape, dtype, content, fortran=fortran is True).values
    elif isinstance(target, _DType):
        _, target.byte_order, *rest = _expect(state, tuple)
        if any(rest[:3]):
            raise ImportFailedError("the pickle has an array of records; plain numbers are expected")
    else:
        raise ImportFailedError(f"the pickle sets the inside of a {type(target).__name__}; refused")


def _array(machine: _Machine, shape: Any, dtype: Any, content: Any, *, fortran: bool) -> Array:
    """Return an array of `content`, which must be as long as shape and type say."""
    code = _expect(dtype, _DType).code
    if code not in _DTYPES:
        raise ImportFailedError(f"the pickle has an array of type {code[:20]!r}; plain numbers are expected")
    if isinstance(content, str):  # as Python 2 wrote it
        machine.take(len(content))
        content = content.encode("latin-1")
    sides = _expect(shape, tuple)
    if len(sides) > _MAX_DIMENSIONS or not all(type(side) is int and 0 <= side < _MAX_SIDE for side in sides):
        raise ImportFailedError("the pickle has an array whose shape is no shape; refused")
    element = np.dtype(_BYTE_ORDERS[dtype.byte_order] + code)
    raw = _expect(content, bytes)
    if len(raw) != math.prod(sides) * element.itemsize:
        raise ImportFailedError(f"the pickle has {len(raw)} bytes for an array {code} of shape {list(sides)}")
    machine.take(len(raw))
    values = np.frombuffer(raw, element).reshape(sides, order="F" if fortran else "C")
    return Array(np.array(values, dtype=element.newbyteorder("="), order="C"))


def _expect(value: Any, *types: type) -> Any:
    """Return `value`, which must be of one of the types."""
    if type(value) not in types:
        raise ImportFailedError(
            f"the pickle has a {type(value).__name__} where a {types[0].__name__.strip('_')} belongs; refused"
        )
    return value
