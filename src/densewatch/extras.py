"""The end of a sentence about a package that a plain install lacks."""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """Return `install densewatch with its [train] extra (in a checkout: pip install '.[train]')`.

    Args:
        extra: one of the optional dependencies, such as `train`.
    """
    return f"install densewatch with its [{extra}] extra (in a checkout: pip install '.[{extra}]')"
