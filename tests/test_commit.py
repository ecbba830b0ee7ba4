"""The commit that results are labelled with."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from densewatch import commit

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *arguments: str) -> str:
    """Run git on the repository in `folder`, whatever repository or settings the developer's shell names."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that `code_commit` takes for its own, in a repository that does not know it yet."""
    path = tmp_path / "package" / "commit.py"
    path.parent.mkdir()
    path.write_text("")
    monkeypatch.setattr(commit, "__file__", str(path))
    git(tmp_path, "init", "-q")
    return path


def commit_all(folder: Path) -> None:
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "a commit")


def test_commit_is_named_only_by_the_repository_of_the_code(code: Path, tmp_path: Path) -> None:
    assert commit.code_commit() is None  # a copy inside somebody's repository
    commit_all(tmp_path)
    first = commit.code_commit()
    assert first == git(tmp_path, "rev-parse", "--short=12", "HEAD")
    code.write_text("changed")
    assert commit.code_commit() == first + "+"


def test_another_repository_in_the_environment_is_not_asked(
    code: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit_all(tmp_path)
    expected = git(tmp_path, "rev-parse", "--short=12", "HEAD")
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert commit.code_commit() == expected
