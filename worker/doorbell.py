"""Waiting for work without asking for it: the server tells when a queue changes.

On a connection of its own, client tracking (Redis 6 and newer, RESP3) is switched on each time it connects. After an
empty fetch the queues are looked at once more on this connection; from then on the server sends one message as soon as
anybody pushes, pauses, renames or flushes. A server or proxy without tracking is polled.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import RedisError, ResponseError

from jobd.client import defaults
from jobd.client.connection import Connector
from jobd.client.errors import RedisUnavailable
from jobd.client.keys import Keys
from jobd.worker import log
from jobd.worker.outage import Outage


class Wakeup:
    """Ends a wait from another thread. Once set it stays set, for all who wait, until it is cleared."""

    def __init__(self) -> None:
        self.fd, self._write_end = os.pipe()
        for end in (self.fd, self._write_end):
            os.set_blocking(end, False)

    def set(self) -> None:
        """Wake everybody who waits, now and later."""
        try:
            os.write(self._write_end, b"!")
        except BlockingIOError:
            return

    def clear(self) -> None:
        """Let whoever waits from now on wait. By the thread that sets it."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.fd, 4096):
                pass

    def wait(self, timeout: float) -> None:
        """Wait up to `timeout` seconds."""
        poller = select.poll()
        poller.register(self.fd, select.POLLIN)
        poller.poll(timeout * 1000)

    def close(self) -> None:
        """Give the descriptors back; nobody may wait any more."""
        os.close(self.fd)
        os.close(self._write_end)


def lost_race_pause(races: int, chance: float) -> float:
    """Seconds to wait after so many rings in a row that led to nothing; `chance` is from 0 up to 1."""
    return float(chance * defaults.LOST_RACE_UNIT * 2 ** min(races, defaults.LOST_RACE_DOUBLINGS))


class Doorbell:
    """Waits for work in some queues. Used by one thread at a time."""

    def __init__(
        self, connector: Connector, keys: Keys, queues: Sequence[str], *, wakeup: Wakeup, outage: Outage
    ) -> None:
        self._connector, self._keys, self._queues = connector, keys, tuple(queues)
        self._wakeup, self._outage = wakeup, outage
        self._connection: Any = None
        self._opened = 0.0
        self._tracking = True
        self._poll = defaults.POLL_MIN
        self._lost_races = 0

    def wait(self) -> None:
        """Return when there may be work, when woken, and at the latest after two seconds."""
        if not self._tracking:
            self._wakeup.wait(self._poll)
            self._poll = min(self._poll * 2, defaults.POLL_MAX)
            return
        if self._lost_races:
            # One push wakes every idle process: whoever came too late makes room for the others.
            self._wakeup.wait(lost_race_pause(self._lost_races, random.random()))
        if self._outage.outdates(self._opened):
            # It might be dead and not know it, and keep everybody waiting until a reply is overdue.
            self._hang_up()
        try:
            rang = self._armed() or self._listen()
            self._lost_races = self._lost_races + 1 if rang else 0
        except (RedisError, RedisUnavailable, OSError) as error:
            self._outage.failed(error, self._opened)
            self._hang_up()
            self._wakeup.wait(defaults.RECONNECT_MIN)

    def worked(self) -> None:
        """Note that a fetch found something: waiting becomes eager again."""
        self._poll = defaults.POLL_MIN
        self._lost_races = 0

    def close(self) -> None:
        """Close the connection."""
        self._hang_up()

    def _armed(self) -> bool:
        """Have the server watch the queues. True when there is work already, or nothing can be heard here."""
        if self._connection is None and not self._connect():
            return True
        connection: Any = self._connection
        names = [("LLEN", self._keys.queue(name)) for name in self._queues]
        connection.send_packed_command(connection.pack_commands([*names, ("SMEMBERS", self._keys.paused)]))
        rang, lengths = False, []
        for _ in range(len(names) + 1):
            while (reply := self._read()) is None:
                rang = True
            lengths.append(reply)
        paused = lengths.pop()
        paused_names = set(paused) if isinstance(paused, set | list) else set()
        waiting = [
            name
            for name, length in zip(self._queues, lengths, strict=True)
            if isinstance(length, int) and length and name.encode() not in paused_names
        ]
        return rang or bool(waiting)

    def _listen(self) -> bool:
        """Wait for a message; True when one came."""
        poller = select.poll()
        poller.register(self._connection._sock, select.POLLIN)
        poller.register(self._wakeup.fd, select.POLLIN)
        if self._connection.can_read(0) or any(
            fd != self._wakeup.fd for fd, _ in poller.poll(defaults.MAX_WAIT * 1000)
        ):
            self._read()
            return True
        return False

    def _read(self) -> Any:
        """The next reply; an error as a value; None for a message that the server sent by itself."""
        try:
            return self._connection.read_response(push_request=True)
        except ResponseError as error:
            return error

    def _connect(self) -> bool:
        connection, self._opened = self._connector.dedicated(push=True), time.monotonic()
        try:
            connection.connect()
            connection.send_command("CLIENT", "TRACKING", "ON", "NOLOOP")
            connection.read_response()
        except ResponseError as error:
            connection.disconnect()
            self._tracking = False
            log.event("redis.no_tracking", level=log.WARNING, error=str(error), hint="polling instead")
            return False
        except BaseException:
            connection.disconnect()
            raise
        self._connection = connection
        return True

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
