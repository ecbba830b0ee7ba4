"""Where a run writes its numbers: CSV for spreadsheets, TensorBoard for curves."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

_TABLES = ("metrics", "validation")


class RunLog:
    """Appends rows to `<table>.csv` in the run's folder and the same values to TensorBoard.

    A run that goes on from step `start` may have written rows beyond it before it was cut off: they are
    removed, since those steps come again.
    """

    def __init__(self, folder: Path, start: int = 0) -> None:
        self.folder = folder
        for table in _TABLES:
            _drop_rows_after(folder / f"{table}.csv", start)
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1)

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.board.close()

    def write(self, table: str, step: int, values: Mapping[str, float | None]) -> None:
        """Write one row; the columns of a table are those of its first row."""
        file = self.folder / f"{table}.csv"
        is_new = not file.exists()
        with file.open("a", newline="") as stream:
            writer = csv.writer(stream)
            if is_new:
                writer.writerow(["step", *values])
            writer.writerow([step, *("" if value is None else f"{value:.6g}" for value in values.values())])
        for name, value in values.items():
            if value is not None:
                self.board.add_scalar(f"{table}/{name}", value, step)
        self.board.flush()


def _drop_rows_after(file: Path, step: int) -> None:
    """Keep the whole rows up to `step`; without any row, a table starts anew."""
    if not file.exists():
        return
    with file.open(newline="") as stream:
        header, *rows = list(csv.reader(stream)) or [[]]
    kept = [row for row in rows if len(row) == len(header) and int(row[0]) <= step]
    if not kept:
        file.unlink()
        return
    partial = file.with_suffix(".partial")
    with partial.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *kept])
    partial.replace(file)
