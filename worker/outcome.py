"""What can become of a job that was fetched. Values only; `settle` in `processor.py` carries them out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Done:
    """It returned."""


DONE = Done()
"""The one that every success is."""


@dataclass(frozen=True, slots=True)
class RetryAt:
    """It raised and runs again at `at` (epoch seconds), with this payload."""

    at: float
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dead:
    """It goes to the dead set with this payload: attempts are used up, or nobody knows its class."""

    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Discarded:
    """It raised, and its definition says neither retry nor dead set. Logged and counted as failed.

    `payload` is what death handlers get, with `discarded_at`; it is stored nowhere.
    """

    reason: str
    payload: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Postponed:
    """It raised `RetryLater`: it runs again at `at` with this payload. Neither a failure nor an attempt."""

    at: float
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Expired:
    """It was not begun within its `expires_in`, and is not run any more. Logged, and counted as ended well."""

    late: float
    """Seconds after that time."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """This process does not know its class: others may. Not an attempt."""

    at: float
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Buried:
    """Its bytes are no job. They go to the dead set as they are, uncounted."""

    raw: bytes
    reason: str


Outcome: TypeAlias = Done | RetryAt | Dead | Discarded | Postponed | Expired | Deferred | Buried
