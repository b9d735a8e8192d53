"""Takes away all but one of the ways by which a worker process learns that its master has ended.

`$JOBD_TEST_LIFELINE` is what is left: `signal`, `channel`, or `look`, at its parent after the fork. Before that look it
makes the file `in-the-gap` in its directory, and waits for a file `go-on`.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from jobd.supervisor import child, serve
from jobd.supervisor.channel import Channel

left = os.environ["JOBD_TEST_LIFELINE"]
die_with = child.die_with


def look_only(parent: int) -> bool:
    """As a system without the signal does."""
    return os.getppid() == parent


def wait_in_the_gap(parent: int) -> bool:
    """As a process that gets no time of a processor."""
    Path("in-the-gap").touch()
    while not Path("go-on").exists():
        threading.Event().wait(0.01)
    return die_with(parent)


def listen_to_nobody(server: serve.Server, master: Channel) -> None:
    """As if the other end were open for ever."""


match left:
    case "channel":
        child.die_with = look_only
    case "signal":
        serve.Server.listen_to = listen_to_nobody
    case "look":
        serve.Server.listen_to = listen_to_nobody
        child.die_with = wait_in_the_gap
    case _:
        raise AssertionError(left)
