"""How much memory each family of keys takes: a sample, in a limited time, for who asks for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from jobd.client.access import Access
from jobd.client.keys import family as family_of
from jobd.client.scripts import raw_bytes
from jobd.web.questions import name_of

SECONDS = 0.06
"""How long keys are looked at."""
_STEP = 100
"""Keys of one look."""
_SAMPLES = 5
"""Elements by which Redis estimates the size of a large key."""


@dataclass(slots=True)
class Family:
    """Keys that were looked at, and their bytes; `measured` ones are all that there are of their kind."""

    keys: int = 0
    bytes: int = 0
    measured_keys: int = 0
    measured_bytes: int = 0


def take(access: Access, largest: Sequence[str]) -> dict[str, Any]:
    """Look at keys for 60 ms: the three sets and the `largest` queues first, then whatever comes.

    Answers with the families, the largest first, and how much was seen. Raises what `Access.read_all` raises.
    """
    began = time.monotonic()
    keys = access.keys
    known = [keys.retry, keys.schedule, keys.dead, *(keys.queue(name) for name in largest)]
    count, *sizes = access.read_all(lambda pipeline: _ask_sizes(pipeline.dbsize(), [raw_bytes(key) for key in known]))
    families: dict[str, Family] = {}
    for key, size in zip(known, sizes, strict=True):
        if size:
            family = families.setdefault(family_of(keys, key), Family())
            family.measured_keys += 1
            family.measured_bytes += size
    seen, complete = _scan(access, {raw_bytes(key) for key in known}, families, began + SECONDS)
    measured = sum(family.measured_keys for family in families.values())
    factor = 1.0 if complete else max(count - measured, seen) / max(seen, 1)
    found = [_document(name, family, factor) for name, family in families.items()]
    found.sort(key=lambda each: (-each["bytes"], each["family"]))
    return {
        "families": found,
        "seen": seen + measured,
        "count": count,
        "complete": complete,
        "seconds": time.monotonic() - began,
    }


def _scan(access: Access, known: set[bytes], families: dict[str, Family], deadline: float) -> tuple[int, bool]:
    """Look at keys until the deadline; how many were seen, and whether these are all."""
    cursor, seen, looked = 0, 0, set[bytes]()
    while True:
        [(cursor, page)] = access.read_all(partial(_ask_page, cursor=cursor))
        fresh = [key for key in page if key not in known and key not in looked]
        looked.update(fresh)
        sizes = access.read_all(partial(_ask_sizes, keys=fresh)) if fresh else []
        for key, size in zip(fresh, sizes, strict=True):
            family = families.setdefault(family_of(access.keys, name_of(key)), Family())
            family.keys += 1
            family.bytes += size or 0
        seen += len(fresh)
        if not cursor or time.monotonic() > deadline:
            return seen, not cursor


def _ask_page(pipeline: Any, cursor: int) -> Any:
    return pipeline.scan(cursor, count=_STEP)


def _ask_sizes(pipeline: Any, keys: Sequence[bytes]) -> Any:
    for key in keys:
        pipeline.memory_usage(key, samples=_SAMPLES)
    return pipeline


def _document(name: str, family: Family, factor: float) -> dict[str, Any]:
    return {
        "family": name,
        "keys": round(family.measured_keys + family.keys * factor),
        "bytes": round(family.measured_bytes + family.bytes * factor),
        "seen": family.measured_keys + family.keys,
    }
