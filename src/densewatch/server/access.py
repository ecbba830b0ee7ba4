"""Who may do what: every route says so when it is made."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

Role = Literal["viewer", "operator", "admin"]
Access = Literal["public", "viewer", "operator", "admin"]
"""The least that somebody must be; a greater role may all that a lesser one may."""

_RANKS: dict[Access, int] = {"public": 0, "viewer": 1, "operator": 2, "admin": 3}
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


def suffices(role: Role, access: Access) -> bool:
    """Return whether a role may use what needs `access`."""
    return _RANKS[role] >= _RANKS[access]


@dataclass(frozen=True)
class Declared:
    """A route as its file declares it.

    Attributes:
        method: of HTTP, or `WEBSOCKET`.
        path: with parameters in braces.
        endpoint: what answers.
        access: who may use it.
        tag: its topic, in the OpenAPI document.
        errors: status codes of failures beside those that every route with this access has.
        status: code of success.
        media_types: of a successful answer that is not JSON.
        unwell: content of an answer with status 503 that is no failure.
        in_document: whether the OpenAPI document has it.
    """

    method: str
    path: str
    endpoint: Callable[..., Any]
    access: Access
    tag: str
    errors: tuple[int, ...] = ()
    status: int = 200
    media_types: tuple[str, ...] = ()
    unwell: type[BaseModel] | None = None
    in_document: bool = True

    @property
    def summary(self) -> str:
        """The first line of the endpoint's docstring."""
        return (inspect.getdoc(self.endpoint) or "").partition("\n")[0]

    @property
    def description(self) -> str:
        """The rest of the endpoint's docstring."""
        return (inspect.getdoc(self.endpoint) or "").partition("\n")[2].strip()


class Routes:
    """The routes of a topic. There is no way to add one without saying who may use it."""

    def __init__(self, tag: str, prefix: str = "") -> None:
        self.declared: list[Declared] = []
        self._tag = tag
        self._prefix = prefix

    def add(
        self,
        method: str,
        path: str,
        *,
        access: Access,
        errors: tuple[int, ...] = (),
        status: int = 200,
        media_types: tuple[str, ...] = (),
        unwell: type[BaseModel] | None = None,
        in_document: bool = True,
    ) -> Callable[[_Endpoint], _Endpoint]:
        """Return a decorator that declares a route; see `Declared` for the arguments."""

        def declare(endpoint: _Endpoint) -> _Endpoint:
            self.declared.append(
                Declared(
                    method,
                    self._prefix + path,
                    endpoint,
                    access,
                    self._tag,
                    errors,
                    status,
                    media_types,
                    unwell,
                    in_document,
                )
            )
            return endpoint

        return declare
