"""Example jobs of every fate, for `jobd demo`. Each notes in a file that it ran."""

from __future__ import annotations

import os
import threading

import jobd

RESULTS = "JOBD_DEMO_RESULTS"
"""The variable that names the file of results."""
CLOCK = "demo clock"
"""The entry of the cron that pushes `by_the_clock`."""


class Flaky(Exception):
    """Raised by jobs that are meant to fail."""


def _note(what: str) -> None:
    line = f"{jobd.current_job().jid} {what}\n".encode()
    fd = os.open(os.environ[RESULTS], os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


@jobd.job(queue="quick")
def quick(number: int) -> None:
    """Done in no time."""
    _note("done")


@jobd.job
def slow(seconds: float) -> None:
    """Takes a while."""
    threading.Event().wait(seconds)
    _note("done")


@jobd.job
def recovers() -> None:
    """Fails at first and succeeds when it is retried."""
    if jobd.current_job().attempt == 1:
        raise Flaky("the first attempt always fails")
    _note("done")


@jobd.job(retry=0)
def dies() -> None:
    """Never succeeds."""
    raise Flaky("this one never works")


@jobd.job
def later() -> None:
    """Was put off."""
    _note("done")


@jobd.job
def by_the_clock() -> None:
    """Is pushed by its entry of the cron."""
    _note("done")
