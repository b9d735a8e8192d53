"""Points in time and waiting times as applications give them."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TypeAlias

from jobd.client.errors import InvalidArguments

Wait: TypeAlias = "float | timedelta"
"""Seconds, or a `timedelta`."""
Moment: TypeAlias = "float | datetime"
"""Epoch seconds, or an aware `datetime`."""

_MAX_WAIT = 1_000_000_000
_MAX_MOMENT = 100_000_000_000


def wait_seconds(value: object, what: str = "the delay") -> float:
    """Return a waiting time in seconds. `what` names it in the message of `InvalidArguments`."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidArguments(f"{what} is {value!r}; give seconds or a timedelta")
    if value > _MAX_WAIT:
        raise InvalidArguments(f"{what} is {value!r} seconds, over 30 years; for a point in time use perform_at")
    return float(value)


def epoch_seconds(value: object, what: str = "the time") -> float:
    """Return a point in time as epoch seconds. `what` names it in the message of `InvalidArguments`."""
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise InvalidArguments(
                f"{what} is {value.isoformat()} without a time zone, so nobody knows which moment that is; "
                f"give datetime(…, tzinfo=UTC), or value.astimezone() for this machine's zone"
            )
        return value.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidArguments(f"{what} is {value!r}; give an aware datetime or epoch seconds")
    if abs(value) >= _MAX_MOMENT:
        raise InvalidArguments(f"{what} is {value!r}, after the year 5000; give epoch seconds, not milliseconds")
    return float(value)
