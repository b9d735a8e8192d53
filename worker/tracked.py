"""A connection on which the server tells of changes: client tracking (Redis 6 and newer, RESP3).

After keys were read here, the server sends one message as soon as anybody changes one of them, in whatever way.
Tracking is switched on each time it connects, as redis-py would reconnect without it.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from jobd.client.connection import Connector
from jobd.worker.outage import Outage
from jobd.worker.wakeup import Wakeup


class Tracked:
    """Asks about keys and listens for their changes. Used by one thread; after an error the owner hangs up."""

    def __init__(self, connector: Connector, *, wakeup: Wakeup, outage: Outage) -> None:
        """`wakeup` ends `listen` early."""
        self._connector, self._wakeup, self._outage = connector, wakeup, outage
        self._connection: Any = None
        self.opened = 0.0
        """When it last connected, in monotonic seconds."""
        self.available = True
        """False once a server or proxy has refused tracking."""

    def open(self) -> bool:
        """Be connected; False where nothing can be heard. Raises redis-py's errors, RedisUnavailable and OSError."""
        if self._connection is not None and self._outage.outdates(self.opened):
            # It might be dead and not know it, and keep everybody waiting until a reply is overdue.
            self.hang_up()
        if self._connection is None and self.available:
            self._connect()
        return self.available

    @property
    def is_open(self) -> bool:
        """Whether it is connected, as far as is known."""
        return self._connection is not None

    def ask(self, commands: Sequence[Sequence[str]]) -> tuple[list[Any], bool]:
        """The replies to reading commands, errors as values, and whether a change was told meanwhile.

        From then on the keys that they read are watched.
        """
        self._connection.send_packed_command(self._connection.pack_commands(commands))
        rang, replies = False, []
        for _ in commands:
            while (reply := self._read()) is None:
                rang = True
            replies.append(reply)
        return replies, rang

    def listen(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a change. True: one was told, and the keys are not watched any more."""
        poller = select.poll()
        poller.register(self._connection._sock, select.POLLIN)
        poller.register(self._wakeup.fd, select.POLLIN)
        if self._connection.can_read(0) or any(fd != self._wakeup.fd for fd, _ in poller.poll(timeout * 1000)):
            self._read()
            return True
        return False

    def hang_up(self) -> None:
        """Close the connection; `open` makes another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def _read(self) -> Any:
        """The next reply; an error as a value; None for a message that the server sent by itself."""
        try:
            return self._connection.read_response(push_request=True)
        except ResponseError as error:
            return error

    def _connect(self) -> None:
        connection, self.opened = self._connector.dedicated(push=True), time.monotonic()
        try:
            connection.connect()
            connection.send_command("CLIENT", "TRACKING", "ON", "NOLOOP")
            connection.read_response()
        except ResponseError as error:
            connection.disconnect()
            self.available = False
            self._outage.no_tracking(error)
            return
        except BaseException:
            connection.disconnect()
            raise
        self._connection = connection
