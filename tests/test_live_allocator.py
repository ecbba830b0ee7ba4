"""A watching process keeps to few memory arenas, however many threads come and go."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, sys, threading
from densewatch.live.allocator import limit_arenas
if sys.argv[1] == "limited":
    assert limit_arenas()
together = threading.Barrier(12)
def work():
    blocks = [ctypes.create_string_buffer(3000) for _ in range(50)]
    together.wait()
    del blocks
threads = [threading.Thread(target=work) for _ in range(12)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")
@pytest.mark.parametrize(("how", "few"), [("limited", True), ("as it is", False)])
def test_threads_share_two_arenas(how: str, few: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True, timeout=60
    )
    assert (done.stdout.count("<heap nr=") <= 2) == few
