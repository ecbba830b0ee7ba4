"""What a site's file may be told."""

from __future__ import annotations


class SiteError(Exception):
    """A site's file cannot be used; the message holds no password.

    Attributes:
        sentences: one a mistake, each with the file and, where it is known, the line and the column.
    """

    def __init__(self, *sentences: str) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = sentences
