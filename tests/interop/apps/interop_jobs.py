"""Jobs of the Python side. Each notes in the list `seen` of Redis what it was called with."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

from redis import Redis

import jobd

_redis = Redis.from_url(os.environ["INTEROP_URL"])


def see(name: str, args: Any) -> None:
    """Note a call."""
    seen = {"by": "python", "class": name, "args": args, "jid": jobd.current_job().jid, "pid": os.getpid()}
    _redis.rpush("seen", json.dumps(seen))


@jobd.job(name="PythonSeen", queue="python")
def python_seen(*args: Any) -> None:
    """Only notes."""
    see("PythonSeen", list(args))


@jobd.job(name="RubyBreaks", queue="python")
def ruby_breaks(text: str) -> None:
    """Ruby fails at it, Python does not."""
    see("RubyBreaks", [text])


@jobd.job(name="PythonBreaks", queue="python", retry_queue="ruby", backtrace=2)
def python_breaks(text: str) -> None:
    """Fails."""
    raise ValueError(f"boom é {text}")


@jobd.job(name="BothBreak", queue="python")
def both_break(text: str) -> None:
    """Fails, as in Ruby."""
    see("BothBreak", [text])
    raise RuntimeError(text)


@jobd.job(name="PutOff", queue="python")
def put_off() -> None:
    """Asks to run later."""
    raise jobd.RetryLater(3600, "the printer is busy")


@jobd.job(name="Hold", queue="python")
def hold(*args: Any) -> None:
    """Lasts until it is released."""
    see("Hold", list(args))
    while not _redis.exists("release"):
        threading.Event().wait(0.02)


@jobd.job(name="NotNow", queue="python")
def not_now() -> None:
    """Puts itself off."""
    raise jobd.RetryLater(3600)
