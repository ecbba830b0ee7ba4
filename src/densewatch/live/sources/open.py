"""From a camera's settings to its source."""

from __future__ import annotations

from densewatch.live.address import Address, address_of, credentials_for
from densewatch.live.frames import FrameSource
from densewatch.live.policy import SourcePolicy
from densewatch.live.settings import CameraSettings
from densewatch.live.sources.demo import DemoSource
from densewatch.live.sources.feed import Access, Feed
from densewatch.live.sources.folder import FolderSource
from densewatch.live.sources.local import DeviceFeed, FileFeed
from densewatch.live.sources.rtsp import RtspFeed
from densewatch.live.sources.video import VideoSource
from densewatch.live.sources.web import WebFeed


def open_source(settings: CameraSettings, policy: SourcePolicy) -> FrameSource:
    """Return the source of a camera; nothing is opened until its frames are asked for.

    Each call looks at the settings' password and variables anew, so that what is changed works with the next
    connection.

    Args:
        settings: of the camera. With `loop`, files and folders are played in real time, and begin anew at
            their end; else every frame is given once, as fast as it is taken.
        policy: says what may be opened.

    Raises:
        SourceError: the source is none, the policy does not allow it, or its password is not there.
    """
    address = address_of(settings)
    policy.check(address)
    if address.kind == "demo":
        return DemoSource()
    if address.kind == "folder":
        return FolderSource(address, policy, live=settings.loop)
    if address.kind == "file":
        return VideoSource(
            str(address),
            lambda: FileFeed(address, policy, paced=settings.loop),
            live=settings.loop,
            repeat=settings.loop,
        )
    return _stream(address, settings, policy)


def _stream(address: Address, settings: CameraSettings, policy: SourcePolicy) -> VideoSource:
    def connect() -> Feed:
        if address.kind == "device":
            return DeviceFeed(address, policy)
        kind: type[RtspFeed | WebFeed] = RtspFeed if address.scheme in ("rtsp", "rtsps") else WebFeed
        return kind(access)

    access = Access(
        address,
        credentials_for(settings, address),
        policy,
        settings.open_timeout_s,
        settings.read_timeout_s,
        settings.verify_tls,
    )
    return VideoSource(
        str(address),
        connect,
        live=True,
        open_timeout_s=settings.open_timeout_s,
        read_timeout_s=settings.read_timeout_s,
    )
