"""The log of a worker: stable event names with their values, and the forms in which they are written.

Events go to the logger `jobd`, which has no handler of its own: `jobd` the command installs one, an application
that embeds a worker decides by itself. The root logger is never touched.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol, TextIO

from jobd.client.call import RunningJob
from jobd.client.errors import ConfigError, NotPermitted
from jobd.worker.job_log import Buffer, JobLog
from jobd.worker.log_file import LogFile
from jobd.worker.log_format import DEBUG as DEBUG
from jobd.worker.log_format import ERROR as ERROR
from jobd.worker.log_format import INFO as INFO
from jobd.worker.log_format import WARNING as WARNING
from jobd.worker.log_format import Event as Event
from jobd.worker.log_format import Formatter as Formatter
from jobd.worker.log_format import LogFormat as LogFormat
from jobd.worker.log_format import event_of as event_of

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


def job_values(job: RunningJob) -> dict[str, Any]:
    """What every event of a job says of it."""
    values: dict[str, Any] = {"jid": job.jid or None, "job": job.name, "queue": job.queue}
    if job.attempt > 1:
        values["attempt"] = job.attempt
    if job.tags:
        values["tags"] = ",".join(job.tags)
    return values


class JobLines(Protocol):
    """Logs that jobs start and return; `JobLog` explains it."""

    def start(self, job: RunningJob, *, at_once: bool) -> str: ...
    def done(self, job: RunningJob, said: str, seconds: float) -> bool: ...


class _JobEvents:
    """The lines of jobs as events like any other, for handlers that are not jobd's."""

    def start(self, job: RunningJob, *, at_once: bool) -> str:
        event("job.start", threshold=INFO, **job_values(job))
        return ""

    def done(self, job: RunningJob, said: str, seconds: float) -> bool:
        event("job.done", threshold=INFO, **job_values(job), seconds=round(seconds, 6))
        return False


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


class _Handler(logging.Handler):
    """Writes records, and before each what `buffer` keeps of the lines of jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer: Buffer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a destination that fails must not stop the work."""
        try:
            text = f"{self.format(record)}\n"
            self.write([*self._kept(), text])
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Write the lines of jobs that are kept. Costs next to nothing when there are none."""
        if self.buffer is None or not self.buffer.lines:
            return
        self.acquire()
        try:
            if lines := self._kept():
                self.write(lines)
        finally:
            self.release()

    def write(self, lines: Sequence[str]) -> None:
        """Write lines, each with its line break. Called under the handler's lock; a failing destination is no error."""
        raise NotImplementedError

    def _kept(self) -> list[str]:
        return self.buffer.take() if self.buffer else []


class LineHandler(_Handler):
    """Writes to a stream, as much at a time as a pipe takes whole, so that lines of several processes do not mix."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream or sys.stderr

    def write(self, lines: Sequence[str]) -> None:
        """Write lines; one that is too long for a pipe goes alone."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        try:
            for piece in pieces(lines, select.PIPE_BUF):
                self._stream.write(piece.encode(encoding, "backslashreplace").decode(encoding))
                self._stream.flush()
        except (OSError, ValueError):
            return


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


def pieces(lines: Sequence[str], size: int) -> Iterator[str]:
    """The lines put together to texts of at most `size` bytes of UTF-8, but for single ones that are longer."""
    piece: list[str] = []
    used = 0
    for line in lines:
        needed = len(line) if line.isascii() else len(_encoded(line))
        if piece and used + needed > size:
            yield "".join(piece)
            piece, used = [], 0
        piece.append(line)
        used += needed
    if piece:
        yield "".join(piece)


class LogFileHandler(_Handler):
    """Writes records to a log file; those that find no room there are counted, and the next one tells how many.

    Nothing that becomes of the file stops the work: a full disk, a folder that is gone, a file that was rotated.
    """

    def __init__(self, file: LogFile) -> None:
        super().__init__()
        self._file = file
        self._failures = Sparingly(_FAILURE_INTERVAL)
        self._lost = 0
        self._lost_by = os.getpid()

    def write(self, lines: Sequence[str]) -> None:
        """Write lines in one piece, after what there is to tell of the file itself."""
        notices = [f"{self.format(notice)}\n" for notice in self._notices()]
        data = _encoded("".join((*notices, *lines)))
        written = self._file.append(data)
        if written == len(data):
            self._lost = 0
            return
        ends = accumulate(len(_encoded(line)) for line in (*notices, *lines))
        whole = sum(end <= written for end in ends)
        if whole < len(notices):
            self._lost += len(lines)
        else:
            self._lost = len(notices) + len(lines) - whole

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


_buffer = Buffer()
_events = _JobEvents()
_own: tuple[list[logging.Handler], JobLog] | None = None
"""The handler that `install` has made, as the logger would list it, and what writes the lines of jobs for it."""


def install(form: LogFormat | None, level: str, destination: TextIO | Path | str | None = None) -> None:
    """Give the logger `jobd` its handler, in place of any other.

    `destination` is a stream, by default standard error, or the path of a file to append to. Unless `form` says
    otherwise lines are coloured on a terminal and plain elsewhere. Raises ConfigError if the file cannot be opened;
    the handler before it stays then.
    """
    journal = False
    if isinstance(destination, (Path, str)):
        handler: _Handler = LogFileHandler(_open(Path(destination)))
        form = form or "plain"
    else:
        stream = destination or sys.stderr
        handler, journal = LineHandler(stream), _is_journal(stream)
        form = form or ("pretty" if stream.isatty() else "plain")
    handler.setFormatter(Formatter(form, journal=journal))
    _replace(handler, JobLog(form, _buffer, handler.flush, journal=journal))
    logger.propagate = False
    logger.setLevel(LEVELS[level])


def _replace(handler: _Handler, lines: JobLog) -> None:
    """Lines that threads add meanwhile, in the old form, are the new handler's to write."""
    global _own
    flush()
    before = [each for each in logger.handlers if isinstance(each, _Handler)]
    handler.buffer = _buffer
    logger.handlers[:] = [handler]
    _own = [handler], lines
    for each in before:
        each.buffer = None
        if isinstance(each, LogFileHandler):
            each.close()


def job_log(threshold: int | None = None) -> JobLines | None:
    """What writes the lines of a job now, directly while the logger has jobd's handler and nothing else; None: nothing.

    `threshold` replaces the logger's level (a job's own `log_level`).
    """
    if not (logger.isEnabledFor(INFO) if threshold is None else threshold <= INFO):
        return None
    if _own and logger.handlers == _own[0] and not (logger.propagate or logger.filters):
        return _own[1]
    return _events


def flush() -> None:
    """Write the lines of jobs that are kept. Costs next to nothing when there are none."""
    if _own:
        _own[1].flush()


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
