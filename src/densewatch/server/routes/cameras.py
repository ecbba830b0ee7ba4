"""Cameras: how they are, and what they see now."""

from __future__ import annotations

from fastapi import HTTPException, Response

from densewatch.imaging.encode import encode_jpeg
from densewatch.server import answers
from densewatch.server.access import Routes
from densewatch.server.asking import CameraOf, ServiceOf

routes = Routes("cameras", "/api/v1")

_QUALITY = 85


@routes.add("GET", "/cameras", access="viewer")
def cameras(service: ServiceOf) -> list[answers.Camera]:
    """All cameras.

    How each is, and its zones, lines and masks.
    """
    watcher = service.watcher
    return [
        answers.Camera.of(status, watcher.settings(id), watcher.names)
        for id, status in watcher.statuses().items()
    ]


@routes.add("GET", "/cameras/{camera}", access="viewer", errors=(404, 422))
def camera(service: ServiceOf, camera: CameraOf) -> answers.Camera:
    """One camera."""
    watcher = service.watcher
    return answers.Camera.of(watcher.statuses()[camera], watcher.settings(camera), watcher.names)


@routes.add("GET", "/cameras/{camera}/health", access="viewer", errors=(404, 422), unwell=answers.Health)
def health(service: ServiceOf, camera: CameraOf, response: Response) -> answers.Health:
    """Whether a camera is live.

    200 while it is live, else 503, with the same content.
    """
    status = service.watcher.statuses()[camera]
    if status.state != "live":
        response.status_code = 503
    return answers.Health(
        camera=camera, state=status.state, since=status.since, age_ms=status.age_ms, error=status.error
    )


@routes.add(
    "GET", "/cameras/{camera}/picture.jpg", access="viewer", errors=(404, 422), media_types=("image/jpeg",)
)
def picture(service: ServiceOf, camera: CameraOf) -> Response:
    """The newest picture of a camera.

    With its masks. The header X-Age-Ms says how old it is.
    """
    newest = service.hub.newest(camera)
    if newest is None:
        raise HTTPException(404, f"camera {camera} has not shown a picture yet")
    age_ms = newest.age_ms
    jpeg = encode_jpeg(newest.result.image, quality=_QUALITY)
    return Response(jpeg, media_type="image/jpeg", headers={"X-Age-Ms": f"{age_ms:.0f}"})
