"""`densewatch watch` with its dashboard, as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from live_helpers import wait_for

COMMAND = [sys.executable, "-c", "from densewatch.cli.main import main; main()", "watch"]
PASSWORD = "correct-horse-battery"


@contextmanager
def served(folder: Path, log: Path, *arguments: str) -> Iterator[str]:
    """Run `watch` in a folder until the end; give the address that it prints.

    The admin's password is `PASSWORD`; it must not come into the log. The process must end well when told to.
    """
    variables = {**os.environ, "DENSEWATCH_ADMIN_PASSWORD": PASSWORD}
    command = [*COMMAND, *arguments, "--port", "0"]
    with (
        log.open("w") as said,
        subprocess.Popen(
            command, cwd=folder, env=variables, stdout=subprocess.DEVNULL, stderr=said
        ) as process,
    ):
        try:
            wait_for(lambda: "dashboard: http://127.0.0.1:" in log.read_text(), 60, "the dashboard")
            yield log.read_text().split("dashboard: ")[1].split()[0]
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert PASSWORD not in log.read_text()
