"""Fetch published files: resumable, checked by SHA-256, and clear about what to do without a network."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from densewatch.extras import how_to_install

if TYPE_CHECKING:
    import requests

ProgressCallback = Callable[[int, int | None], None]
"""Called with the bytes there so far, and the size of the whole file where the server says it."""

_CHUNK_BYTES = 1 << 18
_TIMEOUT_S = (10.0, 30.0)
_FRUITLESS_ATTEMPTS = 3


class HubError(RuntimeError):
    """A file could not be fetched; the message is a sentence that says what to do."""


class _InterruptedError(Exception):
    """The connection ended before the file did; what has arrived is kept."""


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        url: where it is published.
        sha256_prefix: the first hexadecimal digits of its SHA-256, in lower case.
    """

    url: str
    sha256_prefix: str

    @property
    def name(self) -> str:
        """File name, the last part of the URL."""
        return urlsplit(self.url).path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class PublishedModel:
    """A model that `densewatch models pull` knows.

    Attributes:
        name: what users type.
        architecture: torchvision's name of the network.
        summary: one line for a listing.
    """

    name: str
    architecture: str
    summary: str

    def remote_file(self) -> RemoteFile:
        """Look the file up in torchvision's own table of weights.

        Raises:
            HubError: torchvision is not installed.
        """
        try:
            from torchvision.models import get_model_weights
        except ImportError:
            raise HubError(
                f"Converting {self.name} needs PyTorch: {how_to_install('export')}, then try again."
            ) from None
        url = str(get_model_weights(self.architecture).DEFAULT.url)
        return RemoteFile(url, hash_in_name(url))


PUBLISHED_MODELS = {
    model.name: model
    for model in (
        PublishedModel(
            "retinanet-r50-v1",
            "retinanet_resnet50_fpn",
            "torchvision's RetinaNet, ResNet-50; published AP 36.4 on COCO val2017",
        ),
        PublishedModel(
            "retinanet-r50-v2",
            "retinanet_resnet50_fpn_v2",
            "torchvision's improved RetinaNet, ResNet-50; published AP 41.5 on COCO val2017",
        ),
    )
}


def hash_in_name(url: str) -> str:
    """Return the SHA-256 digits that PyTorch's file names end with, as in `net-5905b1c5.pth`.

    Raises:
        HubError: the name carries none.
    """
    found = re.search(r"-([0-9a-f]{8,64})\.[^./]+$", url)
    if found is None:
        raise HubError(f"{url} carries no SHA-256 digits in its name, so a download could not be checked.")
    return found.group(1)


def download(
    file: RemoteFile, path: Path, *, on_progress: ProgressCallback | None = None, pause_s: float = 1.0
) -> Path:
    """Fetch `file` to `path`, going on where an earlier attempt stopped.

    What has arrived lies in `path` with `.part` appended until it is whole and its hash is right, so `path`
    itself is always a complete file.

    Args:
        file: what to fetch.
        path: where to put it; nothing is fetched when the right file is there already.
        on_progress: told after each chunk.
        pause_s: wait between attempts after a lost connection.

    Returns:
        `path`.

    Raises:
        HubError: no network, an error from the server, a wrong hash, or a folder that cannot be written.
    """
    if path.exists():
        _check_hash(path, file)
        return path
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(file, path, part, on_progress, pause_s)
    except OSError as error:
        raise HubError(f"Cannot write {part}: {error.strerror or error}.") from error
    _check_hash(part, file)
    part.replace(path)
    return path


def _fetch(
    file: RemoteFile, path: Path, part: Path, on_progress: ProgressCallback | None, pause_s: float
) -> None:
    """Fill `part`; give up after several attempts in a row that bring nothing new."""
    fruitless = 0
    while True:
        size_before = part.stat().st_size if part.exists() else 0
        try:
            _attempt(file, part, size_before, on_progress)
        except _InterruptedError as interruption:
            arrived = part.exists() and part.stat().st_size > size_before
            fruitless = 0 if arrived else fruitless + 1
            if fruitless == _FRUITLESS_ATTEMPTS:
                raise HubError(
                    f"Cannot fetch {file.url} ({interruption}): download it where there is a network, "
                    f"put it at {path}, and run the same command again."
                ) from None
            time.sleep(pause_s)
        else:
            return


def _attempt(file: RemoteFile, part: Path, have_bytes: int, on_progress: ProgressCallback | None) -> None:
    """Ask once for what is missing, and append what comes.

    Raises:
        _InterruptedError: the connection failed or ended early.
        HubError: the server answered with an error.
    """
    import requests

    # Compressed transfer would make byte positions of the transfer differ from those of the file.
    headers = {"Accept-Encoding": "identity"}
    if have_bytes:
        headers["Range"] = f"bytes={have_bytes}-"
    try:
        with requests.get(file.url, headers=headers, stream=True, timeout=_TIMEOUT_S) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                _settle_full_part(file, part)
                return
            if response.status_code >= 400:
                raise HubError(f"{file.url} answered {response.status_code} {response.reason}.")
            _append(response, part, have_bytes, on_progress)
    except requests.ConnectionError as error:
        raise _InterruptedError("no connection") from error
    except requests.Timeout as error:
        raise _InterruptedError("no answer in time") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise _InterruptedError("the connection was cut") from error
    except requests.RequestException as error:
        raise HubError(f"Cannot fetch {file.url}: {error}.") from error


def _append(
    response: requests.Response, part: Path, have_bytes: int, on_progress: ProgressCallback | None
) -> None:
    resumes = response.headers.get("Content-Range", "").startswith(f"bytes {have_bytes}-")
    done = have_bytes if resumes else 0  # a server without ranges starts again from the first byte
    length = response.headers.get("Content-Length")
    total = done + int(length) if length else None
    with part.open("ab" if resumes else "wb") as stream:
        for chunk in response.iter_content(_CHUNK_BYTES):
            stream.write(chunk)
            done += len(chunk)
            if on_progress is not None:
                on_progress(done, total)


def _settle_full_part(file: RemoteFile, part: Path) -> None:
    """Nothing lies beyond the bytes we have: either they are the file, or they are of some other file."""
    if not _sha256(part).startswith(file.sha256_prefix):
        part.unlink()
        raise _InterruptedError("the part on disk belonged to another file")


def _check_hash(path: Path, file: RemoteFile) -> None:
    found = _sha256(path)
    if found.startswith(file.sha256_prefix):
        return
    wrong = f"the SHA-256 of {path} begins with {found[:8]}, but {file.sha256_prefix} is right"
    if path.suffix == ".part":
        path.unlink()
        raise HubError(f"The download was damaged ({wrong}) and has been deleted: try again.")
    raise HubError(f"The file on disk is not the published one: {wrong}. Delete it and try again.")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
