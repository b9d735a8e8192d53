"""What can become of a job that was fetched. Values only; `settle` in `processor.py` carries them out."""

from __future__ import annotations

from dataclasses import dataclass
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
    """It raised, and its options say neither retry nor dead set. Logged and counted as failed."""

    reason: str


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


Outcome: TypeAlias = Done | RetryAt | Dead | Discarded | Deferred | Buried
