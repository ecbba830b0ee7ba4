"""The YAML file of a site: read, checked, and changed where the dashboard draws."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from densewatch.live.references import SecretError, fill
from densewatch.live.settings import CameraSettings, LineSettings, ZoneSettings
from densewatch.site.document import MAX_BYTES, Document, Location, dotted, read_document
from densewatch.site.edit import EditError, edited
from densewatch.site.errors import SiteError
from densewatch.site.secrets import read_secret
from densewatch.site.sentences import place_of, sentences
from densewatch.site.settings import SiteSettings, UserSettings
from densewatch.suggest import suggest

DRAWN = {"zones", "lines", "masks"}
"""The settings of a camera that are drawn in the dashboard, and written back."""


class SiteFile:
    """A site's file as it was read.

    Safe to use from several threads.

    Attributes:
        path: of the file, absolute.
    """

    def __init__(self, path: Path) -> None:
        """Read a site's file.

        Args:
            path: of the file; relative paths in it begin at its folder.

        Raises:
            SiteError: with a sentence for every mistake.
        """
        self.path = path.absolute()
        self._lock = threading.Lock()
        self._name = str(path)
        self._data = _content(path, self._name)
        self._document, self._settings = self._checked(self._data)

    @property
    def settings(self) -> SiteSettings:
        """The settings, as they were last read or saved here."""
        return self._settings

    def check_labels(self, names: Sequence[str]) -> None:
        """Check the class names in `only` and `thresholds`.

        Args:
            names: of the model's classes.

        Raises:
            SiteError: with a sentence for every name that the model does not have.
        """
        mistakes = [
            self._sentence(location, f"the model has no class {label!r}: {suggest(label[:60], names)}")
            for location, label in _labels(self._settings)
            if label not in names
        ]
        if mistakes:
            raise SiteError(*mistakes)

    def check_secrets(self, environment: Mapping[str, str] | None = None) -> None:
        """Check that all variables and files that the site refers to are there.

        Args:
            environment: variables; those of this process where it is left out.

        Raises:
            SiteError: with a sentence for every one that is not.
        """
        mistakes = []
        for location, text in _addresses(self._settings):
            try:
                fill(text, environment)
            except SecretError as error:
                mistakes.append(self._sentence(location, str(error)))
        for location, variable, file in _passwords(self._settings):
            try:
                read_secret(variable, file, environment)
            except SecretError as error:
                mistakes.append(self._sentence(location, str(error)))
        if mistakes:
            raise SiteError(*mistakes)

    def save_camera(self, id: str, camera: CameraSettings) -> SiteSettings:
        """Write the zones, lines and masks of a camera into the file; nothing else in it changes.

        The file is replaced at once and as a whole, or not at all.

        Args:
            id: of a camera in the file.
            camera: its settings; only zones, lines and masks are looked at.

        Returns:
            The settings of the site from now on.

        Raises:
            SiteError: the file was changed by somebody else, cannot be written, or has YAML in this place
                that a program cannot change.
            KeyError: there is no such camera.
        """
        with self._lock:
            if _content(self.path, self._name) != self._data:
                raise SiteError(
                    f"{self._name}: was changed since it was read, so nothing is written into it: start "
                    "again with what it says now"
                )
            wanted = _with_camera(self._settings, id, camera)
            data, document, settings = self._edited(id, wanted)
            _replace(self.path, data, self._name)
            self._data, self._document, self._settings = data, document, settings
            return settings

    def _edited(self, id: str, wanted: SiteSettings) -> tuple[bytes, Document, SiteSettings]:
        """Return the file's content with what was drawn; it is read again, so that nothing else changes."""
        old, new = self._settings.cameras[id], wanted.cameras[id]
        try:
            text = edited(
                self._document,
                ("cameras", id),
                old.model_dump(mode="json", include=DRAWN),
                new.model_dump(mode="json", include=DRAWN),
                new.model_dump(mode="json", include=DRAWN, exclude_defaults=True),
            )
            document, settings = self._checked(text.encode())
        except (EditError, SiteError):
            settings = None
        if settings != wanted:
            raise SiteError(
                self._sentence(
                    ("cameras", id),
                    "zones, lines and masks cannot be written here by a program; change them by hand. "
                    "Anchors, aliases and `<<` are in the way, as is a file that would get too large",
                )
            )
        return text.encode(), document, settings

    def _checked(self, data: bytes) -> tuple[Document, SiteSettings]:
        document = read_document(data, self._name)
        if document.value is None:
            raise SiteError(f"{self._name}: is empty; a site needs at least `cameras`")
        try:
            context = {"folder": self.path.parent}
            return document, SiteSettings.model_validate(document.value, context=context)
        except ValidationError as error:
            raise SiteError(*sentences(error, document)) from None

    def _sentence(self, location: Location, message: str) -> str:
        document = self._document
        return document.sentence(place_of(document, location), f"{dotted(location)}: {message}")


def read_site(path: Path) -> SiteSettings:
    """Return the settings in a site's file.

    Args:
        path: of the file; relative paths in it begin at its folder.

    Raises:
        SiteError: with a sentence for every mistake.
    """
    return SiteFile(path).settings


def _content(path: Path, name: str) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # a path with a zero byte in it is a ValueError
        why = getattr(error, "strerror", None) or error
        raise SiteError(f"{name}: cannot be read: {why}") from None


def _replace(path: Path, data: bytes, name: str) -> None:
    """Put a whole new file in the place of another; after a power cut one of them is there."""
    target = path.resolve()
    made: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(
            dir=target.parent, prefix=f".{target.name}.", suffix=".new", delete=False
        ) as stream:
            made = Path(stream.name)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        shutil.copymode(target, made)
        with suppress(OSError):  # only root gives files to others
            shutil.chown(made, target.stat().st_uid, target.stat().st_gid)
        made.replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if made is not None:
            made.unlink(missing_ok=True)
        raise SiteError(f"{name}: cannot be written: {error.strerror or error}") from None


def _with_camera(site: SiteSettings, id: str, camera: CameraSettings) -> SiteSettings:
    drawn = {name: getattr(camera, name) for name in DRAWN}
    changed = site.cameras[id].model_copy(update=drawn)
    return site.model_copy(update={"cameras": {**site.cameras, id: changed}})


def _labels(site: SiteSettings) -> Iterator[tuple[Location, str]]:
    """Give every class name in the site."""
    for id, camera in site.cameras.items():
        parts: list[tuple[Location, CameraSettings | ZoneSettings | LineSettings]] = [
            (("cameras", id), camera)
        ]
        parts += [(("cameras", id, "zones", zone), of) for zone, of in camera.zones.items()]
        parts += [(("cameras", id, "lines", line), of) for line, of in camera.lines.items()]
        for location, part in parts:
            yield from (((*location, "only", number), name) for number, name in enumerate(part.only or ()))
            yield from (((*location, "thresholds", name), name) for name in part.thresholds)


def _addresses(site: SiteSettings) -> Iterator[tuple[Location, str]]:
    """Give every address that may refer to variables."""
    for id, camera in site.cameras.items():
        yield ("cameras", id, "source"), camera.source
    if site.store.url is not None:
        yield ("store", "url"), site.store.url


def _passwords(site: SiteSettings) -> Iterator[tuple[Location, str | None, str | Path | None]]:
    """Give every variable or file that a password is read from."""
    owners: list[tuple[Location, CameraSettings | UserSettings]] = [
        (("cameras", id), camera) for id, camera in site.cameras.items()
    ]
    owners += [(("users", number), user) for number, user in enumerate(site.users)]
    for location, owner in owners:
        if owner.password_env is not None:
            yield (*location, "password_env"), owner.password_env, None
        if owner.password_file is not None:
            yield (*location, "password_file"), None, owner.password_file
