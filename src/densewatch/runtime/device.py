"""What devices are called: `auto`, `cpu`, `cuda`, `cuda:1`."""

from __future__ import annotations

import re

_NAME = re.compile(r"auto|cpu|cuda(?::(\d+))?")


def gpu_index(device: str) -> int | None:
    """Return which GPU a device is, 0 where it is `cuda`; None for `cpu` and for `auto`.

    Raises:
        ValueError: no device has this name.
    """
    match = _NAME.fullmatch(device)
    if match is None:
        raise ValueError(f"device must be auto, cpu, cuda or cuda:N such as cuda:1, not {device!r}")
    return int(match[1] or 0) if device.startswith("cuda") else None
