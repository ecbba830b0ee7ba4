"""Time cold processes: `import densewatch`, and `densewatch detect PHOTO` with the compiled model cached.

python benchmarks/start.py [PHOTO] [--model FILE]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from densewatch.benchmarking.machine import describe_machine

PHOTO = Path(__file__).parents[1] / "src" / "densewatch" / "assets" / "astronaut.jpg"
RUNS = 9


def cold_seconds(command: list[str]) -> list[float]:
    """Return how long each of `RUNS` fresh processes took, after one that fills the caches."""
    seconds = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", nargs="?", default=str(PHOTO))
    parser.add_argument("--model")
    arguments = parser.parse_args()
    detect = [sys.executable, "-m", "densewatch", "detect", arguments.photo]
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import densewatch": [sys.executable, "-c", "import densewatch"],
        "densewatch detect PHOTO": detect + (["--model", arguments.model] if arguments.model else []),
    }
    machine = describe_machine()
    print(f"{machine.cpu}, {machine.cores} cores, {machine.system}; {RUNS} fresh processes each")
    for name, command in commands.items():
        seconds = sorted(cold_seconds(command))
        print(f"{name:26} median {statistics.median(seconds):.3f} s, slowest {seconds[-1]:.3f} s")


if __name__ == "__main__":
    main()
