"""The C library's memory, for a process that runs for months."""

from __future__ import annotations

import ctypes
import platform

_M_ARENA_MAX = -8  # of glibc's malloc.h
_ARENAS = 2


def limit_arenas() -> bool:
    """Let all threads share two of glibc's memory arenas; return whether that was possible.

    By default each new thread may get an arena of its own, up to eight a core. Every reconnect of a camera
    starts threads, FFmpeg's among them, so freed memory ends up scattered over ever more arenas, and none of
    them is ever empty enough to go back: no leak, but a process that grows for hours. Call it before threads
    start.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS))
