"""A service over the fake loop, with a real store; and clients for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from argon2 import PasswordHasher

from densewatch.live.results import FrameResult
from densewatch.records import Bin, Event
from densewatch.server.access import Role
from densewatch.server.limits import Limits, Rate
from densewatch.server.service import Service
from densewatch.site.settings import ServerSettings, SiteSettings
from densewatch.store.store import Store
from fake_watcher import FakeWatcher, hall_and_yard

ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
PASSWORD = "right horse 7"
BOUNDLESS = Limits(
    requests=Rate(1e9, 1e9),
    sign_ins_by_address=Rate(1e9, 1e9),
    sign_ins_by_name=Rate(1e9, 1e9),
    live_views=8,
    live_views_by_address=8,
)
_CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # a test needs no protection


def fake_site(folder: Path, **server: Any) -> SiteSettings:
    """Return a site with two cameras, which keeps its data in `folder`."""
    cameras = {id: camera.model_dump() for id, camera in hall_and_yard().items()}
    return SiteSettings.model_validate(
        {
            "cameras": cameras,
            "store": {"folder": folder},
            "server": ServerSettings(**server).model_dump(exclude_unset=True),
        }
    )


def fake_service(folder: Path, limits: Limits = BOUNDLESS, fps: float = 20.0, **arguments: Any) -> Service:
    """Return a service that is not started; its store has a user for each role, with `PASSWORD`."""
    site = arguments.pop("site", None) or fake_site(folder)
    store = Store.open(f"sqlite:///{folder / 'densewatch.db'}", folder / "media", hasher=_CHEAP)
    for role in ROLES:
        if role not in {user.name for user in store.accounts.users()}:
            store.accounts.add_user(role, PASSWORD, role)

    def create_watcher(
        *,
        on_result: Callable[[FrameResult], None],
        on_event: Callable[[Event], None],
        on_bin: Callable[[Bin], None],
    ) -> FakeWatcher:
        return FakeWatcher(site.cameras, on_result=on_result, on_event=on_event, on_bin=on_bin, fps=fps)

    return Service(site, store, create_watcher, model="fake", limits=limits, **arguments)


def parts(message: bytes) -> tuple[dict[str, Any], Any]:
    """Return the header and the picture of a binary message."""
    length = int.from_bytes(message[:4], "big")
    picture = cv2.imdecode(np.frombuffer(message[4 + length :], np.uint8), cv2.IMREAD_COLOR)
    return json.loads(message[4 : 4 + length]), picture
