"""Tells systemd what becomes of this service: one datagram for each event, to the socket that `$NOTIFY_SOCKET` names.

Nothing here waits or fails: a manager that does not listen must not disturb the service. Without the variable every
method does nothing. When to tell what is up to the master.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, MutableMapping

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


def remove_from(environ: MutableMapping[str, str]) -> None:
    """Remove what is meant for the main process alone, so that neither children nor what they start speak for it."""
    for variable in VARIABLES:
        environ.pop(variable, None)


class Notifier:
    """systemd's view of this process, read from `environ` once; the environment may be cleared afterwards."""

    def __init__(self, environ: Mapping[str, str], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._monotonic = monotonic
        self.watchdog_interval = _watchdog_interval(environ) if self._address else None
        """Seconds within which systemd wants to hear of `watchdog`; None if it does not watch this process."""
        self._fed_at = monotonic()
        self._started = False

    def ready(self, status: str) -> None:
        """The service has started; `status` is shown by `systemctl status`."""
        self._started = True
        self._send("READY=1", _status(status))

    def reloaded(self, status: str) -> None:
        """A reload has ended. One that came before the end of the start is not told: it would look like that."""
        if self._started:
            self.ready(status)

    def reloading(self) -> None:
        """A reload has begun, and lasts until `reloaded`. By the time systemd knows which request this answers."""
        if self._started:
            self._send("RELOADING=1", f"MONOTONIC_USEC={round(self._monotonic() * 1_000_000)}")

    def status(self, text: str) -> None:
        """Show `text` in `systemctl status`."""
        self._send(_status(text))

    def stopping(self) -> None:
        """The service has begun to stop."""
        self._send("STOPPING=1")

    def extend(self, seconds: float) -> None:
        """Ask for `seconds` from now for the start or the stop that is under way, whatever the unit's limit."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def watchdog(self) -> None:
        """Show that the caller's loop turns; to be called often, sends when half of `watchdog_interval` has passed."""
        if self.watchdog_interval is None:
            return
        now = self._monotonic()
        # One that did not get through is sent again at the next call.
        if now - self._fed_at >= self.watchdog_interval / 2 and self._send("WATCHDOG=1"):
            self._fed_at = now

    def _send(self, *assignments: str) -> bool:
        if self._address is None:
            return False
        message = "\n".join(assignments).encode("utf-8", "backslashreplace")
        # A socket for each datagram: systemd may have been restarted, and a child must not inherit one.
        try:
            with socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            ) as sender:
                sender.sendto(message, self._address)
        except OSError:
            return False
        return True


def _address(variable: str) -> str | None:
    """The socket's address; `@` stands for the zero byte that abstract names begin with. None if it is not AF_UNIX."""
    if variable.startswith("@"):
        return "\0" + variable[1:]
    return variable if variable.startswith("/") else None


def _watchdog_interval(environ: Mapping[str, str]) -> float | None:
    """The watchdog's interval, unless none is set, or it watches another process (that started this one)."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    watched = environ.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdecimal() or int(microseconds) == 0 or watched != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000


def _status(text: str) -> str:
    # A line break would begin another assignment.
    return "STATUS=" + " ".join(text.splitlines())
