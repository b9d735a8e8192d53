"""A job as it stands in Redis, to be looked at: values that never raise, whatever the bytes are.

Where it stands, and what can be done with it there, is added in `queues.py` and `sets.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any

from jobd.client import payload as wire
from jobd.client.errors import MalformedPayload

_NOTHING: MappingProxyType[str, Any] = MappingProxyType({})
_MAILER = "ActionMailer::MailDeliveryJob"
_ACTIVE_JOB = "_aj_"
_MAX_DEPTH = 100


@dataclass(frozen=True)
class JobEntry:
    """A job in Redis. Times are epoch seconds, None when the payload does not tell.

    `raw` holds the bytes as they are. What is no job has a `problem`, and all else empty.
    """

    raw: bytes

    @cached_property
    def _decoded(self) -> tuple[MappingProxyType[str, Any], str]:
        try:
            return MappingProxyType(wire.decode(self.raw)), ""
        except (MalformedPayload, ValueError, RecursionError) as error:
            return _NOTHING, str(error)

    @property
    def payload(self) -> Mapping[str, Any]:
        """The fields as they are, empty when the bytes are no JSON object."""
        return self._decoded[0]

    def copied_payload(self) -> dict[str, Any]:
        """The fields of the payload, to be changed."""
        return self._decoded[0].copy()

    @property
    def problem(self) -> str:
        """Why no worker could run it; empty for a job."""
        fields, problem = self._decoded
        if problem:
            return problem
        if _is_usual(fields):
            return ""
        if not wire.dispatch_names(fields):
            return "the payload names no class"
        try:
            wire.call_arguments(fields)
        except MalformedPayload as error:
            return str(error)
        return ""

    @property
    def malformed(self) -> bool:
        """Whether it is no job."""
        return bool(self.problem)

    @property
    def jid(self) -> str:
        """Its id, empty without one."""
        return self._text("jid")

    @property
    def class_name(self) -> str:
        """The field `class`; of an ActiveJob the wrapper."""
        return self._text("class")

    @property
    def wrapped(self) -> str | None:
        """The job's own class when `class` is a wrapper."""
        return self._text("wrapped") or None

    @property
    def name(self) -> str:
        """The name under which people know the job; `Mailer#method` for a mail of ActionMailer."""
        name = wire.display_name(self.payload)
        if name == _MAILER and len(inner := self._arguments) > 1:
            return f"{inner[0]}#{inner[1]}"
        return name

    @property
    def args(self) -> list[Any]:
        """Its positional arguments; of an ActiveJob its own, decoded for people to read."""
        if self.class_name not in wire.ACTIVE_JOB_WRAPPERS:
            return list(self._arguments)
        if wire.display_name(self.payload) == _MAILER and len(self._arguments) > 2:
            rest = self._arguments[3] if len(self._arguments) > 3 else []
            given = rest.get("args", rest) if isinstance(rest, dict) else rest
            return [_shown(value) for value in given] if isinstance(given, list) else [_shown(given)]
        return [_shown(value) for value in self._arguments]

    @property
    def kwargs(self) -> dict[str, Any]:
        """Its keyword-only arguments."""
        found = self.payload.get("kwargs")
        return dict(found) if isinstance(found, dict) else {}

    @property
    def queue(self) -> str:
        """The name of its queue."""
        return self._text("queue")

    @property
    def tags(self) -> list[str]:
        """Its tags."""
        found = self.payload.get("tags")
        return [str(tag) for tag in found] if isinstance(found, list) else []

    @property
    def created_at(self) -> float | None:
        """When it was pushed first."""
        return self._time("created_at")

    @property
    def enqueued_at(self) -> float | None:
        """When it last entered a queue."""
        return self._time("enqueued_at")

    @property
    def failed_at(self) -> float | None:
        """When it failed first."""
        return self._time("failed_at")

    @property
    def retried_at(self) -> float | None:
        """When it last failed, if that was not the first time."""
        return self._time("retried_at")

    @property
    def unknown_since(self) -> float | None:
        """Since when it waits for a process that knows its class."""
        return self._time("unknown_since")

    @property
    def retry_count(self) -> int | None:
        """Failures less one: None before the first, then 0, 1, 2 …"""
        count = self.payload.get("retry_count")
        return count if isinstance(count, int) and not isinstance(count, bool) else None

    @property
    def error_class(self) -> str:
        """The class of its last error."""
        return self._text("error_class")

    @property
    def error_message(self) -> str:
        """What its last error said."""
        return self._text("error_message")

    @property
    def error_backtrace(self) -> list[str]:
        """Lines of its last error's traceback, innermost first, if they were kept."""
        return wire.decode_backtrace(self.payload.get("error_backtrace"))

    def latency(self, now: float) -> float:
        """Seconds for which it has been in its queue at `now`, at least 0; 0.0 when the payload does not tell."""
        since = self.waits_since
        return 0.0 if since is None else max(now - since, 0.0)

    @property
    def waits_since(self) -> float | None:
        """When it entered its queue, or was pushed where that is not told."""
        return self.created_at if (enqueued_at := self.enqueued_at) is None else enqueued_at

    @property
    def _arguments(self) -> list[Any]:
        try:
            return wire.call_arguments(self.payload)[0]
        except MalformedPayload:
            return []

    def _text(self, field: str) -> str:
        value = self.payload.get(field)
        return value if isinstance(value, str) else "" if value is None else str(value)

    def _time(self, field: str) -> float | None:
        return wire.read_time(self.payload.get(field))


def _is_usual(fields: Mapping[str, Any]) -> bool:
    """Whether a job is of the kind that most are, which needs no second look."""
    name = fields.get("class")
    return type(name) is str and name != "" and type(fields.get("args")) is list and "kwargs" not in fields


def _shown(value: Any, depth: int = 0) -> Any:
    """One argument of an ActiveJob without the marks of its serialisation."""
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, list):
        return [_shown(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if "_aj_globalid" in value:
        return value["_aj_globalid"]
    if "_aj_serialized" in value and "value" in value:
        return _shown(value["value"], depth + 1)
    return {key: _shown(item, depth + 1) for key, item in value.items() if not key.startswith(_ACTIVE_JOB)}


def search_bytes(text: str) -> bytes:
    """`text` as it stands within the JSON of a payload that holds it."""
    return wire.encode({"": wire.clean_text(text, len(text))})[5:-2]


def search_pattern(text: str) -> bytes:
    """The pattern by which Redis finds the payloads that hold `text`: each of its characters stands for itself."""
    return b"*" + b"".join(b"\\" + bytes([c]) if c in b"*?[]\\" else bytes([c]) for c in search_bytes(text)) + b"*"
