"""What hosts and origins are."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from urllib.parse import urlsplit

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_LONGEST_NAME = 253


def host_name(text: str) -> str:
    """Return a host as browsers and certificates write it: lower case, IDNA, addresses in their short form.

    Raises:
        ValueError: it is neither a name nor an address.
    """
    if (address := _address(text)) is not None:
        return address
    name = _in_ascii(unicodedata.normalize("NFKC", text).lower().removesuffix("."))
    labels = name.split(".")
    # A name that ends in a number is an address to browsers, so here it would be a wrong one.
    is_name = all(_LABEL.fullmatch(label) for label in labels) and not labels[-1].isdecimal()
    if not is_name or len(name) > _LONGEST_NAME:
        raise ValueError("must be the name or the address of a host, such as watch.example or 192.0.2.7")
    return name


def certified_name(text: str) -> str:
    """Return what a certificate may be for: a host as `host_name` writes it, or `*.` and a name.

    Raises:
        ValueError: it is neither.
    """
    rest = text.removeprefix("*.")
    if rest != text and _address(rest) is not None:
        raise ValueError("an address has no names below it: leave out *.")
    return text[: len(text) - len(rest)] + host_name(rest)


def _in_ascii(name: str) -> str:
    """Return a name as IDNA writes it; empty where it cannot, or where browsers may write it otherwise."""
    if name.isascii():
        return name
    try:
        written = name.encode("idna")
        # Python's IDNA is that of 2003, which makes `ss` of `ß`; such names must be given as xn--….
        return written.decode() if written.decode("idna") == name else ""
    except UnicodeError:
        return ""


def _address(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # A zone, as in fe80::1%eth0, is this machine's own word, which no browser sends.
    return None if "%" in text else str(address)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_origin(text: str) -> str:
    """Return `https://host:port` as browsers write it, without a slash at its end.

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
    host = host_name(parts.hostname or "")
    port = "" if parts.port is None else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"
