"""Zones, lines and masks: what is drawn in a camera's picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Body, HTTPException, Path
from pydantic import Field, ValidationError

from densewatch.live.settings import CameraSettings, Id, LineSettings, Polygon, ZoneSettings
from densewatch.server import answers
from densewatch.server.access import Routes
from densewatch.server.asking import CameraOf, IdentityOf, ServiceOf
from densewatch.server.problems import sentence
from densewatch.server.service import ConflictError, Service

routes = Routes("zones, lines and masks", "/api/v1/cameras/{camera}")

_ERRORS = (404, 409, 413, 422, 503)
_MOST = 64
ZoneId = Annotated[Id, Path(description="the zone's id")]
LineId = Annotated[Id, Path(description="the line's id")]
Masks = Annotated[tuple[Polygon, ...], Body(max_length=_MOST), Field(description="polygons")]


@routes.add("PUT", "/zones/{zone}", access="operator", errors=_ERRORS)
def put_zone(
    service: ServiceOf, identity: IdentityOf, camera: CameraOf, zone: ZoneId, settings: ZoneSettings
) -> answers.Camera:
    """Draw a zone, or change it.

    What is counted in it changes at once. It is saved in the site's file, if there is one.
    """
    return _change(service, camera, _with("zones", zone, settings), identity.name, f"zone {zone} drawn")


@routes.add("DELETE", "/zones/{zone}", access="operator", errors=_ERRORS)
def delete_zone(service: ServiceOf, identity: IdentityOf, camera: CameraOf, zone: ZoneId) -> answers.Camera:
    """Delete a zone.

    Counts that were kept stay.
    """
    return _change(service, camera, _without("zones", zone), identity.name, f"zone {zone} deleted")


@routes.add("PUT", "/lines/{line}", access="operator", errors=_ERRORS)
def put_line(
    service: ServiceOf, identity: IdentityOf, camera: CameraOf, line: LineId, settings: LineSettings
) -> answers.Camera:
    """Draw a line, or change it."""
    return _change(service, camera, _with("lines", line, settings), identity.name, f"line {line} drawn")


@routes.add("DELETE", "/lines/{line}", access="operator", errors=_ERRORS)
def delete_line(service: ServiceOf, identity: IdentityOf, camera: CameraOf, line: LineId) -> answers.Camera:
    """Delete a line.

    Crossings that were kept stay.
    """
    return _change(service, camera, _without("lines", line), identity.name, f"line {line} deleted")


@routes.add("PUT", "/masks", access="admin", errors=_ERRORS)
def put_masks(service: ServiceOf, identity: IdentityOf, camera: CameraOf, masks: Masks) -> answers.Camera:
    """Draw all masks anew.

    What they cover is blackened before anything else sees the picture. Pictures that were kept stay.
    """
    return _change(service, camera, lambda old: _checked(old, {"masks": masks}), identity.name, "masks drawn")


def _with(
    what: str, id: str, settings: ZoneSettings | LineSettings
) -> Callable[[CameraSettings], CameraSettings]:
    def update(old: CameraSettings) -> CameraSettings:
        drawn = getattr(old, what) | {id: settings}
        if len(drawn) > _MOST:
            raise HTTPException(409, f"a camera has at most {_MOST} {what}")
        return _checked(old, {what: drawn})

    return update


def _without(what: str, id: str) -> Callable[[CameraSettings], CameraSettings]:
    def update(old: CameraSettings) -> CameraSettings:
        drawn = dict(getattr(old, what))
        if drawn.pop(id, None) is None:
            raise HTTPException(404, f"there is no {id} among the camera's {what}")
        return _checked(old, {what: drawn})

    return update


def _checked(old: CameraSettings, changed: dict[str, Any]) -> CameraSettings:
    return CameraSettings.model_validate(
        {name: getattr(old, name) for name in type(old).model_fields} | changed
    )


def _change(
    service: Service, camera: str, update: Callable[[CameraSettings], CameraSettings], who: str, what: str
) -> answers.Camera:
    try:
        settings = service.change(camera, update, who, what)
    except ValidationError as error:
        raise HTTPException(422, sentence(error.errors())) from error
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    except ConflictError as error:
        raise HTTPException(409, str(error)) from error
    return answers.Camera.of(service.watcher.statuses()[camera], settings, service.watcher.names)
