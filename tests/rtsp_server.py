"""A real RTSP server, GStreamer's, in a process of its own, that can be killed, stalled and changed.

Needs Debian's packages python3-gi, gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-base (appsrc),
gstreamer1.0-plugins-good (RTP) and gstreamer1.0-plugins-bad (h264parse). The tests' own Python knows nothing
of GStreamer: the server runs under /usr/bin/python3, from this very file.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

SYSTEM_PYTHON = "/usr/bin/python3"
FPS = 25
_LOGIN, _SPEED, _UDP_ONLY = "RTSP_SERVER_LOGIN", "RTSP_SERVER_SPEED", "RTSP_SERVER_UDP_ONLY"
_PROBE = """
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
assert all(Gst.ElementFactory.find(name) for name in ("appsrc", "h264parse", "rtph264pay"))
"""


def missing() -> str | None:
    """Return what a test needs in vain, None where the server can run."""
    if not Path(SYSTEM_PYTHON).exists():
        return f"needs {SYSTEM_PYTHON}"
    done = subprocess.run([SYSTEM_PYTHON, "-c", _PROBE], capture_output=True, check=False, timeout=60)
    return None if done.returncode == 0 else "needs GStreamer's RTSP server, see tests/rtsp_server.py"


def write_clip(
    folder: Path, width: int = 320, height: int = 240, seconds: float = 4, clip: Path | None = None
) -> Path:
    """Write a clip as H.264, one file for each picture, and return the folder.

    Args:
        folder: is made.
        width: in pixels.
        height: likewise.
        seconds: how long; shorter where the clip is.
        clip: a video to take the pictures from; None draws a square that moves.
    """
    import av

    folder.mkdir(parents=True)
    encoder: Any = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, FPS), Fraction(FPS)
    # One slice a picture: GStreamer's payloader puts headers before each slice of a keyframe.
    encoder.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "g": str(FPS),
        "x264-params": "sliced-threads=0:slices=1",
    }
    packets = []
    for number, picture in enumerate(_pictures(clip, width, height, round(seconds * FPS))):
        picture.pts = number
        packets += encoder.encode(picture)
    for number, packet in enumerate([*packets, *encoder.encode(None)]):
        (folder / f"{number:05}.h264").write_bytes(bytes(packet))
    return folder


def _pictures(clip: Path | None, width: int, height: int, count: int) -> Iterator[Any]:
    import av
    import numpy as np

    if clip is None:
        for number in range(count):
            image = np.full((height, width, 3), 90, np.uint8)
            left = number * 3 % (width - 40)
            image[40:80, left : left + 40] = (220, 30, 30)
            yield av.VideoFrame.from_ndarray(image, format="rgb24")
        return
    with av.open(str(clip)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == count:
                return
            yield frame.reformat(width=width, height=height, format="yuv420p")


class RtspServer:
    """Serves clips at `rtsp://host:port/name`, each again and again, to all visitors at the same moment.

    Attributes:
        port: where it listens; the same after a restart.
    """

    def __init__(
        self,
        clips: dict[str, Path],
        *,
        user: str | None = None,
        password: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        prefix: Sequence[str] = (),
        speed: int = 1,
        udp_only: bool = False,
    ) -> None:
        """Prepare to serve.

        Args:
            clips: folders by `write_clip`, by name.
            user: who may look; None is everybody.
            password: of the user.
            host: the address to listen at.
            port: 0 takes a free one at the first start.
            prefix: a command that runs the server, such as one that changes the network namespace.
            speed: how many times as fast as they were made the clips are sent.
            udp_only: whether pictures are not sent over the connection itself, as some old cameras do not.
        """
        self.clips = clips
        self.port = port
        self._host = host
        self._prefix = prefix
        self._variables = {_SPEED: str(speed)}
        if udp_only:
            self._variables[_UDP_ONLY] = "1"
        if user is not None:
            self._variables[_LOGIN] = f"{user}:{password}"
        self._process: subprocess.Popen[str] | None = None

    def url(self, name: str, login: str = "") -> str:
        """Return the address of a clip; `login` is `user:password@`."""
        return f"rtsp://{login}{self._host}:{self.port}/{name}"

    def start(self) -> None:
        """Start, and return when it listens."""
        clips = [f"{name}={folder}" for name, folder in self.clips.items()]
        command = [*self._prefix, SYSTEM_PYTHON, __file__, self._host, str(self.port), *clips]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **self._variables},
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("port "), "the RTSP server did not start"
        self.port = int(line.split()[1])

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._send(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._process.stdout.close()
            self._process = None

    def stall(self) -> None:
        """Let it stand still, with its connections open."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def _send(self, number: int) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def __enter__(self) -> RtspServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def _serve(
    host: str, port: str, arguments: list[str]
) -> None:  # under the system's Python, in the child process
    gi: Any = importlib.import_module("gi")
    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    glib, gst, rtsp = (_repository(name) for name in ("GLib", "Gst", "GstRtspServer"))
    gst.init(None)
    server = rtsp.RTSPServer()
    server.set_address(host)
    server.set_service(port)
    login = os.environ.get(_LOGIN)
    if login:
        _protect(rtsp, server, *login.split(":", 1))
    for argument in arguments:
        name, folder = argument.split("=", 1)
        factory = _factory(gst, rtsp, Path(folder))
        if login:
            factory.add_role_from_structure(_role(gst))
        server.get_mount_points().add_factory(f"/{name}", factory)
    server.attach(None)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    print(f"port {server.get_bound_port()}", flush=True)  # noqa: T201
    glib.MainLoop().run()


def _end_with_parent() -> None:
    """Wait until whoever started this process is gone, however it went, and go too."""
    sys.stdin.read()
    os._exit(0)


def _repository(name: str) -> Any:
    return importlib.import_module(f"gi.repository.{name}")


def _factory(gst: Any, rtsp: Any, folder: Path) -> Any:
    units = [path.read_bytes() for path in sorted(folder.glob("*.h264"))]
    factory = rtsp.RTSPMediaFactory()
    factory.set_shared(True)
    if os.environ.get(_UDP_ONLY):
        factory.set_protocols(_repository("GstRtsp").RTSPLowerTrans.UDP)
    fps = FPS * int(os.environ[_SPEED])
    caps = f"video/x-h264,stream-format=byte-stream,alignment=au,framerate={fps}/1"
    payloader = "rtph264pay config-interval=-1 pt=96 name=pay0"
    factory.set_launch(f'( appsrc name=src format=time caps="{caps}" ! h264parse ! {payloader} )')

    def configure(_: Any, media: Any) -> None:
        sent = [0]

        def need(source: Any, _: int) -> None:
            buffer = gst.Buffer.new_wrapped(units[sent[0] % len(units)])
            buffer.pts = buffer.dts = sent[0] * gst.SECOND // fps
            buffer.duration = gst.SECOND // fps
            sent[0] += 1
            source.emit("push-buffer", buffer)

        media.get_element().get_by_name("src").connect("need-data", need)

    factory.connect("media-configure", configure)
    return factory


def _protect(rtsp: Any, server: Any, user: str, password: str) -> None:
    auth = rtsp.RTSPAuth()
    token = rtsp.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(rtsp.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)


def _role(gst: Any) -> Any:
    role = gst.Structure.new_empty("viewer")
    role.set_value("media.factory.access", True)
    role.set_value("media.factory.construct", True)
    return role


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], sys.argv[3:])
