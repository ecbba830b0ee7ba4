"""What a user names, as a list of pictures: files, folders, globs, URLs, standard input."""

from __future__ import annotations

import glob
import os
import re
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from densewatch.imaging.read import DEFAULT_MAX_PIXELS, ImageError, Size, read_reduced, whole

if TYPE_CHECKING:
    import requests

_READABLE = ".jpg .jpeg .jpe .jfif .mpo .png .webp .bmp .gif .tif .tiff .ppm .pgm .pbm .pnm"
_UNREADABLE = ".heic .heif .avif"  # a folder of them deserves the sentence that says so
PICTURE_SUFFIXES = frozenset(f"{_READABLE} {_UNREADABLE}".split())
MAX_BYTES = 256 * 2**20
"""Most bytes taken from a URL or from standard input, where no file size is known beforehand."""

_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S, _TOTAL_TIMEOUT_S = 5.0, 20.0, 120.0
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://")


class SourceError(ImageError):
    """What a user named gives no picture; the message is a sentence that names it and the reason."""


@dataclass(frozen=True)
class Source(ABC):
    """A picture that is yet to be read.

    Attributes:
        name: what the user knows it by: the path as given, the URL without its password, "standard input".
    """

    name: str

    @property
    def path(self) -> Path | None:
        """The file, where the picture is one."""
        return None

    @abstractmethod
    def read_bytes(self) -> bytes:
        """Return the content of the file, still encoded.

        Raises:
            ImageError: it cannot be read.
        """

    def read(self, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> npt.NDArray[np.uint8]:
        """Return the picture, upright, as uint8 [H, W, 3] RGB.

        Args:
            max_pixels: refuse larger pictures.

        Raises:
            ImageError: it cannot be read.
        """
        return self.read_reduced(whole, max_pixels=max_pixels)[0]

    def read_reduced(
        self, needed: Callable[[Size], Size], *, max_pixels: int = DEFAULT_MAX_PIXELS
    ) -> tuple[npt.NDArray[np.uint8], Size]:
        """Return the picture no smaller than what is needed, and its whole size: see `read.read_reduced`."""
        return read_reduced(self.read_bytes(), needed, name=self.name, max_pixels=max_pixels)


@dataclass(frozen=True)
class FileSource(Source):
    """A picture in a file."""

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.name)

    def read_bytes(self) -> bytes:
        """Return the content of the file, still encoded."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise SourceError(self.name, error.strerror or str(error)) from error

    def read_reduced(
        self, needed: Callable[[Size], Size], *, max_pixels: int = DEFAULT_MAX_PIXELS
    ) -> tuple[npt.NDArray[np.uint8], Size]:
        """Do as any source does; a picture bomb is refused before its bytes are read."""
        return read_reduced(self.path, needed, name=self.name, max_pixels=max_pixels)


@dataclass(frozen=True)
class UrlSource(Source):
    """A picture at an http or https address.

    Attributes:
        url: the address as given, with the password that `name` leaves out.
    """

    url: str

    def read_bytes(self) -> bytes:
        """Return what the server sends, at most `MAX_BYTES`."""
        import requests
        from urllib3.exceptions import HTTPError  # some bad host names come through requests unwrapped

        timeouts = (_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S)
        try:
            with requests.get(self.url, stream=True, timeout=timeouts) as response:
                if not response.ok:
                    status = f"{response.status_code} {response.reason}".rstrip()
                    raise SourceError(self.name, f"the server answers {status}")
                return self._receive(response)
        except (requests.RequestException, HTTPError) as error:
            raise SourceError(self.name, _why(error)) from error

    def _receive(self, response: requests.Response) -> bytes:
        deadline = time.monotonic() + _TOTAL_TIMEOUT_S
        received = bytearray()
        for chunk in response.iter_content(2**16):
            received += chunk
            if len(received) > MAX_BYTES:
                raise SourceError(self.name, f"it is larger than the limit of {MAX_BYTES // 2**20} MiB")
            if time.monotonic() > deadline:
                raise SourceError(self.name, f"it did not arrive within {_TOTAL_TIMEOUT_S:.0f} s")
        return bytes(received)


@dataclass(frozen=True)
class StandardInput(Source):
    """A picture whose bytes come by standard input."""

    name: str = "standard input"

    def read_bytes(self) -> bytes:
        """Return all bytes up to the end, at most `MAX_BYTES`."""
        if sys.stdin is None:  # closed before Python started
            raise SourceError(self.name, "it is closed; send it a picture, as in `- < photo.jpg`")
        if sys.stdin.isatty():
            raise SourceError(self.name, "it is a terminal; send it a picture, as in `- < photo.jpg`")
        received = sys.stdin.buffer.read(MAX_BYTES + 1)
        if len(received) > MAX_BYTES:
            raise SourceError(self.name, f"it is larger than the limit of {MAX_BYTES // 2**20} MiB")
        return received


@dataclass(frozen=True)
class EncodedPicture(Source):
    """The bytes of a picture file, in memory.

    Attributes:
        data: the bytes.
    """

    data: bytes

    def read_bytes(self) -> bytes:
        """Return them."""
        return self.data


def as_source(picture: str | Path | bytes | Source) -> Source:
    """Return one picture as a source: a path, an http(s) URL, or the bytes of a picture file.

    Raises:
        SourceError: it is a URL that is neither http nor https.
        TypeError: it is none of these.
    """
    if isinstance(picture, Source):
        return picture
    if isinstance(picture, bytes):
        return EncodedPicture("the given bytes", picture)
    if not isinstance(picture, str | os.PathLike):
        raise TypeError(f"a picture is read from a path or from bytes, not from {type(picture).__name__}")
    scheme = _SCHEME.match(picture) if isinstance(picture, str) else None
    if scheme is None:
        return FileSource(str(picture))
    found = _url_source(scheme.string, scheme[1].lower())
    if isinstance(found, SourceError):
        raise found
    return found


def expand_sources(arguments: Sequence[str]) -> list[Source | SourceError]:
    """Return every picture that the arguments name, in their order; folders and globs in natural order.

    Nothing is read and nothing raised: what gives no picture stands in the list as an error, so that the
    rest can still be done. A file that is named outright is taken whatever its suffix; in folders and globs
    it must be one of `PICTURE_SUFFIXES`, and names that start with a dot are passed over.

    Args:
        arguments: paths of files and folders, globs that the shell left alone (`**` reaches into folders),
            http(s) URLs, and `-` for standard input.
    """
    found: list[Source | SourceError] = []
    for argument in arguments:
        if argument == "-" and any(isinstance(item, StandardInput) for item in found):
            found.append(SourceError("standard input", "it holds one picture, but `-` is given twice"))
        else:
            found += _expand(argument)
    return found


def _expand(argument: str) -> Sequence[Source | SourceError]:
    if argument == "-":
        return [StandardInput()]
    scheme = _SCHEME.match(argument)
    if scheme:
        return [_url_source(argument, scheme[1].lower())]
    try:
        if argument and Path(argument).is_dir():
            return _expand_folder(argument)
    except OSError as error:
        return [SourceError(argument, error.strerror or str(error))]
    if os.path.lexists(argument):
        return [FileSource(argument)]
    if glob.has_magic(argument):
        return _expand_glob(argument)
    return [SourceError(argument or "''", "there is no such file or folder")]


def _expand_folder(folder: str) -> Sequence[Source | SourceError]:
    found: list[Path] = []
    errors: list[SourceError] = []

    def unreadable(error: OSError) -> None:
        errors.append(SourceError(str(error.filename), error.strerror or str(error)))

    for root, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in names if _is_picture_name(name)]
    if not found and not errors:
        return [SourceError(folder, "the folder holds no pictures")]
    return [*(FileSource(str(path)) for path in sorted(found, key=natural_key)), *errors]


def _expand_glob(pattern: str) -> Sequence[Source | SourceError]:
    # Path.glob takes no absolute pattern, and its ** finds no files before Python 3.13.
    matches = [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207
    found = [path for path in matches if _is_picture_name(path.name) and path.is_file()]
    if not found:
        reason = f"none of its {len(matches)} matches is a picture" if matches else "it matches no file"
        return [SourceError(pattern, reason)]
    return [FileSource(str(path)) for path in sorted(found, key=natural_key)]


def _url_source(url: str, scheme: str) -> Source | SourceError:
    name = without_password(url)
    if scheme not in ("http", "https"):
        return SourceError(name, f"{scheme} is not supported, only http and https are")
    return UrlSource(name, url)


def _is_picture_name(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in PICTURE_SUFFIXES


def natural_key(path: Path) -> tuple[list[list[tuple[int, str]]], str]:
    """Return a sorting key that puts `2.jpg` before `10.jpg` and keeps the pictures of a folder together."""
    parts = [*path.parent.parts, path.stem, path.suffix]
    runs = [re.split(r"(\d+)", part.casefold()) for part in parts]
    return [[(int(run), "") if run.isdecimal() else (-1, run) for run in part] for part in runs], str(path)


def without_password(url: str) -> str:
    """Return a URL without the user and the password in it, fit to be shown."""
    try:
        parts = urlsplit(url)
    except ValueError:  # such as a bracket that is not closed
        return re.sub(r"//[^/]*@", "//", url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _why(error: Exception) -> str:
    """Say in words what went wrong; the error's own text holds the URL with its password."""
    import requests
    from urllib3.exceptions import LocationValueError

    reasons: list[tuple[type[Exception], str]] = [
        (requests.ConnectTimeout, f"the server does not answer within {_CONNECT_TIMEOUT_S:.0f} s"),
        (requests.ReadTimeout, f"the server sends nothing for {_READ_TIMEOUT_S:.0f} s"),
        (requests.TooManyRedirects, "the server redirects in a circle"),
        (requests.exceptions.SSLError, "its certificate is not trusted"),
        (requests.exceptions.ProxyError, "the proxy does not answer"),
        (requests.exceptions.ChunkedEncodingError, "the connection broke before the end"),
        (requests.ConnectionError, "no connection, or it broke off; check the address and the network"),
        (requests.exceptions.InvalidURL, "it is not a valid URL"),
        (LocationValueError, "it is not a valid URL"),
        (requests.exceptions.InvalidSchema, "the server redirects to an address that is not http"),
    ]
    named = (reason for kind, reason in reasons if isinstance(error, kind))
    return next(named, f"the request failed ({type(error).__name__})")
