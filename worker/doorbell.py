"""Waiting for work without asking for it: the server tells when a queue changes.

After an empty fetch the queues are looked at once more on a tracked connection; from then on the server sends one
message as soon as anybody pushes, pauses, renames or flushes. A server or proxy without tracking is polled.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from redis.exceptions import RedisError

from jobd.client import defaults
from jobd.client.connection import Connector
from jobd.client.errors import RedisUnavailable
from jobd.client.keys import Keys
from jobd.worker.outage import Outage
from jobd.worker.tracked import Tracked
from jobd.worker.wakeup import Wakeup


def lost_race_pause(races: int, chance: float) -> float:
    """Seconds to wait after so many rings in a row that led to nothing; `chance` is from 0 up to 1."""
    return float(chance * defaults.LOST_RACE_UNIT * 2 ** min(races, defaults.LOST_RACE_DOUBLINGS))


class Doorbell:
    """Waits for work in some queues. Used by one thread at a time."""

    def __init__(
        self, connector: Connector, keys: Keys, queues: Sequence[str], *, wakeup: Wakeup, outage: Outage
    ) -> None:
        self._keys, self._queues = keys, tuple(queues)
        self._wakeup, self._outage = wakeup, outage
        self._line = Tracked(connector, wakeup=wakeup, outage=outage)
        self._poll = defaults.POLL_MIN
        self._lost_races = 0

    def wait(self) -> None:
        """Return when there may be work, when woken, and at the latest after two seconds."""
        if not self._line.available:
            self._wakeup.wait(self._poll)
            self._poll = min(self._poll * 2, defaults.POLL_MAX)
            return
        if self._lost_races:
            # One push wakes every idle process: whoever came too late makes room for the others.
            self._wakeup.wait(lost_race_pause(self._lost_races, random.random()))
        try:
            rang = self._has_work() or self._line.listen(defaults.MAX_WAIT)
            self._lost_races = self._lost_races + 1 if rang else 0
        except (RedisError, RedisUnavailable, OSError) as error:
            self._outage.failed(error, self._line.opened)
            self._line.hang_up()
            self._wakeup.wait(defaults.RECONNECT_MIN)

    @property
    def looks(self) -> bool:
        """Whether `wait` looks at the queues before it waits."""
        return self._line.available

    def worked(self) -> None:
        """Note that a fetch found something: waiting becomes eager again."""
        self._poll = defaults.POLL_MIN
        self._lost_races = 0

    def close(self) -> None:
        """Close the connection."""
        self._line.hang_up()

    def _has_work(self) -> bool:
        """Have the server watch the queues. True when there is work already, or nothing can be heard here."""
        if not self._line.open():
            return True
        lengths = [("LLEN", self._keys.queue(name)) for name in self._queues]
        (*replies, paused), rang = self._line.ask([*lengths, ("SMEMBERS", self._keys.paused)])
        names = set(paused) if isinstance(paused, set | list) else set()
        return rang or any(
            isinstance(length, int) and length and name.encode() not in names
            for name, length in zip(self._queues, replies, strict=True)
        )
