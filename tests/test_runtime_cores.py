"""How many threads: physical cores, within the process's affinity and its container's quota."""

from __future__ import annotations

from pathlib import Path

import pytest

from densewatch.runtime import cores
from densewatch.runtime.cores import available_cores


def write_files(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def siblings(groups: list[list[int]]) -> dict[str, str]:
    folder = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    return {folder.format(cpu): ",".join(map(str, group)) for group in groups for cpu in group}


FOUR_CORES = siblings([[0, 4], [1, 5], [2, 6], [3, 7]])
V2, V1 = {"proc/self/cgroup": "0::/a/b"}, {"proc/self/cgroup": "9:name=systemd:/\n4:cpu,cpuacct:/a"}


@pytest.mark.parametrize(
    ("allowed", "files", "expected"),
    [
        (range(8), {}, 8),  # a system that does not say: every processor is a core
        (range(8), FOUR_CORES, 4),
        ([0, 4, 1], FOUR_CORES, 2),
        ([4], FOUR_CORES, 1),
        (range(8), {**FOUR_CORES, **V2}, 4),
        (range(8), {**FOUR_CORES, **V2, "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, 4),
        (range(8), {**FOUR_CORES, **V2, "sys/fs/cgroup/a/b/cpu.max": "150000 100000"}, 2),
        (range(8), {**FOUR_CORES, **V2, "sys/fs/cgroup/a/cpu.max": "50000 100000"}, 1),  # the parent's quota
        (
            range(8),
            {**FOUR_CORES, **V2, "sys/fs/cgroup/cpu.max": "300000 100000"},
            3,
        ),  # seen from a container
        (range(8), {**FOUR_CORES, **V2, "sys/fs/cgroup/cpu.max": "900000 100000"}, 4),
        (
            range(8),
            {
                **FOUR_CORES,
                **V1,
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "200000",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
            },
            2,
        ),
        (
            range(8),
            {
                **FOUR_CORES,
                **V1,
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
            },
            4,
        ),
    ],
)
def test_available_cores(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    allowed: list[int],
    files: dict[str, str],
    expected: int,
) -> None:
    monkeypatch.setattr(cores, "_allowed_cpus", lambda: set(allowed))
    write_files(tmp_path, files)
    assert available_cores(tmp_path) == expected


def test_here() -> None:
    assert available_cores() >= 1
