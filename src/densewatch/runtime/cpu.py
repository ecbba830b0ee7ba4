"""What kind of processor this is, where Linux tells."""

from __future__ import annotations

from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_INT8_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8"}


def cpu_value(*keys: str) -> str:
    """Return the first value in Linux's description of the processor that has one of `keys`, or ""."""
    if not _CPUINFO.exists():
        return ""
    for line in _CPUINFO.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in keys:
            return value.strip()
    return ""


def cpu_flags() -> frozenset[str]:
    """Return the instruction sets of the processor, as Linux calls them on x86 and on ARM."""
    return frozenset(cpu_value("flags", "Features").split())


def has_int8_products() -> bool:
    """Return whether the processor is known to add products of 8-bit numbers in 32 bits, in one instruction.

    Older x86 processors add them in 16 bits, where sums overflow. Off Linux the answer is False.
    """
    return not _INT8_PRODUCTS.isdisjoint(cpu_flags())
