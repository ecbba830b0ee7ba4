"""On what, and with which code, something was measured."""

from __future__ import annotations

import platform
import sys
from dataclasses import asdict, dataclass
from typing import Any

from densewatch.runtime.cores import available_cores
from densewatch.runtime.cpu import cpu_flags, cpu_value

# What decides how fast a network runs; as Linux calls them on x86 and on ARM.
_TELLING_FLAGS = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimddp",
    "bf16",
    "i8mm",
    "sve",
)


@dataclass(frozen=True)
class Machine:
    """A computer, as far as it bears on a measurement.

    Attributes:
        cpu: model name.
        instruction_sets: those that matter for networks.
        cores: physical ones that this process may use.
        system: operating system and Python.
    """

    cpu: str
    instruction_sets: tuple[str, ...]
    cores: int
    system: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def describe_machine() -> Machine:
    """Describe the computer that this runs on."""
    flags = cpu_flags()
    return Machine(
        cpu=cpu_value("model name") or platform.processor() or platform.machine(),
        instruction_sets=tuple(flag for flag in _TELLING_FLAGS if flag in flags),
        cores=available_cores(),
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    )


def peak_memory_mb() -> float:
    """Return the most memory that this process has had in use so far, in MB; NaN where nobody counts it."""
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
