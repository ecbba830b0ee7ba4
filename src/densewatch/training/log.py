"""Where a run writes its numbers: CSV for spreadsheets, TensorBoard for curves."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter


class RunLog:
    """Appends rows to `<table>.csv` in the run's folder and the same values to TensorBoard."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.board = SummaryWriter(str(folder / "tensorboard"))  # type: ignore[no-untyped-call]

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.board.close()  # type: ignore[no-untyped-call]

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
                self.board.add_scalar(f"{table}/{name}", value, step)  # type: ignore[no-untyped-call]
        self.board.flush()  # type: ignore[no-untyped-call]
