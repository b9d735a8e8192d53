"""Causes of failures that somebody has muted: one hash in Redis, with a cap and an expiry.

A mute holds until its cause has more jobs than when it was muted. Where only a part of the failures is looked at their
number says little; there it holds until one of them has failed first after that. How a muted cause is shown is left to
the pages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from jobd.client import defaults
from jobd.client.access import Access
from jobd.web.causes import Cause
from jobd.web.questions import Question

_AHEAD = 60.0
"""Seconds by which the clock of Redis, which tells when a cause was muted, may be ahead of that of this machine."""
_MOST_TEXT = 200


@dataclass(frozen=True, slots=True)
class Mute:
    """Who has muted a cause, when (epoch seconds), with how many jobs it had; class and error without secrets."""

    by: str
    at: float
    count: int
    name: str = ""
    error: str = ""

    def holds(self, cause: Cause, *, partly: bool) -> bool:
        """Whether the cause has not grown since. `partly`: not all failures are looked at."""
        if partly:
            return all((each.told.first or 0.0) <= self.at for each in cause.failures)
        return len(cause.failures) <= self.count


def read(answer: Mapping[bytes, bytes] | None, now: float) -> dict[str, Mute]:
    """The mutes that the hash holds, by the id of their cause, without those that are over."""
    found = ((raw_id.decode("utf-8", "replace"), _parse(raw)) for raw_id, raw in (answer or {}).items())
    return {name: mute for name, mute in found if mute and now - defaults.MUTE_TTL < mute.at <= now + _AHEAD}


def _parse(raw: bytes) -> Mute | None:
    try:
        told = json.loads(raw)
        texts = {name: str(told.get(name, ""))[:_MOST_TEXT] for name in ("by", "name", "error")}
        return Mute(at=float(told["at"]), count=int(told["count"]), **texts)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None


def ask_mutes(access: Access, now: float) -> Question[dict[str, Mute]]:
    """Those that there are."""
    [answer] = yield lambda pipeline: pipeline.hgetall(access.keys.muted)
    return read(answer, now)


def add(access: Access, cause: str, mute: Mute) -> bool:
    """Mute a cause; of one that is muted the mute begins anew. False: so many are that no other may be."""
    key, limit = access.keys.muted, defaults.MUTED_CAUSES
    stored = access.read(lambda redis: redis.hgetall(key))
    held = read(stored, mute.at)
    if cause not in held and len(held) >= limit:
        return False
    over = [raw_id for raw_id in stored if raw_id.decode("utf-8", "replace") not in held]

    def write(redis: Any) -> None:
        with redis.pipeline(transaction=True) as pipeline:
            if over:
                pipeline.hdel(key, *over)
            pipeline.hset(key, cause, json.dumps(asdict(mute))).expire(key, defaults.MUTE_TTL).execute()

    access.write(write)
    return True


def remove(access: Access, cause: str) -> Mute | None:
    """End a mute; None when there was none, or it is over."""
    key = access.keys.muted

    def write(redis: Any) -> list[Any]:
        with redis.pipeline(transaction=True) as pipeline:
            found: list[Any] = pipeline.hget(key, cause).hdel(key, cause).execute()
            return found

    raw, _ = access.write(write)
    return None if raw is None else read({cause.encode(): raw}, access.now()).get(cause)
