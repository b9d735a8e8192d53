"""The forms of a log line: an event with its values, as text for people, as JSON, and for systemd's journal."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping
from typing import Any, Literal

LogFormat = Literal["pretty", "plain", "json"]

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR

_PLAIN = re.compile(r'[^\x00-\x20\x7f-\x9f\u2028\u2029"=]+')
_CONTROL = re.compile(r"[\x7f-\x9f\u2028\u2029]")
_COLOURS = {DEBUG: "\033[2m", INFO: "\033[32m", WARNING: "\033[33m", ERROR: "\033[31m"}
_NO_COLOUR = "\033[0m"


class Event:
    """What happened: a stable name and its values. As text: `name key=value …`."""

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self.name, self.values = name, values

    def __str__(self) -> str:
        return self.name + "".join(f" {key}={word(value)}" for key, value in self.values.items())


def event_of(record: logging.LogRecord) -> Event:
    """The event in a record; a record that some other code sent to the logger becomes one without values."""
    if isinstance(record.args, tuple) and len(record.args) == 1 and isinstance(record.args[0], Event):
        return record.args[0]
    return Event(record.getMessage().replace("\n", " "), {})


class Formatter(logging.Formatter):
    """Writes a record as one line; a traceback follows on lines of its own, or inside the JSON.

    For the journal (`journal`) every line begins with its priority, and has no time, which the journal notes itself.
    """

    def __init__(self, form: LogFormat, *, journal: bool = False) -> None:
        super().__init__()
        self._form: LogFormat = form
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """The line without its line break."""
        text = self._text(record)
        if not self._journal:
            return text
        before = priority(record.levelno)
        return "\n".join(f"{before}{line}" for line in text.split("\n"))

    def _text(self, record: logging.LogRecord) -> str:
        trace = self.formatException(record.exc_info) if record.exc_info else None
        if self._form == "json":
            return _json_line(record, event_of(record), trace)
        line = _plain_line(record, event_of(record), colour=self._form == "pretty")
        if not self._journal:
            line = f"{_stamp(record)} {line}"
        return f"{line}\n{trace}" if trace else line


def priority(level: int) -> str:
    """A level as the journal reads it before a line."""
    if level >= ERROR:
        return "<3>"
    if level >= WARNING:
        return "<4>"
    return "<6>" if level >= INFO else "<7>"


def second(moment: float) -> str:
    """A time in epoch seconds as the first part of a stamp, which a point, milliseconds and `Z` complete."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))


def coloured(name: str, level: int) -> str:
    """An event's name in the colour of its level."""
    return f"{_COLOURS.get(level, '')}{name}{_NO_COLOUR}"


def word(value: Any) -> str:
    """A value as it stands behind `key=`: quoted unless it is one plain word."""
    text = str(value)
    if text and _PLAIN.fullmatch(text):
        return text
    # What JSON leaves as it is, a terminal may still obey, and a reader take for a line break.
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", as_json(text))


def as_json(value: Any) -> str:
    """A value as it stands in a line of JSON."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _stamp(record: logging.LogRecord) -> str:
    return f"{second(record.created)}.{int(record.msecs):03d}Z"


def _json_line(record: logging.LogRecord, event: Event, trace: str | None) -> str:
    fields: dict[str, Any] = {"ts": _stamp(record), "pid": record.process, "level": record.levelname.lower()}
    fields |= {"event": event.name, **event.values}
    if trace:
        fields["trace"] = trace
    return as_json(fields)


def _plain_line(record: logging.LogRecord, event: Event, *, colour: bool) -> str:
    text = str(event)
    if colour:
        text = coloured(event.name, record.levelno) + text.removeprefix(event.name)
    return f"{record.process} {record.levelname} {text}"
