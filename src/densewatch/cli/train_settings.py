"""From a YAML file, flags and `--set` to checked settings, and from mistakes to sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from densewatch.models.config import RetinaNetConfig
from densewatch.suggest import suggest
from densewatch.training.settings import TrainSettings

Location = tuple[str | int, ...]


class SettingsError(ValueError):
    """Settings that cannot be used; one sentence a mistake in `sentences`."""

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences


class RawSettings:
    """Settings that are not checked yet, and where each came from.

    Attributes:
        values: nested, as they will be checked.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._origins: dict[Location, str] = {}

    def read(self, file: Path) -> None:
        """Take all settings of a YAML file.

        Raises:
            SettingsError: the file is no YAML mapping.
        """
        import yaml

        try:
            values = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SettingsError(f"{file}: cannot be read as YAML: {' '.join(str(error).split())}") from error
        if not isinstance(values, dict):
            raise SettingsError(f"{file}: must be a mapping of settings, such as `epochs: 12`")
        self.values = values
        self._origins = {(): str(file)}

    def put(self, location: Location, value: Any, origin: str) -> None:
        """Set one value over what is there.

        Args:
            location: of the value, such as `("augment", "flip")`.
            value: not checked yet.
            origin: what the user typed, for error messages.

        Raises:
            SettingsError: `location` goes through something that has no parts, or an absent list item.
        """
        place: Any = self.values
        for depth, part in enumerate(location[:-1]):
            if isinstance(place, dict) and place.get(part) is None:
                place[part] = {}
            place = self._step(place, part, location[: depth + 1], origin)
        self._step({} if isinstance(place, dict) else place, location[-1], location, origin)
        place[location[-1]] = value
        self._origins[location] = origin

    def put_assignment(self, assignment: str) -> None:
        """Set what `augment.flip=0` says; the value is read as YAML.

        Raises:
            SettingsError: it is no assignment, or `put` fails.
        """
        import yaml

        origin = f"--set {assignment}"
        name, separator, text = assignment.partition("=")
        if not (name and separator):
            raise SettingsError(f"{origin}: write it as NAME=VALUE, such as augment.flip=0")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SettingsError(f"{origin}: its value cannot be read as YAML") from error
        parts = [int(part) if part.isdecimal() else part for part in name.split(".")]
        self.put(tuple(parts), value, origin)

    def check(self) -> TrainSettings:
        """Return the settings.

        Raises:
            SettingsError: with a sentence for every mistake.
        """
        try:
            return TrainSettings.model_validate(self.values)
        except ValidationError as error:
            raise SettingsError(*self._sentences(error)) from error

    @staticmethod
    def _step(place: Any, part: str | int, location: Location, origin: str) -> Any:
        if isinstance(place, dict):
            return place.get(part)
        if isinstance(place, list) and isinstance(part, int) and part < len(place):
            return place[part]
        raise SettingsError(f"{origin}: there is no {_dotted(location)} to set")

    def _sentences(self, error: ValidationError) -> Iterator[str]:
        for mistake in error.errors(include_url=False):
            location = mistake["loc"]
            origin = self._origin(location)
            name = "" if origin.startswith("--") else _dotted(location)
            yield ": ".join(part for part in (origin, name, _sentence(mistake)) if part)

    def _origin(self, location: Location) -> str:
        """Return what the user typed, or the file, that a value came from; empty for a default."""
        known = [location[:depth] for depth in range(len(location), -1, -1)]
        return next((self._origins[place] for place in known if place in self._origins), "")


def _sentence(mistake: Mapping[str, Any]) -> str:
    """Return what is wrong, as the rest of a sentence that has named the place."""
    kind, location = mistake["type"], mistake["loc"]
    if kind == "extra_forbidden":
        return f"unknown setting {location[-1]!r}: {suggest(str(location[-1]), _names_at(location[:-1]))}"
    if kind == "missing" and location == ("data",):
        return "there is nothing to learn from: give --data DATA, or a --config that names data"
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(mistake["ctx"]["error"])
    message = mistake["msg"]
    return f"{message[:1].lower()}{message[1:]}, but it is {mistake['input']!r}"


def _names_at(location: Sequence[str | int]) -> list[str]:
    """Return the settings that a section has; positions in lists are passed over."""
    schema: type[BaseModel] = TrainSettings
    for part in location:
        if part == "model":  # options over a preset: a plain mapping, checked as part of the whole network
            schema = RetinaNetConfig
        elif isinstance(part, str):
            schema = next(_models_in(schema.model_fields[part].annotation))
    return list(schema.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for item in get_args(annotation):
        yield from _models_in(item)


def _dotted(location: Location) -> str:
    return ".".join(str(part) for part in location)
