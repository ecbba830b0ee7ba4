"""How often somebody may ask: token buckets in bounded memory.

Own code, not a library: known ones keep a bucket for every address that ever came, or need a second server.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from densewatch.site.settings import LimitSettings


@dataclass(frozen=True)
class Rate:
    """So many at once, and then so many a second."""

    burst: float
    per_second: float


@dataclass(frozen=True)
class Limits:
    """What one client may ask of the server.

    Attributes:
        requests: any requests, by address.
        sign_ins_by_address: attempts to sign in, by address.
        sign_ins_by_name: attempts to sign in that failed, by name; of all addresses together that did not
            sign in by this name lately, and of each that did.
        sign_ins_at_once: passwords that are checked at the same time; each takes a core and much memory.
        sign_ins_waiting: more than so many are sent away instead of waiting.
        head_bytes: longest address and headers of a request, together.
        body_bytes: longest body of a request.
        body_seconds: how long a body may take to come, all of it; a second more for each 10 kB.
        live_views: open WebSockets, all clients together.
        live_views_by_address: open WebSockets of one address.
        connections_by_address: open connections of one address, live views among them.
        connections_by_loopback: the same of this machine.
        head_seconds: how long the address and the headers of a request may take to come, all of them.
    """

    requests: Rate = Rate(300, 50)
    sign_ins_by_address: Rate = Rate(10, 1 / 6)
    sign_ins_by_name: Rate = Rate(20, 1 / 6)
    sign_ins_at_once: int = 2
    sign_ins_waiting: int = 16
    head_bytes: int = 32 * 1024
    body_bytes: int = 1024 * 1024
    body_seconds: float = 20.0
    live_views: int = 64
    live_views_by_address: int = 16
    connections_by_address: int = 64
    connections_by_loopback: int = 256
    head_seconds: float = 10.0

    @classmethod
    def of(cls, settings: LimitSettings) -> Limits:
        """Return the limits that a site sets, and our own where it sets none."""
        return cls(
            requests=Rate(settings.requests_at_once, settings.requests_per_second),
            sign_ins_by_address=Rate(
                max(1.0, settings.sign_ins_per_minute), settings.sign_ins_per_minute / 60
            ),
            live_views=settings.live_views,
        )


class Buckets:
    """A token bucket for each key; safe to use from threads. Who came longest ago makes room."""

    def __init__(
        self, rate: Rate, *, most: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._most = most
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str) -> float:
        """Take a token; return 0, or in how many seconds there will be one."""
        with self._lock:
            tokens = self._tokens(key)
            taken = tokens >= 1
            self._keep(key, tokens - 1 if taken else tokens)
        return 0.0 if taken else (1 - tokens) / self._rate.per_second

    def give_back(self, key: str) -> None:
        """Undo a `take`."""
        with self._lock:
            self._keep(key, min(self._rate.burst, self._tokens(key) + 1))

    def __len__(self) -> int:
        return len(self._buckets)

    def _tokens(self, key: str) -> float:
        now = self._clock()
        tokens, since = self._buckets.get(key, (self._rate.burst, now))
        return min(self._rate.burst, tokens + (now - since) * self._rate.per_second)

    def _keep(self, key: str, tokens: float) -> None:
        self._buckets[key] = (tokens, self._clock())
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)


class Lately:
    """Remembers what was of late; used on the event loop alone. What was longest ago makes room."""

    def __init__(
        self, seconds: float, *, most: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._seen: OrderedDict[str, float] = OrderedDict()

    def add(self, key: str, ago_s: float = 0.0) -> None:
        """Note that something was now, or so long ago; what was longer ago is to be added first."""
        self._seen[key] = self._clock() - ago_s
        self._seen.move_to_end(key)
        if len(self._seen) > self._most:
            self._seen.popitem(last=False)

    def __contains__(self, key: str) -> bool:
        return self._clock() - self._seen.get(key, float("-inf")) < self._seconds

    def __len__(self) -> int:
        return len(self._seen)


def client_key(address: str) -> str:
    """Return what a client is counted by: its address; of IPv6 the /64, which is one customer's."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
