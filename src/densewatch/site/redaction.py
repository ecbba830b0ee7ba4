"""A site as it may be shown."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from densewatch.live.address import HIDDEN, shown_source
from densewatch.live.frames import SourceError
from densewatch.live.references import has_references
from densewatch.site.settings import SiteSettings


def redacted(site: SiteSettings) -> dict[str, Any]:
    """Return all settings of a site, ready for JSON, without users, passwords and tokens in addresses.

    Names of variables and of files that hold passwords are left in: they are what somebody looks for.
    """
    shown = site.model_dump(mode="json")
    for camera in shown["cameras"].values():
        camera["source"] = _shown_source(camera["source"])
    if site.store.url is not None:
        shown["store"]["url"] = _shown_database(site.store.url)
    return shown


def _shown_source(source: str) -> str:
    try:
        return shown_source(source)
    except SourceError:  # such as a file with a strange name that is no longer there
        return HIDDEN


def _shown_database(url: str) -> str:
    scheme, begun, _ = url.partition("://")
    if not begun:  # a variable that holds all of it
        return url if has_references(url) else HIDDEN
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return f"{scheme}://{HIDDEN}"
    if "@" in parts.path + parts.query + parts.fragment:  # a password with a slash, perhaps
        return f"{scheme}://{HIDDEN}"
    return f"{scheme}://{host}{parts.path}"
