"""What hosts and origins are."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_origin(text: str) -> str:
    """Return `https://host:port` in lower case, without a slash at its end.

    Raises:
        ValueError: it is something else; the message does not show it, for it may hold a password.
    """
    try:
        parts = urlsplit(text)
        whole = (
            parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
        )
    except ValueError:
        whole = False
    if not whole or "@" in parts.netloc or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("must be http:// or https://, a host, maybe a port, and nothing else")
    return f"{parts.scheme}://{parts.netloc.lower()}"
