"""What endpoints are given: the service, who asks, and a camera that there is."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Path
from fastapi.requests import HTTPConnection

from densewatch.live.settings import Id
from densewatch.server.gate import identity_of
from densewatch.server.identity import Identity
from densewatch.server.service import Service
from densewatch.server.sign_in import Doorkeeper


async def _service(connection: HTTPConnection) -> Service:
    service = connection.app.state.service
    assert isinstance(service, Service)
    return service


async def _identity(connection: HTTPConnection) -> Identity:
    return identity_of(connection)


async def _doorkeeper(connection: HTTPConnection) -> Doorkeeper:
    doorkeeper = connection.app.state.doorkeeper
    assert isinstance(doorkeeper, Doorkeeper)
    return doorkeeper


ServiceOf = Annotated[Service, Depends(_service)]
IdentityOf = Annotated[Identity, Depends(_identity)]
DoorkeeperOf = Annotated[Doorkeeper, Depends(_doorkeeper)]


async def _camera(service: ServiceOf, camera: Annotated[Id, Path(description="the camera's id")]) -> str:
    check_camera(service, camera)
    return camera


CameraOf = Annotated[str, Depends(_camera)]


def check_camera(service: Service, camera: str) -> None:
    """Raise a 404 where there is no such camera."""
    try:
        service.watcher.settings(camera)
    except KeyError:
        raise HTTPException(404, f"there is no camera {camera}") from None
