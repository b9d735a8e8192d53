"""Marks of deploys: `mark_deploy` sets one, `deploy_marks` reads them, in the form in which Sidekiq keeps them.

A mark is a minute (UTC) with a label, and lasts 90 days. Who draws them is decided elsewhere.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from jobd.client import defaults
from jobd.client.access import Access
from jobd.client.errors import InvalidArguments
from jobd.client.push import Client
from jobd.client.times import Moment, epoch_seconds

MOST_LABEL = 200
"""Characters of a label; a longer one is cut."""
DAYS = defaults.DEPLOY_TTL // (24 * 3600)
"""Days for which a mark is kept."""
_MINUTE, _DAY = 60.0, 24 * 3600.0
_GIT = ("git", "--no-pager", "-c", "log.showSignature=false", "log", "-1", "--format=%h %s")
_GIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class DeployMark:
    """A deploy: the minute `at` which it was (epoch seconds), and its `label`.

    `new`: it was set by the call that has returned it.
    """

    at: float
    label: str
    new: bool = False


def mark_deploy(label: str | None = None, *, at: Moment | None = None, client: Client | None = None) -> DeployMark:
    """Mark a deploy, and return the mark that stands then.

    - `label`: what was deployed [short id and subject of the last commit in the working directory].
    - `at`: when, an aware `datetime` or epoch seconds of the last 90 days [now, by the clock of Redis].

    Of one label each further call within a minute finds the first mark, so that every process of a deploy may call it.
    A minute has one mark: if another label was first, that one is returned. Without a `client` it goes to the Redis of
    this process' jobs. Raises `InvalidArguments`, `RedisUnavailable`, `RedisRefused` or `ChangeOutcomeUnknown`, after
    which the same call may be made again.
    """
    text = as_label(last_commit() if label is None else label)
    access = Access(client)
    now = access.server_now()
    minute = _minute(now) if at is None else _minute(_checked(epoch_seconds(at, "at"), now))
    if at is None:
        minute = _first(access, text, minute)
    key, field = access.keys.deploy_marks(day_of(minute)), stamp(minute)

    def write(redis: Any) -> list[Any]:
        with redis.pipeline(transaction=True) as pipeline:
            pipeline.hsetnx(key, field, text)
            found: list[Any] = pipeline.expire(key, defaults.DEPLOY_TTL).hget(key, field).execute()
            return found

    new, _, held = access.write(write)
    return DeployMark(minute, text if held is None else _text(held), bool(new))


def _first(access: Access, label: str, minute: float) -> float:
    """The minute of the first call with this label, if it was within the last one; whoever comes writes that again."""
    key = access.keys.deploy_lock(label)

    def write(redis: Any) -> list[Any]:
        with redis.pipeline(transaction=True) as pipeline:
            pipeline.set(key, stamp(minute), nx=True, ex=defaults.DEPLOY_LOCK_TTL)
            found: list[Any] = pipeline.get(key).execute()
            return found

    _, held = access.write(write)
    known = None if held is None else parse_stamp(held)
    return minute if known is None else known


def deploy_marks(days: int = DAYS, *, client: Client | None = None) -> list[DeployMark]:
    """The marks of the last `days` UTC days, 1 to 90, the newest first, read in one round trip.

    Without a `client` it is the Redis of this process' jobs. Raises `InvalidArguments`, `RedisUnavailable` or
    `RedisRefused`.
    """
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= DAYS:
        raise InvalidArguments(f"days is {days!r}; give a whole number from 1 to {DAYS}")
    access = Access(client)
    names = last_days(access.now(), days)

    def ask(pipeline: Any) -> None:
        for day in names:
            pipeline.hgetall(access.keys.deploy_marks(day))

    return in_order(mark for answer in access.read_all(ask) for mark in read_marks(answer))


def read_marks(answer: Mapping[bytes, bytes] | None) -> list[DeployMark]:
    """The marks in the hash of a day; what is none there is passed over."""
    found = ((parse_stamp(raw), label) for raw, label in (answer or {}).items())
    return [DeployMark(at, _text(label)) for at, label in found if at is not None]


def in_order(marks: Iterable[DeployMark]) -> list[DeployMark]:
    """The newest first."""
    return sorted(marks, key=lambda mark: (-mark.at, mark.label))


def day_of(at: float) -> str:
    """How the key of the marks names the UTC day of `at`: `20261122`."""
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%d}"


def last_days(now: float, days: int = DAYS) -> Sequence[str]:
    """So many days by these names, that of `now` first."""
    return _days_until(now // _DAY, days)


@lru_cache(4)
def _days_until(last: float, days: int) -> Sequence[str]:
    return tuple(day_of((last - back) * _DAY) for back in range(days))


def stamp(minute: float) -> str:
    """How a minute is written: `2026-11-22T00:05:00Z`."""
    return datetime.fromtimestamp(minute, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_stamp(raw: bytes) -> float | None:
    """The time that is written so, in epoch seconds; None for what is none."""
    try:
        found = datetime.fromisoformat(raw.decode("ascii"))
        return (found if found.utcoffset() is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def as_label(label: object) -> str:
    """A label on one line and cut to size. Raises `InvalidArguments`."""
    if not isinstance(label, str) or not label.strip():
        raise InvalidArguments(f"the label of a deploy is {label!r}; give a text, such as the version")
    try:
        label.encode()
    except UnicodeEncodeError:
        raise InvalidArguments(f"the label of a deploy is {label!r}, which is no Unicode; give a text") from None
    return _cut(" ".join(label.split()))


def last_commit() -> str:
    """Short id and subject of the last commit in the working directory. Raises `InvalidArguments` if git knows none."""
    try:
        done = subprocess.run(_GIT, stdin=subprocess.DEVNULL, capture_output=True, timeout=_GIT_SECONDS, check=False)
        said, problem = done.stdout, done.stderr.decode("utf-8", "replace").strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        said, problem = b"", str(error)
    label = said.decode("utf-8", "replace").strip()
    if not label:
        why = " ".join(problem.split()) or "it said nothing"
        raise InvalidArguments(f"no label is given, and git knows no commit in {os.getcwd()} ({why}); give a label")
    return label


def _text(raw: bytes) -> str:
    return _cut(raw.decode("utf-8", "replace"))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LABEL else text[: MOST_LABEL - 1] + "…"


def _minute(at: float) -> float:
    return at // _MINUTE * _MINUTE


def _checked(at: float, now: float) -> float:
    if not now - defaults.DEPLOY_TTL < at < now + _MINUTE:
        told = stamp(at) if 0 <= at < 1e11 else repr(at)
        raise InvalidArguments(f"at is {told}; give a time of the last {DAYS} days, for which marks are kept")
    return at
