"""How many physical processor cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path


def available_cores(root: Path = Path("/")) -> int:
    """Return the number of physical cores that this process may use, at least 1.

    Convolutions gain nothing from a second thread on the same core, so hyper-threads count once. The
    process's affinity and the CPU quota of its control group (a container's limit) are respected where the
    system has them.

    Args:
        root: where `/proc` and `/sys` lie.
    """
    cores = _physical_cores(_allowed_cpus(), root)
    quota = _cgroup_quota(root)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def _allowed_cpus() -> set[int]:
    """Return the logical processors that the scheduler may give to this process."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _physical_cores(cpus: set[int], root: Path) -> int:
    """Count cores: logical processors that share one are the same line in their `thread_siblings_list`."""
    topology = root / "sys/devices/system/cpu"
    cores = {_read(topology / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in cpus}
    return len(cores)


def _cgroup_quota(root: Path) -> float | None:
    """Return the tightest CPU quota, in cores, of this process's control group and those above it."""
    quotas = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            quotas += [_quota_v2(folder) for folder in _with_parents(root / "sys/fs/cgroup", group)]
        elif "cpu" in controllers.split(","):
            quotas += [
                _quota_v1(folder) for folder in _with_parents(root / "sys/fs/cgroup" / controllers, group)
            ]
            quotas += [_quota_v1(folder) for folder in _with_parents(root / "sys/fs/cgroup/cpu", group)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _with_parents(mount: Path, group: str) -> list[Path]:
    """Return the folder of `group` and of every group above it; in a container only `mount` may be there."""
    parts = [part for part in group.split("/") if part not in ("", "..")]
    return [mount.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]


def _quota_v2(folder: Path) -> float | None:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _quota_v1(folder: Path) -> float | None:
    quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _read(path: Path) -> str:
    """Return the text of a small system file, empty where this system does not have it."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
