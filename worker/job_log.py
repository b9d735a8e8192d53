"""The two lines that each job has in the log, `job.start` and `job.done`, without the price of a log record.

They are put into the log's form directly, and kept until several are written together: at the latest with the next line
of any other kind, when a job has been slow, and whenever the owner flushes, which is every few milliseconds while jobs
come. So a process that is killed loses what that time held. Where they are written, and how, is the handler's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

from jobd.client.call import RunningJob
from jobd.worker.log_format import INFO, LogFormat, as_json, coloured, priority, second, word

SLOW = 0.005
"""Seconds after which a job's lines are worth a write of their own."""
_LINES = 1_000
"""Lines kept at most, should nobody flush."""
_TEXTS = 1_000
"""Values whose text is kept, of each kind."""
_NO_HEADS: tuple[int, str, str] = (0, "", "")
_Key = TypeVar("_Key")


class Buffer:
    """Lines that are not written yet, of any thread. What was in it before a fork is the parent's to write."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.heads = _NO_HEADS
        """How lines begin in this millisecond, of a start and of an end."""
        os.register_at_fork(after_in_child=self._forget)

    def take(self) -> list[str]:
        """Take out what is in it, in order. By one thread at a time; others may add meanwhile, and need no lock."""
        lines = self.lines[:]
        del self.lines[: len(lines)]
        return lines

    def _forget(self) -> None:
        self.lines.clear()
        self.heads = _NO_HEADS


class JobLog:
    """Writes the lines of jobs into a buffer. Safe across threads."""

    def __init__(self, form: LogFormat, buffer: Buffer, flush: Callable[[], None], *, journal: bool = False) -> None:
        """`flush` writes what is in the buffer. The form is that of `log_format.Formatter`."""
        self._buffer, self.flush = buffer, flush
        self._lines, self._json, self._journal = buffer.lines, form == "json", journal
        self._events = [coloured(n, INFO) if form == "pretty" else n for n in ("job.start", "job.done")]
        self._end = "}\n" if self._json else "\n"
        self._names: dict[tuple[str, str], str] = {}
        self._seconds: dict[int, str] = {}
        buffer.heads = _NO_HEADS

    def start(self, job: RunningJob, *, at_once: bool) -> str:
        """Log that a job starts; returns what `done` needs. `at_once`: it is not to wait for others."""
        jid, names = job.jid, self._names.get((job.name, job.queue)) or self._note_names(job.name, job.queue)
        if not (jid.isascii() and jid.isalnum()):
            values = self._shown("jid", jid) + names
        else:
            values = f', "jid": "{jid}"{names}' if self._json else f" jid={jid}{names}"
        attempt, tags = job.attempt, job.tags
        if attempt > 1:
            values += self._shown("attempt", attempt)
        if tags:
            values += self._shown("tags", ",".join(tags))
        self._lines.append(f"{self._heads()[1]}{values}{self._end}")
        if at_once:
            self.flush()
        return values

    def done(self, job: RunningJob, said: str, seconds: float) -> bool:
        """Log that a job has returned after so many seconds; `said` is what `start` has returned.

        Returns whether it was slow, so that the next one's start is better logged at once.
        """
        micros = round(seconds * 1e6)
        shown = self._seconds.get(micros) or self._show_seconds(micros)
        self._lines.append(f"{self._heads()[2]}{said}{shown}{self._end}")
        slow = seconds >= SLOW
        if slow or len(self._lines) >= _LINES:
            self.flush()
        return slow

    def _heads(self) -> tuple[int, str, str]:
        heads, moment = self._buffer.heads, int(time.time() * 1000)
        return heads if heads[0] == moment else self._new_heads(moment)

    def _new_heads(self, moment: int) -> tuple[int, str, str]:
        pid, before = os.getpid(), priority(INFO) if self._journal else ""
        stamp = f"{second(moment // 1000)}.{moment % 1000:03d}Z"
        if self._json:
            form = f'{before}{{"ts": "{stamp}", "pid": {pid}, "level": "info", "event": "%s"'
        else:
            form = f"{before}{pid} INFO %s" if self._journal else f"{stamp} {pid} INFO %s"
        start, done = (form % name for name in self._events)
        heads = self._buffer.heads = moment, start, done
        return heads

    def _note_names(self, name: str, queue: str) -> str:
        text = self._shown("job", name) + self._shown("queue", queue)
        return _kept(self._names, (name, queue), text)

    def _show_seconds(self, micros: int) -> str:
        return _kept(self._seconds, micros, self._shown("seconds", micros / 1e6))

    def _shown(self, key: str, value: Any) -> str:
        return f', "{key}": {as_json(value)}' if self._json else f" {key}={word(value)}"


def _kept(texts: dict[_Key, str], key: _Key, text: str) -> str:
    """Remember a text for the next time; there is an end to how many."""
    if len(texts) >= _TEXTS:
        texts.clear()
    texts[key] = text
    return text
