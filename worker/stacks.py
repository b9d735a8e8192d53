"""What every thread of this process does at the moment, and for which job: the answer to a request through Redis.

Places in the code only: no values of variables. For the log there is `jobd.supervisor.stacks`.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterable, Sequence
from types import FrameType

import msgspec

from jobd.client import defaults
from jobd.client import payload as wire
from jobd.client.errors import MalformedPayload
from jobd.client.stacks import Frame, Stacks, ThreadStack
from jobd.worker.processor import InProgress, thread_id

_MAX_TEXT = 300
"""Characters of a line, of a name and of a path."""


def written(running: Sequence[InProgress], at: float) -> bytes:
    """The stacks of all threads at `at` (epoch seconds), of which `running` run a job, as they stand in Redis."""
    jobs = {item.thread: item for item in running}
    current = sys._current_frames()
    # With its own frame this function would be kept alive by what it holds, and all other threads' variables with it.
    current.pop(threading.get_ident(), None)
    threads = [
        _thread(thread, frame, jobs.get(thread_id(thread.native_id or 0)))
        for thread in threading.enumerate()
        if thread is not threading.current_thread() and (frame := current.get(thread.ident or 0)) is not None
    ]
    threads.sort(key=lambda each: (not each.jid, each.since, each.name))
    return within(threads, at, defaults.STACKS_BYTES)


def within(threads: Iterable[ThreadStack], at: float, most: int) -> bytes:
    """As many of the threads as have room in `most` bytes, the first ones, and how many have none."""
    used, kept, left_out = 200, list[ThreadStack](), 0
    for thread in threads:
        size = len(msgspec.json.encode(thread)) + 1
        if used + size > most:
            left_out += 1
        else:
            used += size
            kept.append(thread)
    return msgspec.json.encode(Stacks(at, tuple(kept), left_out))


def _thread(thread: threading.Thread, frame: FrameType, item: InProgress | None) -> ThreadStack:
    calls = [*traceback.walk_stack(frame)]
    shown = traceback.StackSummary.extract(calls[: defaults.STACKS_FRAMES], lookup_lines=True)
    frames = [
        Frame(_cut(each.filename), each.lineno or 0, _cut(each.name), _cut((each.line or "").strip()))
        for each in reversed(shown)
    ]
    jid, job = ("", "") if item is None else _job(item)
    return ThreadStack(
        thread=thread_id(thread.native_id or 0),
        name=_cut(thread.name),
        jid=jid,
        job=job,
        since=item.started if item else 0.0,
        frames=tuple(frames),
        left_out=len(calls) - len(frames),
    )


def _job(item: InProgress) -> tuple[str, str]:
    """Id and name of the job that a thread runs."""
    try:
        fields = wire.decode(item.job.payload)
    except MalformedPayload:
        return "?", ""
    return _cut(str(fields.get("jid") or "?")), _cut(str(next(iter(wire.dispatch_names(fields)), "")))


def _cut(text: str) -> str:
    # Paths that are no UTF-8 come with lone surrogates, which no JSON holds.
    return text.encode("utf-8", "replace").decode()[:_MAX_TEXT]
