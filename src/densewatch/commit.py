"""Which code this is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def code_commit() -> str | None:
    """Return the git commit that this package's code belongs to, with `+` where files differ from it.

    None where the package was installed as a copy: a repository that merely lies around it is not its own.
    """
    here = Path(__file__)
    try:
        _git(here.parent, "ls-files", "--error-unmatch", here.name)
        commit = _git(here.parent, "rev-parse", "--short=12", "HEAD")
        changed = _git(here.parent, "status", "--porcelain", "--untracked-files=no", ".")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    # In a hook, GIT_DIR and the like name the repository of whoever runs this, not the one of this code.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    finished = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return finished.stdout.strip()
