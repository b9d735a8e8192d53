"""Imports the application in the master, so that its children share the memory and start at once.

What an import leaves behind in the master is told in the log, since a fork copies only part of it: threads are not
there in the children, and connections are the same ones in all of them.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from jobd.worker import log


@dataclass(frozen=True, slots=True)
class _State:
    """What of this process an import may change, in words for people."""

    threads: dict[int, str]
    connections: frozenset[str]
    handlers: dict[str, object]


def preload(load: Callable[[], int]) -> int:
    """Have `load` import the application; returns what it does, the number of jobs, and raises what it raises.

    To be called once, before the first fork and before the master installs its signal handlers: they replace those of
    the application. All that lives by then is kept from the garbage collector, which would copy the shared pages.
    """
    before = _look()
    jobs = load()
    _tell(before, _look())
    gc.collect()
    gc.freeze()
    return jobs


def _tell(before: _State, after: _State) -> None:
    threads = [name for ident, name in after.threads.items() if ident not in before.threads]
    if threads:
        hint = "no child has them, and a lock that one holds may stay locked there; start threads in the job"
        log.event("preload.threads", level=log.WARNING, threads=", ".join(sorted(threads)), hint=hint)
    connections = after.connections - before.connections
    if connections:
        hint = "all children would share them, and mix up the answers; connect in the job"
        log.event("preload.connections", level=log.WARNING, connections=", ".join(sorted(connections)), hint=hint)
    signals = [name for name, handler in after.handlers.items() if handler != before.handlers.get(name)]
    if signals:
        hint = "jobd puts its own handlers in the place of those for signals that it uses"
        log.event("preload.signals", level=log.WARNING, signals=", ".join(sorted(signals)), hint=hint)


def _look() -> _State:
    handlers: dict[str, object] = {
        signal.Signals(number).name: signal.getsignal(number)
        for number in signal.valid_signals()
        if number in iter(signal.Signals)
    }
    return _State(_threads(), _connections(), handlers)


def _threads() -> dict[int, str]:
    """The threads by their kernel id; those that Python does not know are named by it."""
    known = {thread.native_id: thread.name for thread in threading.enumerate()}
    try:
        ids = [int(name) for name in os.listdir("/proc/self/task")]
    except FileNotFoundError:  # not on Linux
        ids = [ident for ident in known if ident is not None]
    return {ident: known.get(ident, f"thread {ident} of a library") for ident in ids}


def _connections() -> frozenset[str]:
    """Streams that this process has open; datagrams of several processes do not mix."""
    try:
        found = psutil.Process().net_connections(kind="all")
    except (psutil.Error, OSError):
        return frozenset()
    return frozenset(
        f"{_address(each.raddr) or _address(each.laddr) or 'unix socket'} (descriptor {each.fd})"
        for each in found
        if each.type != socket.SOCK_DGRAM
    )


def _address(address: object) -> str:
    """`host:port`, or the path of a unix socket, which only the side that listens knows; empty when there is none."""
    return ":".join(map(str, address)) if isinstance(address, tuple) else str(address)
