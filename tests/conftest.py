"""What all tests share: where the data beside the project lies."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with data and weights beside the project, or skip the test."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared, the data beside the project")
    return SHARED
