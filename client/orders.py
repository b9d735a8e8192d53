"""How a process is told through Redis to have another number of threads: a word in the list of its signals."""

from __future__ import annotations

import re

_ORDER = re.compile(r"THREADS (\d{1,5}) (.+)")


def threads_order(threads: int, capsule: str) -> str:
    """The word that asks for so many threads in a capsule."""
    return f"THREADS {threads} {capsule}"


def threads_wanted(word: str) -> tuple[int, str] | None:
    """How many threads it asks for, and in which capsule; None for another word."""
    found = _ORDER.fullmatch(word)
    return (int(found[1]), found[2]) if found else None
