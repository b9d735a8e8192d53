"""Sending jobs to Redis, and telling what became of them.

`draft.py` has checked what comes here. A push is sent once and never again: when its reply is lost,
only the application can know whether running the job twice would do harm.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

from jobd.client import defaults, draft, payload, settings
from jobd.client.draft import Item
from jobd.client.errors import InvalidArguments, JobdError, PushOutcomeUnknown, PushRefused
from jobd.client.keys import Keys
from jobd.client.payload import Timestamps
from jobd.client.times import Wait

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from jobd.client.scripts import Call

T = TypeVar("T")

_REMEDIES = {
    "OOM": "its memory is full: raise maxmemory, or let workers empty the queues",
    "READONLY": "it is a replica: point redis_url at the primary, or use redis+sentinel://",
    "WRONGTYPE": "another application uses the key: choose another database, or set a namespace",
    "NOPERM": "the user lacks a right: grant it with ACL SETUSER",
    "NOAUTH": "it asks for a login: put user and password into redis_url",
    "LOADING": "it is still reading its data: push again in a moment",
    "MISCONF": "it cannot save to disk: see its log",
    "NOREPLICAS": "too few replicas are connected: see min-replicas-to-write",
    "CROSSSLOT": "it is a cluster: set a namespace with a hash tag, such as {billing}:",
}
"""What the first word of an answer of Redis means for a push."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """One round trip, and the jobs in it."""

    call: Call[None]
    jids: list[str]


class Client:
    """Pushes jobs to one Redis. Safe across threads, forks and event loops; connects with the first push.

    - `url`: address of Redis; default as configured, `$JOBD_REDIS_URL`, `$REDIS_URL`, else
      `redis://localhost:6379/0`.
    - `namespace`: prefix of all keys; default as configured, else none.
    - `timestamps`: `"s"`, or `"ms"` when every reader is Sidekiq 8 or newer; default as configured,
      else `"s"`.

    Default options and client middleware are those of `jobd.configure`. Every push may raise
    `InvalidPayload`, `InvalidArguments`, `RedisUnavailable` (nothing was sent), `PushRefused` (Redis
    said no) or `PushOutcomeUnknown` (the jobs in its `jids` may be in Redis).
    """

    def __init__(
        self, url: str | None = None, *, namespace: str | None = None, timestamps: Timestamps | None = None
    ) -> None:
        # Here and not at the top: redis-py takes longer to import than all the rest of `import jobd`.
        from jobd.client.connection import Connector

        configured = settings.current()
        self._connector = Connector(settings.redis_url(url))
        self._keys = Keys(configured.namespace if namespace is None else namespace)
        self._timestamps: Timestamps = timestamps or configured.timestamps
        self._closers: WeakKeyDictionary[AbstractEventLoop, AsyncGenerator[None, None]] = WeakKeyDictionary()

    def push(self, item: Mapping[str, Any]) -> str | None:
        """Push one job described as a dictionary: `push({"class": "HardWorker", "args": ["bob", 5]})`.

        `class` is a name, or a job of this process. Beside `args` it may hold `kwargs`, any option,
        `jid`, and one of `at` (epoch seconds, aware datetime), `wait` (seconds, timedelta) and
        `wait_until`. Returns the jid, or None when client middleware stopped the push.
        """
        return self.push_item(draft.read_item(item))

    async def apush(self, item: Mapping[str, Any]) -> str | None:
        """`push` for asyncio."""
        return await self.apush_item(draft.read_item(item))

    def push_bulk(
        self, items: Mapping[str, Any], *, spread: Wait | None = None, batch_size: int = defaults.BULK_SIZE
    ) -> list[str | None]:
        """Push one job for each element of `args`: `push_bulk({"class": "Send", "args": [[1], [2]]})`.

        `args` may be any iterable and is read as the push proceeds, a round trip for each `batch_size`
        (at most 1,000) jobs; `at` is one time or a list of them; `spread` starts each job at random within
        so many seconds. Returns the jids in order, None where client middleware stopped a push. After an
        error, its `pushed` lists the jobs that were pushed before.
        """
        times = draft.bulk_times(items.get("at"), spread)
        return self.push_items(draft.read_items(items, times), batch_size)

    async def apush_bulk(
        self, items: Mapping[str, Any], *, spread: Wait | None = None, batch_size: int = defaults.BULK_SIZE
    ) -> list[str | None]:
        """`push_bulk` for asyncio."""
        times = draft.bulk_times(items.get("at"), spread)
        return await self.apush_items(draft.read_items(items, times), batch_size)

    def push_item(self, item: Item) -> str | None:
        """Push one checked item; as `push`."""
        [jid], parcels = self._pack([item])
        self._send(parcels, [])
        return jid

    async def apush_item(self, item: Item) -> str | None:
        """`push_item` for asyncio."""
        [jid], parcels = self._pack([item])
        await self._asend(parcels, [])
        return jid

    def push_items(self, items: Iterable[Item], batch_size: int = defaults.BULK_SIZE) -> list[str | None]:
        """Push checked items; as `push_bulk`."""
        jids: list[str | None] = []
        pushed: list[str] = []
        with _telling_of(pushed):
            for batch in _batches(items, batch_size):
                batch_jids, parcels = self._pack(batch)
                self._send(parcels, pushed)
                jids += batch_jids
        return jids

    async def apush_items(self, items: Iterable[Item], batch_size: int = defaults.BULK_SIZE) -> list[str | None]:
        """`push_items` for asyncio."""
        jids: list[str | None] = []
        pushed: list[str] = []
        with _telling_of(pushed):
            for batch in _batches(items, batch_size):
                batch_jids, parcels = self._pack(batch)
                await self._asend(parcels, pushed)
                jids += batch_jids
        return jids

    def close(self) -> None:
        """Close the idle connections of this process; the client stays usable."""
        self._connector.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop, as its end does too; the client stays usable."""
        await self._connector.aclose()

    def _pack(self, items: Sequence[Item]) -> tuple[list[str | None], list[Parcel]]:
        """Return the jid of each item, None for a stopped one, and what is to be sent."""
        now = time.time()
        payloads = [draft.complete(item, now, self._timestamps) for item in items]
        jids = [None if fields is None else fields["jid"] for fields in payloads]
        return jids, self._parcels([fields for fields in payloads if fields is not None], now)

    def _parcels(self, payloads: Iterable[dict[str, Any]], now: float) -> list[Parcel]:
        from jobd.client import scripts

        later: list[tuple[str, float, bytes]] = []
        queues: dict[str, list[tuple[str, bytes]]] = {}
        for fields in payloads:
            at = fields.pop("at", None)
            if at is not None and at > now:
                later.append((fields["jid"], at, payload.encode(fields)))
            else:
                payload.stamp(fields, now, self._timestamps)
                queues.setdefault(fields["queue"], []).append((fields["jid"], payload.encode(fields)))
        parcels = [
            Parcel(scripts.push_now(self._keys, queue, [raw for _, raw in jobs]), [jid for jid, _ in jobs])
            for queue, jobs in queues.items()
        ]
        if later:
            call = scripts.push_later(self._keys, [(at, raw) for _, at, raw in later])
            parcels.append(Parcel(call, [jid for jid, _, _ in later]))
        return parcels

    def _send(self, parcels: Iterable[Parcel], pushed: list[str]) -> None:
        from jobd.client import scripts

        for parcel in parcels:
            with _outcome(parcel.jids), self._connector.connection() as connection:
                scripts.send(connection, parcel.call)
            pushed += parcel.jids

    async def _asend(self, parcels: Iterable[Parcel], pushed: list[str]) -> None:
        from jobd.client import scripts

        await self._close_with_the_loop()
        for parcel in parcels:
            with _outcome(parcel.jids):
                async with self._connector.aconnection() as connection:
                    await scripts.asend(connection, parcel.call)
            pushed += parcel.jids

    async def _close_with_the_loop(self) -> None:
        """See to it that the end of the running event loop closes the connections made in it.

        asyncio has no hook for that, but closes asynchronous generators that were begun.
        """
        from asyncio import get_running_loop

        loop = get_running_loop()
        if loop not in self._closers:
            self._closers[loop] = self._closer(loop)
            await anext(self._closers[loop])

    async def _closer(self, loop: AbstractEventLoop) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._closers.pop(loop, None)
            await self._connector.aclose()


@contextmanager
def _outcome(jids: Sequence[str]) -> Iterator[None]:
    """Turn redis-py's errors into what they say about the push of `jids`."""
    from redis import exceptions as redis_errors

    # Login and loading are connection errors by class in redis-py, yet the server has answered.
    answers = (redis_errors.ResponseError, redis_errors.AuthenticationError, redis_errors.BusyLoadingError)
    try:
        yield
    except answers as error:
        raise PushRefused(refusal(error)) from error
    except (redis_errors.RedisError, OSError) as error:
        shown = ", ".join(jids[:3]) + (f" and {len(jids) - 3} more" if len(jids) > 3 else "")
        raise PushOutcomeUnknown(
            f"the connection to Redis broke before the answer to a push ({error or type(error).__name__}): "
            f"{shown} may be queued or not; push again only if running twice does no harm",
            jids,
        ) from error


def refusal(error: Exception) -> str:
    """Say what an error that Redis answered to a push means, and what to do."""
    # redis-py cuts the first word off the errors that it has a class for; scripts put it further back.
    by_class = {
        "OutOfMemoryError": "OOM",
        "ReadOnlyError": "READONLY",
        "NoPermissionError": "NOPERM",
        "AuthenticationError": "NOAUTH",
        "BusyLoadingError": "LOADING",
    }
    words = str(error).replace("-", " ").split()
    code = by_class.get(type(error).__name__) or next((word for word in words if word in _REMEDIES), "")
    remedy = f"; {_REMEDIES[code]}" if code else ""
    return f"Redis refused the push: {error}{remedy}"


@contextmanager
def _telling_of(pushed: list[str]) -> Iterator[None]:
    """Note on an error which jobs of a bulk push are in Redis already."""
    try:
        yield
    except JobdError as error:
        error.pushed = tuple(pushed)
        if pushed:
            error.add_note(f"{len(pushed)} jobs of this bulk push were pushed before; `pushed` lists them")
        raise


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= defaults.BULK_SIZE:
        raise InvalidArguments(f"batch_size is {size!r}; give a number from 1 to {defaults.BULK_SIZE:,}")
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


@dataclass(frozen=True, slots=True)
class _Default:
    """The client that jobs push with, and what it was made from."""

    settings: settings.Settings
    url: str
    client: Client


_lock = threading.Lock()
_default: _Default | None = None


def default_client() -> Client:
    """Return the client that jobs push with; a new one when settings or environment have changed."""
    global _default
    if (client := _held_client()) is not None:
        return client
    with _lock:
        if (client := _held_client()) is not None:
            return client
        stale, _default = _default, _Default(settings.current(), settings.redis_url(), Client())
    if stale is not None:
        stale.client.close()
    return _default.client


def _held_client() -> Client | None:
    held = _default
    if held is None or held.settings is not settings.current() or held.url != settings.redis_url():
        return None
    return held.client


def _renew_lock() -> None:
    """Another thread of the parent may have held it at the fork."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
