"""Whatever a user names becomes a list of pictures, and what gives none a sentence in that list."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densewatch.imaging import sources
from densewatch.imaging.read import ImageError
from densewatch.imaging.sources import (
    FileSource,
    SourceError,
    UrlSource,
    as_source,
    expand_sources,
    natural_key,
    without_password,
)


def picture_bytes(value: int = 90) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (value, value, value)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of pictures, which is the working folder, too."""
    names = ["10.png", "2.PNG", "hall/b.jpg", "hall/deep/a.webp", "Hall 9/1.png", "x[1].png"]
    hidden = [".thumbnails/2.png", "._2.png"]
    for name in [*names, *hidden, "notes.txt", "raw.bin", "phone.heic"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture_bytes())
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names_of(*arguments: str) -> list[str]:
    found = expand_sources(arguments)
    return [str(item) if isinstance(item, SourceError) else item.name for item in found]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["10.png", "2.PNG"], ["10.png", "2.PNG"]),
        (["./10.png"], ["./10.png"]),
        (["raw.bin"], ["raw.bin"]),
        (["x[1].png"], ["x[1].png"]),
        (["hall"], ["hall/b.jpg", "hall/deep/a.webp"]),
        (
            ["."],
            ["2.PNG", "10.png", "hall/b.jpg", "hall/deep/a.webp", "Hall 9/1.png", "phone.heic", "x[1].png"],
        ),
        (["*.png"], ["10.png", "x[1].png"]),
        (["*"], ["2.PNG", "10.png", "phone.heic", "x[1].png"]),
        (["hall/**"], ["hall/b.jpg", "hall/deep/a.webp"]),
        (["**/?.png"], ["Hall 9/1.png"]),
        (["-"], ["standard input"]),
        (["absent.png"], ["cannot read absent.png: there is no such file or folder"]),
        ([""], ["cannot read '': there is no such file or folder"]),
        (["a\0b"], ["cannot read a\0b: there is no such file or folder"]),
        (["empty"], ["cannot read empty: the folder holds no pictures"]),
        (["*.gif"], ["cannot read *.gif: it matches no file"]),
        (["*.txt"], ["cannot read *.txt: none of its 1 matches is a picture"]),
        (["rtsp://u:p@cam/1"], ["cannot read rtsp://cam/1: rtsp is not supported, only http and https are"]),
        (
            ["-", "-"],
            ["standard input", "cannot read standard input: it holds one picture, but `-` is given twice"],
        ),
    ],
)
def test_expansion(folder: Path, arguments: list[str], expected: list[str]) -> None:
    assert names_of(*arguments) == expected


def test_one_failure_does_not_stop_the_rest(folder: Path) -> None:
    assert len(names_of("absent", "2.PNG", "empty", "*.gif", "hall", "ftp://host/a.jpg")) == 7


def test_absolute_glob_and_folder(folder: Path) -> None:
    assert names_of(f"{folder}/hall/*.jpg") == [f"{folder}/hall/b.jpg"]
    assert names_of(f"{folder}/hall/")[1] == f"{folder}/hall/deep/a.webp"


def test_a_dangling_link_is_an_error_of_its_own_picture(folder: Path) -> None:
    (folder / "hall/c.jpg").symlink_to("nowhere.jpg")
    (source,) = [item for item in expand_sources(["hall"]) if str(item.name).endswith("c.jpg")]
    assert isinstance(source, FileSource)
    with pytest.raises(ImageError, match=r"hall/c\.jpg: there is no such file"):
        source.read()
    with pytest.raises(ImageError, match=r"hall/c\.jpg"):
        source.read_bytes()


def test_an_unreadable_folder_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(path: str) -> Iterator[object]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.scandir", scandir)
    assert names_of("hall") == ["cannot read hall: Permission denied"]


def test_files_are_read(folder: Path) -> None:
    (source,) = expand_sources(["10.png"])
    assert isinstance(source, FileSource)
    assert source.path == Path("10.png")
    assert source.read_bytes() == picture_bytes()
    np.testing.assert_array_equal(source.read(), np.full((6, 8, 3), 90, np.uint8))
    with pytest.raises(ImageError, match="above the limit"):
        source.read(max_pixels=47)


def test_natural_order() -> None:
    names = ["b/1.jpg", "a10.jpg", "a2b.jpg", "a2.jpg", "A1.jpg", "b/01.jpg", "7.jpg", "a.jpg"]
    ordered = sorted(map(Path, names), key=natural_key)
    expected = "7.jpg a.jpg A1.jpg a2.jpg a2b.jpg a10.jpg b/01.jpg b/1.jpg"
    assert [str(path) for path in ordered] == expected.split()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host/a.jpg?x=1#y", "http://host/a.jpg?x=1#y"),
        ("https://me:secret@host:8443/a.jpg", "https://host:8443/a.jpg"),
        ("http://me:se@cret@host/a@b.jpg", "http://host/a@b.jpg"),
        ("http://me:secret@[::1/a.jpg", "http://[::1/a.jpg"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown


class Handler(BaseHTTPRequestHandler):
    """Answers as servers do, the bad ones among them."""

    def do_GET(self) -> None:
        body = picture_bytes()
        if self.path == "/absent.png":
            self.send_error(404)
        elif self.path == "/circle":
            self.send_response(302)
            self.send_header("Location", "/circle")
            self.end_headers()
        elif self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
        elif self.path == "/silent.png":
            self.server.silence.wait(5)  # type: ignore[attr-defined]
        elif self.path == "/cut.png":
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) * 2))
            self.end_headers()
            self.wfile.write(body)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>" if self.path.endswith(".html") else body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Return the address of a server on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        httpd.silence = threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{httpd.server_port}"
        httpd.silence.set()  # type: ignore[attr-defined]
        httpd.shutdown()


def url_source(url: str) -> UrlSource:
    (source,) = expand_sources([url])
    assert isinstance(source, UrlSource)
    assert source.path is None
    return source


def test_a_url_is_read(server: str) -> None:
    source = url_source(f"http://me:secret@{server}/a.png")
    assert source.name == f"http://{server}/a.png"
    np.testing.assert_array_equal(source.read(), np.full((6, 8, 3), 90, np.uint8))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("absent.png", "the server answers 404 Not Found"),
        ("page.html", "it is no picture of a known kind"),
        ("circle", "the server redirects in a circle"),
        ("elsewhere", "the server redirects to an address that is not http"),
        ("silent.png", "the server sends nothing for 0 s"),
        ("cut.png", "the connection broke before the end"),
    ],
)
def test_a_bad_answer_is_a_sentence(
    server: str, path: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_READ_TIMEOUT_S", 0.2)
    with pytest.raises(ImageError) as caught:
        url_source(f"http://me:secret@{server}/{path}").read()
    assert str(caught.value).startswith(f"cannot read http://{server}/{path}: {reason}")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/a.jpg",
        "http://",
        "http://[::1/a.jpg",
        "http://me:secret@host:port/a.jpg",
        "http://a..b/a.jpg",
        "http://me:secret@nowhere.invalid/a.jpg",
        f"http://{'a' * 300}/a.jpg",
    ],
)
def test_an_address_that_leads_nowhere_is_a_sentence(url: str) -> None:
    with pytest.raises(SourceError) as caught:
        url_source(url).read()
    assert str(caught.value).startswith(f"cannot read {without_password(url)}: ")
    assert "secret" not in str(caught.value)


def test_a_download_has_a_limit_in_bytes_and_in_time(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_TOTAL_TIMEOUT_S", 0)
    with pytest.raises(SourceError, match="did not arrive within 0 s"):
        url_source(f"http://{server}/a.png").read()
    monkeypatch.setattr(sources, "MAX_BYTES", 20)
    with pytest.raises(SourceError, match="larger than the limit"):
        url_source(f"http://{server}/a.png").read()


READ_STANDARD_INPUT = """
from densewatch.imaging.read import ImageError
from densewatch.imaging.sources import expand_sources
try:
    print(expand_sources(["-"])[0].read().shape)
except ImageError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("data", "printed"),
    [
        (picture_bytes(), "(6, 8, 3)"),
        (b"", "cannot read standard input: the file is empty (0 bytes)"),
        (picture_bytes()[:50], "cannot read standard input: the PNG picture is truncated or damaged"),
    ],
    ids=["whole", "empty", "truncated"],
)
def test_standard_input(data: bytes, printed: str) -> None:
    command = [sys.executable, "-c", READ_STANDARD_INPUT]
    result = subprocess.run(command, input=data, capture_output=True, check=True)
    assert result.stdout.decode().startswith(printed)


def test_standard_input_that_is_closed() -> None:
    command = f"exec {sys.executable} -c '{READ_STANDARD_INPUT}' <&-"
    result = subprocess.run(["sh", "-c", command], capture_output=True, check=True, text=True)
    assert result.stdout.startswith("cannot read standard input: it is closed")


def test_one_picture_is_read_from_a_path_a_url_or_bytes(server: str, folder: Path) -> None:
    sources_of_one: list[str | Path | bytes] = [f"http://{server}/a.png", picture_bytes()]
    (folder / "one.png").write_bytes(picture_bytes())
    sources_of_one += [folder / "one.png", str(folder / "one.png")]
    assert [as_source(source).read().shape for source in sources_of_one] == [(6, 8, 3)] * 4
    with pytest.raises(SourceError, match="ftp is not supported"):
        as_source("ftp://host/a.png")


def test_importing_is_light() -> None:
    heavy = "{'cv2', 'PIL.Image', 'requests', 'supervision', 'torch', 'matplotlib'}"
    check = f"import sys, densewatch.imaging.sources; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, check=True, text=True)
    assert result.stdout == "set()\n"
