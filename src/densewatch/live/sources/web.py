"""HTTP and HTTPS: MJPEG, HLS and videos, fetched by this process so that each step can be checked."""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import replace
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth, HTTPDigestAuth
from urllib3 import disable_warnings
from urllib3.exceptions import HTTPError, InsecureRequestWarning

from densewatch.live.address import Address, Credentials, parse_address
from densewatch.live.frames import SourceError
from densewatch.live.sources.feed import Access, Input, Nothing, refuse

logging.getLogger("urllib3").setLevel(logging.ERROR)  # its warnings show addresses with their tokens

_MAX_REDIRECTS = 5
_MAX_PICTURE = 32 * 2**20
_REDIRECTS = (301, 302, 303, 307, 308)
_HLS_TYPES = ("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl")
_VIDEO_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,flv,avi,ogg,gif,apng,asf,h264,hevc"


class WebFeed:
    """A video from a web server.

    FFmpeg gets the bytes, and no way to the network. Redirects, and all that an HLS playlist names, are
    fetched here: each address goes through the policy, and the connection to the IP address that was checked.
    Proxies and `.netrc` are not used. Credentials go to the server they were given for, and to no other.
    HLS with encrypted segments is not supported.

    Attributes:
        failure: why it ended; None while all is well.
        lost: always 0; TCP loses nothing.
    """

    lost = 0

    def __init__(self, access: Access) -> None:
        self.failure: SourceError | None = None
        self._access = access
        self._address = access.address
        self._timeouts = (access.open_timeout_s, access.read_timeout_s)
        self._pins = _PinnedAdapter()
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = access.verify_tls
        if not access.verify_tls:  # the settings say so; to be told with each connection helps nobody
            disable_warnings(InsecureRequestWarning)
        self._session.headers["Accept-Encoding"] = "identity"
        self._session.mount("http://", self._pins)
        self._session.mount("https://", self._pins)
        self._auth: AuthBase | None = None
        self._bodies: set[_Body] = set()
        self._lock = threading.Lock()
        self._closed = False

    def open(self) -> Input:
        """Ask for the address, and see what kind of video comes."""
        body, address = self._get(self._address)
        kind = body.kind
        if kind == "multipart/x-mixed-replace":
            options = {"protocol_whitelist": "none"}
            body.limit(_MAX_PICTURE)  # FFmpeg would gather one picture until the memory is full
            return Input(body, "mpjpeg", options, refuse, on_packet=body.restart)
        if kind in _HLS_TYPES or address.location.partition("?")[0].endswith(".m3u8"):
            options = {"http_persistent": "0", "allowed_extensions": "ALL", "extension_picky": "0"}
            options["protocol_whitelist"] = "none"  # a segment that is a list of files skips `_open_part`
            return Input(body, "hls", options, self._open_part, paced=True)
        if kind.startswith("text/") or (kind.startswith("image/") and kind != "image/gif"):
            body.close()
            what = "a web page or text" if kind.startswith("text/") else "a single picture"
            raise SourceError(f"{self._address}: it sends {what}, not a video", "invalid")
        options = {"format_whitelist": _VIDEO_FORMATS, "protocol_whitelist": "none"}
        return Input(body, None, options, refuse, paced=True)

    def close(self, failure: SourceError | None = None) -> None:
        """End all transfers at once."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self.failure = self.failure or failure
            bodies, self._bodies = self._bodies, set()
        for body in bodies:
            body.abort()
        self._session.close()

    def _open_part(self, url: str, _flags: int, _options: dict[str, str]) -> _Body | Nothing:
        """Open what a playlist names. Errors end the source later, since PyAV would print them."""
        try:
            return self._get(parse_web_address(url, self._address))[0]
        except SourceError as error:
            self._fail(error)
            return Nothing()

    def _fail(self, error: SourceError) -> None:
        with self._lock:
            if not self._closed:
                self.failure = self.failure or error

    def _get(self, address: Address) -> tuple[_Body, Address]:
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._request(address)
            if response.status_code not in _REDIRECTS or "Location" not in response.headers:
                return self._body(response, address), address
            response.close()
            address = parse_web_address(urljoin(address.url, response.headers["Location"]), self._address)
        raise SourceError(f"{self._address}: it redirects too often", "redirect")

    def _request(self, address: Address) -> requests.Response:
        trusted = address.origin == self._address.origin and self._access.credentials is not None
        response = self._ask(address, self._auth if trusted else None)
        if response.status_code == 401 and trusted and self._auth is None:
            challenge = response.headers.get("WWW-Authenticate", "")
            response.close()
            self._auth = _sign_in(challenge, self._access.credentials)
            response = self._ask(address, self._auth)
        return response

    def _ask(self, address: Address, auth: AuthBase | None) -> requests.Response:
        failure: SourceError | None = None
        for ip in self._access.policy.resolve(address):
            self._pins.ip = ip
            try:
                return self._session.get(
                    address.url, auth=auth, stream=True, allow_redirects=False, timeout=self._timeouts
                )
            except (requests.RequestException, HTTPError, OSError, ValueError) as error:
                failure = self._why(error)
        raise failure or SourceError(f"{address}: no such host is known", "unknown_host")

    def _body(self, response: requests.Response, address: Address) -> _Body:
        body = _Body(self, response, address)
        status = response.status_code
        if status >= 300:
            body.close()
            raise SourceError(
                f"{self._address}: the server answers {_STATUS_WORDS.get(status, status)}", _reason(status)
            )
        with self._lock:
            if not self._closed:
                self._bodies.add(body)
                return body
        body.close()
        raise SourceError(f"{self._address}: closed", "closed")

    def forget(self, body: _Body) -> None:
        """Take note that a transfer is over."""
        with self._lock:
            self._bodies.discard(body)

    def grew(self, most: int) -> None:
        """Take note that one picture has more than `most` bytes."""
        text = f"{self._address}: a picture of it has more than {most >> 20} MB"
        self._fail(SourceError(text, "invalid"))

    def broke(self, error: Exception) -> None:
        """Take note that a transfer broke off."""
        self._fail(self._why(error))

    def _why(self, error: Exception) -> SourceError:
        """Say in words what went wrong; the error's own text holds the address with all its tokens."""
        connect_s, read_s = self._timeouts
        reasons: list[tuple[type[Exception], str, str]] = [
            (requests.ConnectTimeout, f"it does not answer within {connect_s:g} s", "timeout"),
            (
                requests.exceptions.SSLError,
                "its certificate is not trusted; verify_tls: false takes it all the same",
                "certificate",
            ),
            (requests.ConnectionError, "it refuses the connection, or it broke off", "refused"),
            (requests.Timeout, f"the server sends nothing for {read_s:g} s", "timeout"),
            (TimeoutError, f"the server sends nothing for {read_s:g} s", "timeout"),
        ]
        for kind, text, reason in reasons:
            if isinstance(error, kind):
                return SourceError(f"{self._address}: {text}", reason)
        timed_out = "timed out" in str(error).lower()
        if timed_out:
            return SourceError(f"{self._address}: the server sends nothing for {read_s:g} s", "timeout")
        return SourceError(f"{self._address}: the connection broke", "broken")


_STATUS_WORDS = {
    401: "401, it wants another user or password",
    403: "403, it forbids that",
    404: "404, there is no such stream",
}


def _reason(status: int) -> str:
    return {401: "unauthorized", 403: "unauthorized", 404: "not_found"}.get(status, "refused")


def _sign_in(challenge: str, credentials: Credentials | None) -> AuthBase | None:
    if credentials is None:
        return None
    pair = (credentials.username.encode(), credentials.password.encode())
    if re.search(r"\bdigest\b", challenge, re.IGNORECASE):
        return HTTPDigestAuth(credentials.username, credentials.password)
    return HTTPBasicAuth(*pair)


def parse_web_address(url: str, named_by: Address) -> Address:
    """Return an address that a server or a playlist names.

    Raises:
        SourceError: it is neither http nor https; the message names the source that led there.
    """
    if re.match(r"https?://", url, re.IGNORECASE):
        address = parse_address(url)
        # Whoever was told the value of a variable may have put it anywhere in this address.
        return replace(address, shown=f"{named_by} (where it leads)") if named_by.shown else address
    raise SourceError(f"{named_by}: it leads to something that is not http or https", "policy")


class _PinnedAdapter(HTTPAdapter):
    """Connects to the IP address that was checked, not to what the name says a moment later.

    Attributes:
        ip: where the next request goes.
    """

    ip = ""

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> tuple[Any, Any]:
        """Put the IP address in place of the name; TLS still checks the name."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        parts = urlsplit(str(request.url))
        request.headers["Host"] = parts.netloc
        names: dict[str, Any] = {}
        if parts.scheme == "https":
            names = {
                "server_hostname": parts.hostname,
                "assert_hostname": parts.hostname if verify else False,
            }
        return {**host, "host": self.ip}, {**pool, **names}


class _Body:
    """The bytes of an answer, as they come.

    Attributes:
        name: the address; FFmpeg finds what a playlist names relative to it.
        kind: the media type.
    """

    def __init__(self, feed: WebFeed, response: requests.Response, address: Address) -> None:
        self.name = address.url
        self.kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        self._feed = feed
        self._response = response
        self._limit: int | None = None
        self._since = 0

    def limit(self, most: int) -> None:
        """End where more than `most` bytes come without a `restart`."""
        self._limit = most

    def restart(self) -> None:
        """Count anew."""
        self._since = 0

    def read(self, size: int) -> bytes:
        """Return what has come, at most `size` bytes; nothing at the end, and where the connection broke."""
        try:
            data: bytes = self._response.raw.read1(size, decode_content=False)
        except Exception as error:  # whatever it is, PyAV would print it with the address
            self._feed.broke(error)
            return b""
        self._since += len(data)
        if self._limit is not None and self._since > self._limit:
            self._feed.grew(self._limit)
            return b""
        return data

    def abort(self) -> None:
        """Wake a thread that reads."""
        try:
            self._response.raw.shutdown()
        except (OSError, ValueError, RuntimeError):
            return  # nobody reads any more

    def close(self) -> None:
        """End the transfer."""
        self._response.close()
        self._feed.forget(self)
