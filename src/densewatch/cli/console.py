"""What the verbs say to people: sentences and progress, all on standard error."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

DONE = 0
SOME_FAILED = 1
OUTPUT_THREAD = "densewatch-output"
"""Name of the thread that writes results as they come."""
WRONG_USAGE = 2


def stderr_console() -> Console:
    """Return a console that writes text as it is: no markup, no highlighting, no wrapping."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False, soft_wrap=True)


def say(message: str) -> None:
    """Tell the user something that is not a result."""
    stderr_console().print(message)


def warn(message: str) -> None:
    """Tell the user of something that went on, but not as they may think."""
    stderr_console().print(f"warning: {message}", style="yellow")


def report_error(message: object) -> None:
    """Tell the user of something that failed."""
    stderr_console().print(f"error: {message}", style="red")


def stop(message: object, exit_code: int = WRONG_USAGE) -> NoReturn:
    """End the program with one sentence."""
    report_error(message)
    raise typer.Exit(exit_code)


class ProgressBar:
    """A bar on standard error that keeps out of the way of results on standard output."""

    def __init__(self, progress: Progress | None, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=total) if progress is not None else None

    def advance(self) -> None:
        """Count one step."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task)

    def move_to(self, completed: int, total: int | None) -> None:
        """Set the position, and the end where it is known only now."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=completed, total=total)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar off the screen while results are written to the same terminal."""
        shares_terminal = self._progress is not None and sys.stdout.isatty()
        if not shares_terminal or self._progress is None:
            yield
            return
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()


@contextmanager
def progress_bar(
    description: str, total: int | None, *, columns: tuple[ProgressColumn, ...] = (MofNCompleteColumn(),)
) -> Iterator[ProgressBar]:
    """Show a bar while the block runs, where standard error is a terminal and there is more than one step.

    Args:
        description: what is being done, such as `detecting`.
        total: how many steps; None while it is not known.
        columns: what stands between the bar and the time that is left.
    """
    console = stderr_console()
    if not console.is_terminal or total == 1:
        yield ProgressBar(None, total)
        return
    progress = Progress(
        TextColumn(description),
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # results must reach standard output untouched, also when it is a file
    )
    with progress:
        yield ProgressBar(progress, total)


def leave_unread(code: object) -> None:
    """End the process here if a thread still waits for a reader, since Python's own end waits for it too.

    Args:
        code: as `SystemExit` has it.
    """
    if any(thread.name == OUTPUT_THREAD for thread in threading.enumerate()):
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)
