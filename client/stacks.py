"""What the threads of a worker process do at a moment, as the process has written it on request: `Stacks`.

How it is asked for is in `processes.py`, what writes it in `worker/stacks.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Frame:
    """One call: its place in the code, the function's name, and the line itself if its file could be read."""

    file: str
    line: int
    function: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class ThreadStack:
    """One thread, the outermost call first; `left_out` outer calls are not told.

    `jid` and `job` name the job that it runs, `since` (epoch seconds) when that began; without a job they are empty
    and 0.0. `thread` is its number as in `Work.thread`.
    """

    thread: str
    name: str
    jid: str
    job: str
    since: float
    frames: tuple[Frame, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Stacks:
    """All threads of a process `at` a time (epoch seconds, the server's), those that run a job first.

    `left_out` more had no room.
    """

    at: float
    threads: tuple[ThreadStack, ...]
    left_out: int = 0


def read_stacks(raw: bytes | None) -> Stacks | None:
    """What a process has written; None when that is nothing, or cannot be read."""
    if raw is None:
        return None
    try:
        return msgspec.json.decode(raw, type=Stacks)
    except (msgspec.DecodeError, RecursionError):
        return None
