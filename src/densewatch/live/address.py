"""What a user types as a source, taken apart: what it is, where it is, and how it may be shown."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, quote, unquote, urlsplit

from densewatch.live.frames import SourceError
from densewatch.live.references import SecretError, fill, has_references, parts_of, without_references
from densewatch.live.settings import CameraSettings
from densewatch.suggest import nearest

Kind = Literal["network", "device", "file", "folder", "demo"]

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
"""Ports by scheme; there are no other schemes."""

HIDDEN = "***"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_DEVICE = re.compile(r"(?:webcam:)?(\d{1,3})|/dev/video(\d{1,3})")
_SECRET_KEY = re.compile(
    r"user|usr|login|account|pass|pwd|psw|pin|token|key|secret|auth|sig|session|sid|code", re.I
)
_SECRET_PAIR = re.compile(r"((?:user\w*|usr|pass\w*|pwd|psw|token|key|secret|auth)=)[^&/;]*", re.I)
_USER_NAME = re.compile(
    r"admin\d*|administrator|user\d*|root|guest|operator|viewer|service|login"
    r"|\$\{\w*(?:USER|LOGIN)\w*\}",
    re.I,
)
_PLAIN_VALUE = re.compile(r"\d{1,5}(x\d{1,5})?")


@dataclass(frozen=True)
class Credentials:
    """A user and a password, which no text of this object shows."""

    username: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True)
class Address:
    """Where a source is. `str` and `repr` show it without user, password and what may be a token.

    Attributes:
        kind: what it is.
        scheme: of a network address: `rtsp`, `rtsps`, `http` or `https`; else the kind.
        host: of a network address; empty for others.
        port: of a network address; 0 for others.
        location: path and query of a network address, the path of a file or a folder, the number of a device.
        credentials: those that the address holds.
        shown: how it is shown, where that does not follow from the rest: values of variables are in that.
    """

    kind: Kind
    scheme: str
    host: str = ""
    port: int = 0
    location: str = field(default="", repr=False)
    credentials: Credentials | None = field(default=None, repr=False)
    shown: str = field(default="", repr=False)

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: who gets the credentials."""
        return self.scheme, self.host, self.port

    @property
    def url(self) -> str:
        """The network address without credentials; for machines only, since it may hold tokens."""
        return f"{self.scheme}://{self._authority}{self.location}"

    def url_at(self, host: str, port: int, credentials: Credentials | None = None) -> str:
        """Return the same address at another host, with credentials: never to be shown or logged."""
        user = ""
        if credentials is not None:
            user = f"{quote(credentials.username, safe='')}:{quote(credentials.password, safe='')}@"
        return f"{self.scheme}://{user}{_bracketed(host)}:{port}{self.location}"

    @property
    def _authority(self) -> str:
        default = self.port == DEFAULT_PORTS.get(self.scheme)
        return _bracketed(self.host) + ("" if default else f":{self.port}")

    def __str__(self) -> str:
        if self.shown:
            return self.shown
        if self.kind == "network":
            path, _, query = self.location.partition("?")
            shown = _shown_path(path, self.credentials)
            return f"{self.scheme}://{self._authority}{shown}" + (f"?{_shown_query(query)}" if query else "")
        if self.kind == "device":
            return f"webcam:{self.location}"
        return self.location or self.kind

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"


def parse_address(text: str) -> Address:
    """Return what a user means by the source that he typed.

    Args:
        text: an rtsp, rtsps, http or https URL, `/dev/videoN`, `webcam:N` or just `N`, the path of a file or
            a folder, or `demo`.

    Raises:
        SourceError: it is none of these; the message shows no credentials.
    """
    text = text.strip()
    if not text:
        raise SourceError("the source is empty", "address")
    if text == "demo":
        return Address("demo", "demo")
    device = _DEVICE.fullmatch(text)
    if device:
        return Address("device", "device", location=device[1] or device[2])
    if os.path.lexists(text):
        return _on_disk(text)
    scheme = _SCHEME.match(text)
    if scheme and (scheme[1].lower() in DEFAULT_PORTS or "@" not in text):
        return _network(text, scheme[1].lower())
    if "@" in text:  # user and password without the scheme: not to be repeated in an error
        raise SourceError(
            "the source begins with no known scheme, such as rtsp://, and is no file", "address"
        )
    return _on_disk(text)


def address_of(settings: CameraSettings) -> Address:
    """Return where a camera's source is, with the values of its variables; it is shown with their names.

    Raises:
        SourceError: it is no source, or a variable is not set; the message shows no value of a variable.
    """
    source = settings.source.strip()
    if not has_references(source):
        return parse_address(source)
    try:
        address = parse_address(fill(source))
    except SecretError as error:
        failure = SourceError(str(error), "address")
    except SourceError:
        text = f"{_shown_template(source)}: with its variables filled in, it is no address that can be opened"
        failure = SourceError(text, "address")
    else:
        return replace(address, shown=_shown_template(source, address.credentials))
    raise failure  # out here, it carries no trace of a value


def shown_source(text: str) -> str:
    """Return a source as it may be shown, with the names of variables; their values are not looked at.

    Raises:
        SourceError: it is no source.
    """
    return _shown_template(text.strip()) if has_references(text) else str(parse_address(text))


def credentials_for(settings: CameraSettings, address: Address) -> Credentials | None:
    """Return who signs in: as the settings say, else as the address says, else nobody.

    Raises:
        SourceError: the password is not where the settings say that it is.
    """
    password = _password(settings)
    if settings.username is None and password is None:
        return address.credentials
    inside = address.credentials or Credentials("", "")
    username = inside.username if settings.username is None else settings.username
    return Credentials(username, inside.password if password is None else password)


def _password(settings: CameraSettings) -> str | None:
    if settings.password_env is not None:
        password = os.environ.get(settings.password_env)
        if password is None:
            raise SourceError(f"the environment variable {settings.password_env} is not set", "password")
        return password
    if settings.password_file is None:
        return None
    try:
        return Path(settings.password_file).read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        failure = SourceError(f"cannot read the password from {settings.password_file}: {why}", "password")
    raise failure  # out here, it carries no trace of what was read


def _on_disk(text: str) -> Address:
    try:
        is_folder = Path(text).is_dir()
    except (OSError, ValueError):
        is_folder = False
    kind: Kind = "folder" if is_folder else "file"
    return Address(kind, kind, location=text)


def _network(text: str, scheme: str) -> Address:
    if scheme == "webcam":
        raise SourceError("a webcam is written as webcam:0, with the number of the device", "address")
    if scheme not in DEFAULT_PORTS:
        hint = nearest(scheme, tuple(DEFAULT_PORTS))
        also = (
            f"; did you mean {hint}?"
            if hint
            else ", only rtsp, rtsps, http, https, files, folders and webcams"
        )
        raise SourceError(f"sources of the kind {scheme}: are not supported{also}", "address")
    parts = _split(text)
    if parts is None:
        raise SourceError(
            f"{scheme}://{HIDDEN} is no valid address; a user or password with special characters belongs "
            "into username and password_env or password_file, or is written with %-codes",
            "address",
        )
    location = parts.path + (f"?{parts.query}" if parts.query else "")
    return Address(
        "network",
        scheme,
        (parts.hostname or "").rstrip("."),
        parts.port or DEFAULT_PORTS[scheme],
        location,
        _inside(parts),
    )


def _split(text: str) -> SplitResult | None:
    """Return the parts of a URL, or None where it has no clear ones: its text is then better not shown."""
    if any(character.isspace() or not character.isprintable() for character in text):
        return None
    try:
        parts = urlsplit(text)
        valid = (
            bool(parts.hostname) and parts.port != 0 and "@" not in parts.path + parts.query + parts.fragment
        )
        valid = valid and text[len(parts.scheme) + 1 :].startswith("//")
    except ValueError:  # such as a port that is no number, since a password holds a slash
        return None
    return parts if valid else None


def _inside(parts: SplitResult) -> Credentials | None:
    if parts.username is None and parts.password is None:
        return None
    return Credentials(unquote(parts.username or ""), unquote(parts.password or ""))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _shown_template(text: str, credentials: Credentials | None = None) -> str:
    """Hide what may be a secret in a source that refers to variables, but not their names."""
    if _DEVICE.fullmatch(without_references(text)):
        return text
    scheme, user, host, rest = parts_of(text)
    if "@" in rest:  # as in `_split`: it has no clear parts
        return scheme + HIDDEN
    if user is not None and credentials is None:
        name, _, password = user.partition(":")
        credentials = Credentials(unquote(name), unquote(password))
    path, _, query = rest.partition("#")[0].partition("?")
    start, path = (scheme + host, path) if scheme else ("", host + path)
    return start + _shown_path(path, credentials) + (f"?{_shown_query(query)}" if query else "")


def _shown_path(path: str, credentials: Credentials | None) -> str:
    """Hide what may be a secret in a path; some cameras take users, passwords or long codes there."""
    known = set() if credentials is None else {credentials.username, credentials.password} - {""}
    shown, after_user = [], False
    for segment in path.split("/"):
        plain = unquote(segment)
        is_secret = after_user or plain in known or ":" in plain or "@" in plain
        shown.append(HIDDEN if is_secret and segment else _shown_segment(segment))
        after_user = _USER_NAME.fullmatch(plain) is not None
    return "/".join(shown)


def _shown_segment(segment: str) -> str:
    """Hide what may be a secret in a part of a path that stands for itself."""
    plain = without_references(segment)
    mixed = re.search(r"\d", plain) and re.search(r"[A-Za-z]", plain)
    if len(plain) >= 16 and mixed and re.fullmatch(r"[\w+~-]+", plain):
        return HIDDEN
    return _SECRET_PAIR.sub(rf"\g<1>{HIDDEN}", segment)


def _shown_query(query: str) -> str:
    """Show only values that are a short number or a size, as of channels: everything else may be a secret."""
    shown = []
    for part in query.split("&"):
        key, equals, value = part.partition("=")
        open_to_all = _PLAIN_VALUE.fullmatch(without_references(value)) and not _SECRET_KEY.search(key)
        shown.append(f"{key}={value if open_to_all else HIDDEN}" if equals else HIDDEN)
    return "&".join(shown)
