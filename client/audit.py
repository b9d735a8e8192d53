"""Who did what by hand, on a page or on the command line: a stream in Redis with a cap and an expiry.

Writing it down never makes an action fail: what cannot be written is logged. Who may read it is decided elsewhere.
"""

from __future__ import annotations

import getpass
import json
import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from jobd.client import defaults
from jobd.client.access import Access
from jobd.client.errors import JobdError, RedisUnavailable
from jobd.client.redaction import mask

logger = logging.getLogger("jobd.audit")

Result: TypeAlias = Literal["done", "refused", "failed"]
COMMAND_LINE = "command line"
_MOST_TEXT = 300
"""Characters of one field that are kept."""
_TEXTS = ("user", "address", "action", "page", "target", "filter", "result", "error", "undo")


@dataclass(frozen=True, slots=True)
class Record:
    """One action.

    - `user` and `address`: who, and from where: the address of a browser, or the command line of a host;
    - `action`, `page`, `target`: what was done, in which list, to which queue, process or entry;
    - `filter`: which jobs were meant: a search, `all`, or empty when they were named one by one;
    - `counts`: how many were moved, gone, malformed, dropped;
    - `result`: done, refused (no right to it) or failed, with the `error`;
    - `undo`: the id under which what was deleted can be put back, for an hour.

    `id` and `at` (epoch seconds) are given when it is read.
    """

    user: str
    address: str
    action: str
    page: str = ""
    target: str = ""
    filter: str = ""
    result: Result = "done"
    error: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    undo: str = ""
    id: str = ""
    at: float = 0.0

    def fields(self) -> dict[str, str]:
        """As they are written: texts cut to size, what is empty left out."""
        texts = {name: _cut(str(getattr(self, name))) for name in _TEXTS}
        texts["counts"] = json.dumps({name: int(count) for name, count in self.counts.items() if count})
        return {name: text for name, text in texts.items() if text not in ("", "{}")}


def _cut(text: str) -> str:
    clean = text.encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= _MOST_TEXT else clean[: _MOST_TEXT - 1] + "…"


def read(raw_id: bytes, raw: Mapping[bytes, bytes]) -> Record:
    """A record as it stands in the stream; never raises, whatever stands there."""
    fields = {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in raw.items()}
    name = raw_id.decode("ascii", "replace")
    milliseconds = name.partition("-")[0]
    try:
        told = json.loads(fields.get("counts", "{}"))
    except (ValueError, RecursionError):
        told = {}
    pairs = told.items() if isinstance(told, dict) else ()
    counts = {str(key): value for key, value in pairs if isinstance(value, int)}
    texts: dict[str, Any] = {each: fields.get(each, "") for each in _TEXTS}
    return Record(**texts, counts=counts, id=name, at=int(milliseconds) / 1000 if milliseconds.isdigit() else 0.0)


def read_page(pipeline: Any, key: str, before: str, count: int) -> Any:
    """Put the question for up to `count` records older than the one with the id `before` into a pipeline."""
    return pipeline.xrevrange(key, f"({before}" if before else "+", "-", count=count)


def records(answer: Sequence[Any] | None) -> list[Record]:
    """The answer to that."""
    return [read(raw_id, raw) for raw_id, raw in answer or () if raw]


def write(access: Access, record: Record) -> bool:
    """Write a record. False: it could not be written, and the log says why."""
    key, fields = access.keys.audit, record.fields()

    def add(redis: Any) -> None:
        with redis.pipeline(transaction=True) as pipeline:
            pipeline.xadd(key, fields, maxlen=defaults.AUDIT_RECORDS, approximate=True)
            pipeline.expire(key, defaults.AUDIT_TTL).execute()

    try:
        access.write(add)
    except JobdError as error:
        logger.warning("audit.not_written %s %s", json.dumps(fields), error)
        return False
    return True


@contextmanager
def of_command(
    access: Access, action: str, page: str, *, target: str = "", selection: str = ""
) -> Iterator[Callable[[Mapping[str, int]], None]]:
    """Record what a command does, also when it fails; the command tells its counts to what it is given.

    Without a connection there is nothing to write to.
    """
    counts: dict[str, int] = {}
    address = f"{COMMAND_LINE} on {socket.gethostname()}"
    record = Record(_user(), address, action, page, target, mask(selection))
    try:
        yield counts.update
    except RedisUnavailable:
        raise
    except BaseException as error:  # also one that a user interrupts half way
        write(access, replace(record, result="failed", error=mask(f"{type(error).__name__}: {error}")))
        raise
    write(access, replace(record, counts=counts))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return "unknown"
