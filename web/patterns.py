"""Texts in which `*` stands for any characters, or none: of searches, and of queues that a user may change. Pure."""

from __future__ import annotations

from collections.abc import Sequence

ANY = "*"


def fits(text: str, pieces: Sequence[str]) -> bool:
    """Whether `text` begins with the first piece, ends with the last, and holds the others between them in order.

    `pieces` are what stands between the stars of a pattern; a single one is the whole text.
    """
    first, *rest = pieces
    if not rest:
        return text == first
    *middle, last = rest
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    place, end = len(first), len(text) - len(last)
    for piece in middle:
        found = text.find(piece, place, end)
        if found < 0:
            return False
        place = found + len(piece)
    return True
