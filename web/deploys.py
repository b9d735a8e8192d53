"""Deploys that were marked, as pages show them: read with their other questions, those of past days once a minute."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from jobd.client.access import Access
from jobd.client.deploys import DeployMark, in_order, last_days, read_marks
from jobd.web.masking import Masker
from jobd.web.questions import Question

MOST = 100
"""Deploys that are shown, the newest."""
LASTS = 60.0
"""Seconds for which those of past days are not read anew."""
_MOST_KNOWN = 1_000


class _Known:
    """The marks of past days as they were read last. Safe across threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at, self._days = 0.0, dict[str, list[DeployMark]]()

    def missing(self, days: Sequence[str], now: float) -> list[str]:
        """Those of the days that have to be read: the first in any case."""
        with self._lock:
            anew = not 0 <= now - self._at < LASTS
            return [day for place, day in enumerate(days) if anew or not place or day not in self._days]

    def noted(self, days: Sequence[str], read: Mapping[str, list[DeployMark]], now: float) -> list[DeployMark]:
        """All marks of the days, of which these were read now; other days are forgotten."""
        with self._lock:
            self._days = {day: read[day] if day in read else self._days.get(day, []) for day in days}
            if len(read) == len(days):
                self._at = now
            return in_order(mark for marks in self._days.values() for mark in marks)[:MOST]


_KNOWN: WeakKeyDictionary[Access, _Known] = WeakKeyDictionary()


def ask_deploys(access: Access, now: float) -> Question[list[DeployMark]]:
    """The deploys that are marked in Redis until now, the newest first."""
    known, days = _KNOWN.setdefault(access, _Known()), last_days(now)
    missing = known.missing(days, now)

    def ask(pipeline: Any) -> None:
        for day in missing:
            pipeline.hgetall(access.keys.deploy_marks(day))

    told = yield ask
    return known.noted(
        days, {day: in_order(read_marks(raw))[:MOST] for day, raw in zip(missing, told, strict=True)}, now
    )


_MASKED: WeakKeyDictionary[Masker, dict[str, str]] = WeakKeyDictionary()
"""Labels without secrets: the same ones are shown again and again."""


def shown(marks: Iterable[DeployMark], masker: Masker, since: float, until: float) -> list[dict[str, Any]]:
    """Those of a time, without secrets, as pages and programs get them."""
    return [{"at": mark.at, "label": masked(mark.label, masker)} for mark in marks if since <= mark.at <= until]


def masked(label: str, masker: Masker) -> str:
    """A label without secrets."""
    known = _MASKED.setdefault(masker, {})
    if label not in known:
        if len(known) >= _MOST_KNOWN:
            known.clear()
        known[label] = masker.text(label)
    return known[label]
