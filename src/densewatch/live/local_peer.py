"""Who is at the other end of a connection within this computer."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

_TABLE = Path("/proc/self/net/tcp")
_LOCAL, _REMOTE, _USER = 1, 2, 7  # columns


def is_ours(connection: socket.socket, table: Path = _TABLE) -> bool:
    """Return whether the other end of an IPv4 connection belongs to the user whose process this is.

    Only Linux says whose a connection is; where no such table can be read, all are taken for ours.

    Args:
        connection: accepted on an address of this computer.
        table: the kernel's list of connections, as proc_pid_net(5) has it.
    """
    try:
        lines = table.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return True
    wanted = (_written(connection.getpeername()), _written(connection.getsockname()))
    rows = (line.split() for line in lines)
    users = [int(row[_USER]) for row in rows if (row[_LOCAL], row[_REMOTE]) == wanted]
    return users == [os.geteuid()]


def _written(address: tuple[str, int]) -> str:
    """Return an address as the kernel writes it: the four bytes as one number of this machine."""
    host, port = address
    return f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"
