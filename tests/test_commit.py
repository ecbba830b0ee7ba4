"""The commit that results are labelled with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from densewatch import commit


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_commit_is_named_only_by_the_repository_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "package" / "commit.py"
    code.parent.mkdir(parents=True)
    code.write_text("")
    monkeypatch.setattr(commit, "__file__", str(code))
    git(tmp_path, "init", "-q")
    assert commit.code_commit() is None  # a copy inside somebody's repository
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    first = commit.code_commit()
    assert first is not None
    assert len(first) == 12
    code.write_text("changed")
    assert commit.code_commit() == first + "+"
