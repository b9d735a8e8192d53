"""The log of a worker: stable event names with their values, and the forms in which they are written.

Events go to the logger `jobd`, which has no handler of its own: `jobd` the command installs one, an application
that embeds a worker decides by itself. The root logger is never touched.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TextIO

from jobd.client.errors import ConfigError, NotPermitted
from jobd.worker.log_file import LogFile

LogFormat = Literal["pretty", "plain", "json"]

DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
LEVELS = {
    "debug": DEBUG,
    "info": INFO,
    "warn": WARNING,
    "warning": WARNING,
    "error": ERROR,
    "fatal": logging.CRITICAL,
    "critical": logging.CRITICAL,
}
logger = logging.getLogger("jobd")

_TEXTS_KEPT = 1_000
_FAILURE_INTERVAL = 60.0
"""Seconds between two lines on a log file that cannot be opened anew for the same reason."""
_PLAIN = re.compile(r'[^\x00-\x20\x7f-\x9f\u2028\u2029"=]+')
_CONTROL = re.compile(r"[\x7f-\x9f\u2028\u2029]")


class Event:
    """What happened: a stable name and its values. As text: `name key=value …`."""

    def __init__(self, name: str, values: Mapping[str, Any]) -> None:
        self.name, self.values = name, values

    def __str__(self) -> str:
        return self.name + "".join(f" {key}={_word(value)}" for key, value in self.values.items())


def event_of(record: logging.LogRecord) -> Event:
    """The event in a record; a record that some other code sent to the logger becomes one without values."""
    if isinstance(record.args, tuple) and len(record.args) == 1 and isinstance(record.args[0], Event):
        return record.args[0]
    return Event(record.getMessage().replace("\n", " "), {})


def event(
    name: str, *, level: int = INFO, exc_info: BaseException | None = None, threshold: int | None = None, **values: Any
) -> None:
    """Log one event. `threshold` replaces the logger's level for this line (a job's own `log_level`)."""
    wanted = logger.isEnabledFor(level) if threshold is None else level >= threshold
    if not wanted:
        return
    logger.handle(_record(name, level, values, exc_info))


def _record(
    name: str, level: int, values: Mapping[str, Any], exc_info: BaseException | None = None
) -> logging.LogRecord:
    message = Event(name, {key: value for key, value in values.items() if value is not None})
    trace = (type(exc_info), exc_info, exc_info.__traceback__) if exc_info else None
    # As an extra argument the event is there for formatters that know it; any other prints its text.
    return logger.makeRecord(logger.name, level, __file__, 0, "%s", (message,), trace)


class Sparingly:
    """Lets each text through once in `interval` seconds, so that one lasting fault does not fill a log.

    Safe across threads; keeps up to 1,000 texts.
    """

    def __init__(self, interval: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._interval, self._monotonic = interval, monotonic
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}

    def allows(self, text: str) -> bool:
        """Whether `text` is to be logged now."""
        now = self._monotonic()
        with self._lock:
            last = self._last.get(text)
            if last is not None and now - last < self._interval:
                return False
            if len(self._last) >= _TEXTS_KEPT:
                self._last.clear()
            self._last[text] = now
            return True


class Reports:
    """Logs what scripts tell beside their result. A note on a broken key comes with every call: each once in 10 s."""

    def __init__(self) -> None:
        self._notes = Sparingly(10.0)

    def tell(self, note: str, dropped: int = 0) -> None:
        """Log `note`, unless empty, and that the dead set's limits `dropped` jobs, unless none."""
        if note and self._notes.allows(note):
            event("redis.damaged", level=ERROR, note=note.rstrip("; "))
        if dropped:
            event("dead.trimmed", level=WARNING, jobs=dropped)

    def refused(self, error: Exception) -> None:
        """Log that Redis refuses a call that has to be repeated until it is accepted."""
        if self._notes.allows(str(error)):
            hint = "nothing is fetched or acknowledged until this is mended"
            event("redis.refused", level=ERROR, error=f"{type(error).__name__}: {error}", hint=hint)


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
        priority = _priority(record.levelno)
        return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))

    def _text(self, record: logging.LogRecord) -> str:
        trace = self.formatException(record.exc_info) if record.exc_info else None
        if self._form == "json":
            return _json_line(record, event_of(record), trace)
        line = _plain_line(record, event_of(record), colour=self._form == "pretty")
        if not self._journal:
            line = f"{_stamp(record)} {line}"
        return f"{line}\n{trace}" if trace else line


def _priority(level: int) -> int:
    """syslog's number for a level."""
    if level >= ERROR:
        return 3
    if level >= WARNING:
        return 4
    return 6 if level >= INFO else 7


def _stamp(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"


def _json_line(record: logging.LogRecord, event: Event, trace: str | None) -> str:
    fields: dict[str, Any] = {"ts": _stamp(record), "pid": record.process, "level": record.levelname.lower()}
    fields |= {"event": event.name, **event.values}
    if trace:
        fields["trace"] = trace
    return json.dumps(fields, ensure_ascii=False, default=str)


_COLOURS = {DEBUG: "\033[2m", INFO: "\033[32m", WARNING: "\033[33m", ERROR: "\033[31m"}


def _plain_line(record: logging.LogRecord, event: Event, *, colour: bool) -> str:
    text = str(event)
    if colour:
        text = f"{_COLOURS.get(record.levelno, '')}{event.name}\033[0m{text.removeprefix(event.name)}"
    return f"{record.process} {record.levelname} {text}"


def _word(value: Any) -> str:
    text = str(value)
    if text and _PLAIN.fullmatch(text):
        return text
    # What JSON leaves as it is, a terminal may still obey, and a reader take for a line break.
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


class LineHandler(logging.Handler):
    """Writes each record to a stream with a single call, so that lines of several processes do not mix."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream or sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a destination that fails must not stop the work."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        try:
            line = self.format(record).encode(encoding, "backslashreplace").decode(encoding)
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return


class LogFileHandler(logging.Handler):
    """Writes records to a log file; those that find no room there are counted, and the next one tells how many.

    Nothing that becomes of the file stops the work: a full disk, a folder that is gone, a file that was rotated.
    """

    def __init__(self, file: LogFile) -> None:
        super().__init__()
        self._file = file
        self._failures = Sparingly(_FAILURE_INTERVAL)
        self._lost = 0
        self._lost_by = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, after what there is to tell of the file itself."""
        try:
            text = "".join(f"{self.format(each)}\n" for each in (*self._notices(), record))
        except Exception:
            self.handleError(record)
            return
        if self._file.append(text.encode("utf-8", "backslashreplace")):
            self._lost = 0
        else:
            self._lost += 1

    def reopen(self) -> None:
        """Go on in the file that is now at the path; if that fails, in the old one, and say so there."""
        try:
            self._file.reopen()
        except OSError as error:
            event("log.not_reopened", level=ERROR, path=self._file.path, error=error)

    def fileno(self) -> int:
        """The file's descriptor; the same number as long as the handler is open."""
        return self._file.fileno()

    def close(self) -> None:
        """Close the file too. May come twice."""
        self._file.close()
        super().close()

    def _notices(self) -> Iterator[logging.LogRecord]:
        try:
            self._file.follow()
        except OSError as error:
            if self._failures.allows(str(error)):
                yield _record("log.not_reopened", ERROR, {"path": self._file.path, "error": error})
        if self._lost_by != os.getpid():
            # What was lost before a fork is for the parent to tell.
            self._lost, self._lost_by = 0, os.getpid()
        if self._lost:
            yield _record("log.lost", WARNING, {"records": self._lost})


def install(form: LogFormat | None, level: str, destination: TextIO | Path | str | None = None) -> None:
    """Give the logger `jobd` its handler, in place of any other.

    `destination` is a stream, by default standard error, or the path of a file to append to. Unless `form` says
    otherwise lines are coloured on a terminal and plain elsewhere. Raises ConfigError if the file cannot be opened;
    the handler before it stays then.
    """
    if isinstance(destination, (Path, str)):
        handler: logging.Handler = LogFileHandler(_open(Path(destination)))
        handler.setFormatter(Formatter(form or "plain"))
    else:
        stream = destination or sys.stderr
        handler = LineHandler(stream)
        handler.setFormatter(Formatter(form or ("pretty" if stream.isatty() else "plain"), journal=_is_journal(stream)))
    before = _log_file_handler()
    logger.handlers[:] = [handler]
    if before:
        before.close()
    logger.propagate = False
    logger.setLevel(LEVELS[level])


def reopen() -> None:
    """Open the installed log file anew, after it was rotated. Never raises; does nothing for a stream."""
    if handler := _log_file_handler():
        handler.reopen()


def fileno() -> int | None:
    """The descriptor of the installed log file, for a daemon to keep and to send its output to; None for a stream."""
    handler = _log_file_handler()
    return handler.fileno() if handler else None


def _log_file_handler() -> LogFileHandler | None:
    return next((handler for handler in logger.handlers if isinstance(handler, LogFileHandler)), None)


def _open(path: Path) -> LogFile:
    try:
        return LogFile(path)
    except OSError as error:
        kind = NotPermitted if isinstance(error, PermissionError) else ConfigError
        raise kind(
            f"logfile = {str(path)!r}: cannot be opened ({error.strerror}); name a file that this user may write to, "
            "with -L or logfile:"
        ) from error


def _is_journal(stream: TextIO) -> bool:
    """Whether systemd says in `$JOURNAL_STREAM`, as device:inode, that this stream leads to its journal."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
