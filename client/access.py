"""How the API reaches the Redis of a client: reads, changes, and what an error of either means.

What is read and changed stands in the modules that use it: `queues.py`, `sets.py`, `processes.py`,
`stats.py`, `metrics.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError

from jobd.client import clock, scripts
from jobd.client.connection import LOST
from jobd.client.errors import ChangeOutcomeUnknown, RedisRefused
from jobd.client.keys import Keys
from jobd.client.payload import Timestamps
from jobd.client.push import Client, default_client
from jobd.client.reading import Reads
from jobd.client.scripts import Call

T = TypeVar("T")

_ANSWERS = (ResponseError, AuthenticationError, BusyLoadingError)


class Access:
    """One client's Redis; without a client that of the jobs of this process, as it is configured at each call.

    Every method may raise `RedisUnavailable` (no connection), `RedisRefused` (Redis said no), and for a change
    `ChangeOutcomeUnknown`.
    """

    def __init__(self, client: Client | None = None) -> None:
        self._client = client

    @property
    def client(self) -> Client:
        """The client itself."""
        return self._client or default_client()

    @property
    def keys(self) -> Keys:
        """The names of its keys."""
        return self.client.keys

    @property
    def timestamps(self) -> Timestamps:
        """How times are written into payloads."""
        return self.client.timestamps

    def now(self) -> float:
        """Epoch seconds by this machine's clock, as pushes use it."""
        return clock.now()

    def server_now(self) -> float:
        """Epoch seconds by the server's clock, in which workers stamp what they write."""
        seconds, micros = self.read(lambda redis: redis.time())
        return float(seconds) + float(micros) / 1e6 + clock.ahead

    def read(self, ask: Callable[[Any], T]) -> T:
        """Return what `ask` returns, which is given redis-py's client."""
        connector = self.client.connector
        try:
            return ask(connector.client())
        except _ANSWERS as error:
            raise RedisRefused(f"Redis refused to answer: {error}") from error
        except (RedisError, OSError) as error:
            raise connector.unavailable(error) from error

    def read_all(self, commands: Callable[[Any], object]) -> list[Any]:
        """Return the answers to what `commands` puts into a pipeline; that of a key of a wrong type is None."""
        return self.all_judged(self.read_each(commands))

    def read_each(self, commands: Callable[[Any], object]) -> list[Any]:
        """The same with refusals as they are: `ResponseError`s among the answers."""

        def ask(redis: Any) -> list[Any]:
            reads = Reads(redis.connection_pool, redis.response_callbacks, transaction=False, shard_hint=None)
            commands(reads)
            return reads.answers()

        answers = self.read(ask)
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, ResponseError):
                raise self.client.connector.unavailable(answer) from answer
        return answers

    def all_judged(self, answers: list[Any]) -> list[Any]:
        """Each of the answers of `read_each` as `judged` says."""
        return [self.judged(each) if isinstance(each, ResponseError) else each for each in answers]

    def judged(self, answer: Any) -> Any:
        """An answer of `read_each`; None for a key of a wrong type. Raises `RedisRefused` for other refusals."""
        if not isinstance(answer, ResponseError):
            return answer
        # Without the right to ask, say, an empty answer would pass for an empty Redis.
        if not str(answer).startswith("WRONGTYPE"):
            raise RedisRefused(f"Redis refused to answer: {answer}") from answer
        return None

    def change(self, call: Call[T]) -> T:
        """Carry out a script once."""
        with self._changing(), self.client.connector.connection() as connection:
            return scripts.send(connection, call)

    def write(self, command: Callable[[Any], T]) -> T:
        """Return what `command` returns, which changes something with the redis-py client that it is given."""
        connector = self.client.connector
        with connector.connection():
            pass  # without a connection nothing is sent, which is another error than a lost answer
        with self._changing():
            return command(connector.client())

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            yield
        except _ANSWERS as error:
            raise RedisRefused(f"Redis refused the change: {error}") from error
        except LOST as error:
            raise ChangeOutcomeUnknown(
                f"the connection to Redis broke before the answer to a change ({error or type(error).__name__}): "
                "it may have been made; look, and make it again if not"
            ) from error
