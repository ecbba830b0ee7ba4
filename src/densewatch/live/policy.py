"""Which sources may be opened: schemes, networks, folders and devices. What is not allowed is refused."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

from densewatch.live.address import DEFAULT_PORTS, Address
from densewatch.live.frames import SourceError

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # an IPv4 address in disguise


@dataclass(frozen=True)
class SourcePolicy:
    """What sources may be opened; by default network addresses in the public internet, and the demo.

    Attributes:
        schemes: of network addresses that are allowed.
        private: allow private networks, as in `192.168.0.0/16`, where most cameras are.
        loopback: allow this computer itself.
        link_local: allow link-local addresses; in clouds, machines get their secrets from such a one.
        networks: networks that are allowed besides.
        folders: where files and folders of pictures may lie; None allows any.
        devices: numbers of webcams; None allows any.
    """

    schemes: frozenset[str] = frozenset(DEFAULT_PORTS)
    private: bool = False
    loopback: bool = False
    link_local: bool = False
    networks: tuple[IpNetwork, ...] = ()
    folders: tuple[Path, ...] | None = ()
    devices: frozenset[int] | None = frozenset()

    @classmethod
    def permissive(cls) -> SourcePolicy:
        """Return what holds for a source that a user types on his own command line: all that he can reach."""
        return cls(private=True, loopback=True, link_local=True, folders=None, devices=None)

    def check(self, address: Address) -> None:
        """Refuse what is not allowed, as far as that is known before host names are resolved.

        Raises:
            SourceError: with reason `policy`.
        """
        if address.kind == "network" and address.scheme not in self.schemes:
            raise SourceError(f"{address}: sources by {address.scheme} are not allowed", "policy")
        if (
            address.kind == "device"
            and self.devices is not None
            and int(address.location) not in self.devices
        ):
            raise SourceError(f"{address}: this device is not among those that are allowed", "policy")
        if address.kind in ("file", "folder") and not self._allows_path(Path(address.location)):
            raise SourceError(f"{address}: it lies in no folder that is allowed", "policy")
        try:
            literal = ipaddress.ip_address(address.host)
        except ValueError:
            return
        self._check_ip(literal, address)

    def resolve(self, address: Address) -> list[str]:
        """Return the IP addresses of a network address, all of them allowed.

        One that is not allowed among several refuses them all: no honest name has such a mixture. Whoever
        connects must take an address from this list, and not look the name up again.

        Raises:
            SourceError: with reason `policy`, or `unknown_host` where the name has no address.
        """
        self.check(address)
        try:
            found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            found = []
        if not found:
            raise SourceError(f"{address}: no such host is known", "unknown_host")
        texts = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for text in texts:
            self._check_ip(ipaddress.ip_address(text), address)
        return texts

    def _check_ip(self, ip: IpAddress, address: Address) -> None:
        for one in (ip, *_disguised(ip)):
            kind = None if any(one in network for network in self.networks) else self._refused_kind(one)
            if kind is not None:
                raise SourceError(f"{address}: it is in {kind}, which is not allowed", "policy")

    def _refused_kind(self, ip: IpAddress) -> str | None:
        """Return the kind of an address, as the end of a sentence, where that kind is not allowed."""
        if ip.is_multicast:
            return "a multicast network"
        if ip.is_loopback or ip.is_unspecified:  # connecting to 0.0.0.0 reaches this computer
            return None if self.loopback else "this computer itself"
        if ip.is_link_local:
            return None if self.link_local else "a link-local network"
        if not ip.is_global:
            return None if self.private else "a private network"
        return None

    def _allows_path(self, path: Path) -> bool:
        if self.folders is None:
            return True
        try:
            real = path.resolve()
            return any(real.is_relative_to(folder.resolve()) for folder in self.folders)
        except (OSError, ValueError, RuntimeError):  # such as a circle of links
            return False


def _disguised(ip: IpAddress) -> list[IpAddress]:
    """Return the IPv4 addresses that an IPv6 address stands for."""
    if isinstance(ip, ipaddress.IPv4Address):
        return []
    inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
    if ip in _NAT64:
        inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    return [one for one in inner if one is not None]
