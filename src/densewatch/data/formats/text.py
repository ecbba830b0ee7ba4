"""What people and tools type into label files: text, lines and numbers, with errors that say where."""

from __future__ import annotations

import re
from pathlib import Path

from densewatch.data.dataset import DataError

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?(nan|inf|infinity)", re.ASCII | re.IGNORECASE)


def read_text(file: Path) -> str:
    """Return the text of a file in UTF-8; a byte order mark is left out, and line ends may be of any kind.

    Raises:
        DataError: the file cannot be read, or is not UTF-8.
    """
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            f"{file}:{line}: is not text in UTF-8 (byte 0x{error.object[error.start]:02x}): save it as UTF-8"
        ) from None


def lines_of(text: str) -> list[tuple[int, str]]:
    """Return the lines of a text that are not blank, with their numbers, from 1, and without outer blanks."""
    lines = re.split(r"\r\n|\n|\r", text)
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def parse_number(text: str, where: str) -> float:
    """Return a number as labels write it, `nan` and `inf` included.

    Args:
        text: without outer blanks.
        where: file, line and field, for messages.

    Raises:
        DataError: it is no number.
    """
    if _NUMBER.fullmatch(text):
        return float(text)
    hint = ": write the decimals with a point" if re.fullmatch(r"[+-]?\d*,\d+", text) else ""
    raise DataError(f"{where} is {shorten(text)}, which is no number{hint}")


def parse_whole(text: str, where: str) -> int:
    """Return a whole number, like `parse_number`.

    Raises:
        DataError: it is no whole number, or does not fit into 64 bits.
    """
    if not re.fullmatch(r"[+-]?\d{1,19}", text, re.ASCII) or abs(int(text)) >= 2**63:
        raise DataError(f"{where} is {shorten(text)}, which is no whole number of at most 64 bits")
    return int(text)


def whole_again(value: float) -> float:
    """Return a coordinate in pixels to nine decimals: what lies behind them is arithmetic, not a label."""
    return round(value, 9)


def shorten(value: object, limit: int = 80) -> str:
    """Return what a message shows of a value from a file: text in quotes, numbers, or else what it is."""
    if not isinstance(value, str | bool | int | float | None):
        return type(value).__name__
    shown = repr(value[: limit + 1] if isinstance(value, str) else value)
    return shown if len(shown) <= limit else shown[:limit] + "…"
