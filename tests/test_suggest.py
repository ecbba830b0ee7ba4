"""The end of a sentence about an unknown name."""

from __future__ import annotations

import pytest

from densewatch.suggest import suggest


@pytest.mark.parametrize(
    ("name", "known", "sentence"),
    [
        ("persn", ["chair", "person", "parson"], "did you mean 'person'?"),
        ("zebra", ["chair", "person"], "known are chair, person"),
        ("zebra", [], "known are none"),
    ],
)
def test_suggest(name: str, known: list[str], sentence: str) -> None:
    assert suggest(name, known) == sentence
