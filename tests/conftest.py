"""What all tests share: the data beside the project, and surroundings that are the same everywhere."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

SHARED = Path(__file__).resolve().parents[2] / "shared"
COLOUR_SWITCHES = ("FORCE_COLOR", "NO_COLOR", "CLICOLOR_FORCE", "GITHUB_ACTIONS")

# A machine that is busy with something else must not turn a true property into a failure.
settings.register_profile("densewatch", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("densewatch")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with data and weights beside the project, or skip the test."""
    if not (SHARED / "data" / "everyday" / "val.json").is_file():
        pytest.skip("needs ../shared, the data beside the project")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide what differs from machine to machine, from the tests and from the processes that they start.

    Local servers are reached without a proxy, output has no colours, and compiled networks are kept in one
    folder a session instead of the user's cache. A shell that runs the tests in the background makes them
    ignore Ctrl-C; the processes that they start must not inherit that.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "*")
        patch.setenv("no_proxy", "*")
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        for name in COLOUR_SWITCHES:
            patch.delenv(name, raising=False)
        yield
