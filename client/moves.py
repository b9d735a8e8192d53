"""The bytes of a job that moves: into its queue when it is due or retried by hand, changed by somebody. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jobd.client import defaults
from jobd.client import payload as wire
from jobd.client.draft import read_item
from jobd.client.errors import InvalidArguments, InvalidPayload, MalformedPayload
from jobd.client.options import INTERNAL
from jobd.client.payload import Timestamps

_OF_THE_SET = ("at", "wait", "wait_until")
_OF_A_RUN = INTERNAL - {"class", "args", "kwargs"}
"""What jobd has written into a job since it was pushed, or as that was done."""


def as_queued(payload: dict[str, Any], now: float, timestamps: Timestamps) -> tuple[str, bytes]:
    """The queue of a job, and its bytes as it enters the queue at `now` (epoch seconds). Raises MalformedPayload."""
    queue = payload.get("queue", defaults.QUEUE)
    if not isinstance(queue, str) or not queue:
        raise MalformedPayload(f"its queue is {queue!r}, not a name")
    payload.setdefault("created_at", wire.write_time(now, timestamps))
    payload.pop("at", None)
    wire.stamp(payload, now, timestamps)
    return queue, wire.encode(payload)


def as_added(payload: dict[str, Any], now: float, timestamps: Timestamps) -> tuple[str, bytes]:
    """The same of a job that somebody puts there by hand: it is to run, however late. Raises MalformedPayload."""
    payload.pop("expires_in", None)
    return as_queued(payload, now, timestamps)


def as_retried(payload: dict[str, Any], now: float, timestamps: Timestamps) -> tuple[str, bytes]:
    """The same of a job that somebody retries by hand, which costs it no attempt. Raises MalformedPayload."""
    _give_back_attempt(payload)
    return as_added(payload, now, timestamps)


def as_waiting(payload: dict[str, Any], *, dead: bool) -> bytes:
    """The bytes of a job that somebody has wait for a retry: it is to run, however late.

    A dead one gets back the attempt that it died of; a retry loses and wins none, however often it is put off.
    """
    payload.pop("expires_in", None)
    if dead:
        _give_back_attempt(payload)
    return wire.encode(payload)


def as_moved(payload: Mapping[str, Any], queue: str) -> bytes:
    """The bytes of a job that somebody moves to another queue; it keeps its times."""
    return wire.encode({**payload, "queue": queue})


def as_copied(payload: Mapping[str, Any], now: float, timestamps: Timestamps) -> bytes:
    """The bytes of a job like another one, as if it was pushed at `now` (epoch seconds): with an id of its own."""
    copied = {name: value for name, value in payload.items() if name not in _OF_A_RUN}
    copied |= {"jid": wire.new_jid(), "created_at": wire.write_time(now, timestamps)}
    wire.stamp(copied, now, timestamps)
    return wire.encode(copied)


def _give_back_attempt(payload: dict[str, Any]) -> None:
    count = payload.get("retry_count")
    if isinstance(count, int) and not isinstance(count, bool):
        payload["retry_count"] = count - 1


def put_off(raw: bytes, seconds: float) -> bytes:
    """The bytes of a job that is due so much later: as they are, unless its `expires_in` counts to the earlier time."""
    if b'"expires_in"' not in raw:
        return raw
    try:
        payload = wire.decode(raw)
    except MalformedPayload:
        return raw
    expires_in = payload.get("expires_in")
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float) or seconds <= 0:
        return raw
    return wire.encode({**payload, "expires_in": expires_in + seconds})


def edited(payload: Mapping[str, Any], changes: Mapping[str, Any], remove: Iterable[str] = ()) -> bytes:
    """The bytes of a job with other fields, checked as `Client.push` checks them; what is not named stays as it is.

    Raises `InvalidPayload` or `InvalidArguments` naming the field.
    """
    name = payload.get("class")
    if isinstance(remove, str):
        raise InvalidArguments(f"{name}: remove={remove!r}: give a list of fields, [{remove!r}]")
    for field in (*changes, *remove):
        if field in _OF_THE_SET:
            raise InvalidPayload(f"{name}: `{field}` is no field of the payload; give the time to `reschedule`")
    gone = set(remove)
    if needed := sorted(gone & {"class", "args", "jid", "queue"}):
        raise InvalidPayload(f"{name}: `{needed[0]}` cannot be removed: no job is without it")
    call = {key: payload[key] for key in ("class", "args", "kwargs") if key in payload and key not in gone}
    checked = read_item({"args": [], **call, **changes}).fields
    changed = {key: value for key, value in payload.items() if key not in gone}
    return wire.encode(changed | {key: checked.get(key, changes[key]) for key in changes})
