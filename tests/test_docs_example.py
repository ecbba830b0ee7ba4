"""The commands of docs/blood-cells.md, in their order, on few pictures."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "blood-cells.md"
FEWER = {
    "train": shlex.split(
        "--epochs 1 --eval-every 1 --imgsz 320 --cache off --set data.0.limit=8 --set val.limit=8"
    ),
    "evaluate": shlex.split("--limit 8 --resamples 20"),
}


def commands() -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line.partition(" > ")[0]) for line in lines]


def test_every_command_of_the_worked_example_works(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "bccd").symlink_to(shared / "data" / "bccd")
    verbs = []
    for program, verb, *arguments in commands():
        assert program == "densewatch"
        if "--smoke" in arguments:  # it is the smoke form already, and what it does comes next
            continue
        if verb == "detect":
            arguments[0] = "bccd/val/BloodImage_00000.jpg"
        if verb == "export":  # measuring all of val takes longer than all the rest
            arguments = arguments[:1]
        done = subprocess.run(
            [sys.executable, "-m", "densewatch", verb, *arguments, *FEWER.get(verb, [])],
            cwd=tmp_path, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, f"{verb}: {done.stderr}"
        verbs.append(verb)
    assert verbs == ["doctor", "train", "export", "evaluate", "detect"]
    assert (tmp_path / "doctor" / "index.html").is_file()
    assert (tmp_path / "report" / "index.html").is_file()
