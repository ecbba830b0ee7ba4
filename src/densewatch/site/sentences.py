"""From what pydantic finds wrong to sentences with the place in the file."""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from densewatch.site.document import Document, Location, Place, dotted, shortened
from densewatch.site.settings import SiteSettings
from densewatch.suggest import suggest

MAX_SENTENCES = 20
_NEVER_SHOWN = {"source", "url", "username", "password_env", "password_file", "public_url", "allowed_origins"}
"""Settings whose value may be a password, or hold one, at least by mistake."""

_PLAIN_WORDS = {
    "string_type": "must be text",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of settings",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "byte_size": "must be a size such as 20 GB or 500 MB",
    "byte_size_unit": "must be a size such as 20 GB or 500 MB",
    "ip_any_network": "must be a network such as 192.168.7.0/24, or an address",
}


def sentences(error: ValidationError, document: Document) -> list[str]:
    """Return a sentence for every mistake, in the order of the file."""
    found = sorted(
        (_located(mistake, document) for mistake in error.errors(include_url=False) if not _follows(mistake)),
        key=lambda item: (item[0].line, item[0].column) if item[0] is not None else (0, 0),
    )
    told = [document.sentence(place, message) for place, message in found[:MAX_SENTENCES]]
    if len(found) > MAX_SENTENCES:
        told.append(f"{document.name}: and {len(found) - MAX_SENTENCES} mistakes more")
    return told


def place_of(document: Document, location: Location) -> Place | None:
    """Return where a value stands, or else what is nearest around it."""
    for depth in range(len(location), -1, -1):
        if (place := document.values.get(location[:depth])) is not None:
            return place
    return None


def _follows(mistake: ErrorDetails) -> bool:
    """Return whether a list is said to be too short only because its items are wrong."""
    given = mistake["input"]
    return mistake["type"] == "too_short" and len(given) != mistake["ctx"]["actual_length"]


def _located(mistake: ErrorDetails, document: Document) -> tuple[Place | None, str]:
    """Return where a mistake is, and what it is."""
    location: Location = (*mistake["loc"], *mistake.get("ctx", {}).get("at", ()))
    kind = mistake["type"]
    if kind == "extra_forbidden":
        return document.keys.get(location), f"{dotted(location)}: {_unknown(location)}"
    if kind == "missing":
        around = document.keys.get(location[:-1]) or document.values.get(location[:-1])
        return around, f"{dotted(location)} is missing{_explained(location)}"
    if location and location[-1] == "[key]":
        place = document.keys.get(location[:-1])
        return (
            place,
            f"{dotted(location[:-1])}: an id has lower-case letters, digits, - and _ only, 64 at most",
        )
    return place_of(document, location), f"{dotted(location)}: {_wrong(mistake, location)}"


def _unknown(location: Location) -> str:
    name = str(location[-1])
    if name.lower() in ("password", "passwd", "pwd"):
        return (
            "a password must not stand in this file: put it into an environment variable or into a file of "
            "its own, and write password_env: NAME or password_file: PATH"
        )
    # Comparing takes time that grows with the square of the length.
    return f"unknown setting: {suggest(name[:60], _names_at(location[:-1]))}"


def _wrong(mistake: ErrorDetails, location: Location) -> str:
    """Return what is wrong with a value, and what it is, unless that may be a password."""
    kind, context = mistake["type"], mistake.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if "at" in context:
        return mistake["msg"]
    if kind == "too_short":
        return f"needs at least {context['min_length']}, and has {context['actual_length']}"
    if kind == "too_long":
        return f"may have {context['max_length']} at most"
    if kind == "string_pattern_mismatch":
        words = "does not fit"
    else:
        words = _PLAIN_WORDS.get(kind) or _in_our_words(mistake["msg"])
    if kind == "string_type" and isinstance(mistake["input"], int | float):
        words += ", in quotes"
    return words + _given(mistake["input"], location) + _explained(location)


def _in_our_words(message: str) -> str:
    """Return a message of pydantic as the rest of a sentence that begins with a setting."""
    words = message.replace("Input should be", "must be").replace("String should", "must")
    return words[:1].lower() + words[1:].partition(", unable")[0]


def _given(value: Any, location: Location) -> str:
    names = [part for part in location if isinstance(part, str)]
    if (names and names[-1] in _NEVER_SHOWN) or isinstance(value, dict | list | tuple):
        return ""
    shown = shortened(value) if isinstance(value, str) else "nothing" if value is None else str(value).lower()
    return f", but it is {shown[:80]}"


def _explained(location: Location) -> str:
    description = _step_to(location)[1]
    return f" ({description})" if description else ""


def _names_at(location: Location) -> list[str]:
    """Return the settings that a section has."""
    kind = _step_to(location)[0]
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _step_to(location: Location) -> tuple[Any, str | None]:
    """Return the type of a setting, as far as sections, lists and mappings go, and its description."""
    kind: Any = SiteSettings
    description: str | None = None
    for part in location:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            setting = kind.model_fields.get(str(part))
            if setting is None:
                return None, None
            kind, description = _parted(setting.annotation), setting.description
        else:
            kind, description = _parted(next(reversed(_items(kind)), None)), None
    return kind, description


def _items(kind: Any) -> tuple[Any, ...]:
    return tuple(item for item in get_args(kind) if item is not Ellipsis)


def _parted(kind: Any) -> Any:
    """Return the type that has parts, out of `X | None` and annotations."""
    if get_origin(kind) is Annotated:
        return _parted(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return next((_parted(item) for item in get_args(kind) if item is not type(None)), None)
    return kind
