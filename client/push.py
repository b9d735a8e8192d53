"""Pushing jobs: one, or many in round trips of a thousand, to the Redis of a client.

`draft.py` has checked what comes here, `sender.py` sends it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from itertools import chain, islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

from jobd.client import clock, context, defaults, draft, outlet, payload, settings
from jobd.client.draft import Item, Template
from jobd.client.errors import InvalidArguments, JobdError
from jobd.client.keys import Keys
from jobd.client.payload import Timestamps
from jobd.client.times import Wait

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from jobd.client.connection import Connector
    from jobd.client.sender import Parcel, Posted, Sender

T = TypeVar("T")

Packed: TypeAlias = "tuple[list[str | None], list[Parcel]]"
"""The jid of each job in its order, None for a stopped one, and what is to be sent."""


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
        from jobd.client import pipeline, scripts, sender
        from jobd.client.connection import Connector

        configured = settings.current()
        self._connector = Connector(settings.redis_url(url))
        self._sender = sender.Sender(self._connector)
        self._parcel = sender.Parcel
        self._scripts, self._pipeline = scripts, pipeline
        self._keys = Keys(configured.namespace if namespace is None else namespace)
        self._timestamps: Timestamps = timestamps or configured.timestamps
        self._closers: WeakKeyDictionary[AbstractEventLoop, AsyncGenerator[None, None]] = WeakKeyDictionary()

    @property
    def connector(self) -> Connector:
        """Gives connections to its Redis."""
        return self._connector

    @property
    def keys(self) -> Keys:
        """The names of its keys."""
        return self._keys

    @property
    def timestamps(self) -> Timestamps:
        """How it writes times into payloads."""
        return self._timestamps

    def for_looking(self, seconds: float) -> Client:
        """A client of the same Redis that waits no longer than `seconds` for a connection or a reply.

        It is meant for those who look, and is closed by itself.
        """
        twin = copy(self)
        twin._connector = self._connector.for_looking(seconds)
        twin._sender = type(self._sender)(twin._connector)
        twin._closers = WeakKeyDictionary()
        return twin

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
        error, its `pushed` lists the jobs that were pushed before; up to `batch_size` jobs after those
        that failed have been read from `args` then, and not pushed.
        """
        return self._push_all(self._pack_bulk(items, spread, batch_size))

    async def apush_bulk(
        self, items: Mapping[str, Any], *, spread: Wait | None = None, batch_size: int = defaults.BULK_SIZE
    ) -> list[str | None]:
        """`push_bulk` for asyncio."""
        return await self._apush_all(self._pack_bulk(items, spread, batch_size))

    def push_item(self, item: Item) -> str | None:
        """Push one checked item; as `push`."""
        [jid], parcels = self._pack([item])
        self._send(parcels)
        return jid

    async def apush_item(self, item: Item) -> str | None:
        """`push_item` for asyncio."""
        [jid], parcels = self._pack([item])
        await self._asend(parcels)
        return jid

    def push_items(self, items: Iterable[Item], batch_size: int = defaults.BULK_SIZE) -> Iterator[list[str | None]]:
        """Push checked items, read as the push proceeds; yields the jids of each round trip once it is made.

        After an error its `pushed` lists the jobs of its own round trip that were pushed before.
        """
        for batch in _batches(items, batch_size):
            jids, parcels = self._pack(batch)
            pushed: list[str] = []
            with _telling_of(pushed):
                for parcel in parcels:
                    self._sender.send(parcel)
                    pushed += parcel.jids
            yield jids

    def push_call(
        self, template: Template, args: Sequence[Any], kwargs: Mapping[str, Any], at: float | None = None
    ) -> str | None:
        """Push one call of a job, `at` epoch seconds or now; as `push`."""
        [jid], parcels = self._pack_call(template, args, kwargs, at)
        self._send(parcels)
        return jid

    async def apush_call(
        self, template: Template, args: Sequence[Any], kwargs: Mapping[str, Any], at: float | None = None
    ) -> str | None:
        """`push_call` for asyncio."""
        [jid], parcels = self._pack_call(template, args, kwargs, at)
        await self._asend(parcels)
        return jid

    def push_calls(
        self,
        template: Template,
        calls: Iterable[Sequence[Any]],
        times: Iterator[float | None] | None,
        batch_size: int = defaults.BULK_SIZE,
    ) -> list[str | None]:
        """Push a call of a job for each of `calls`, positional arguments, now or each at its time; as `push_bulk`."""
        return self._push_all(self._pack_calls(template, calls, times, batch_size))

    async def apush_calls(
        self,
        template: Template,
        calls: Iterable[Sequence[Any]],
        times: Iterator[float | None] | None,
        batch_size: int = defaults.BULK_SIZE,
    ) -> list[str | None]:
        """`push_calls` for asyncio."""
        return await self._apush_all(self._pack_calls(template, calls, times, batch_size))

    def close(self) -> None:
        """Close the idle connections of this process; the client stays usable."""
        self._connector.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop, as its end does too; the client stays usable."""
        await self._connector.aclose()

    def _push_all(self, packs: Iterable[Packed]) -> list[str | None]:
        jids: list[str | None] = []
        pushed: list[str] = []
        with _telling_of(pushed), _Convoy(self._sender, pushed) as convoy:
            for batch_jids, parcels in packs:
                for parcel in parcels:
                    convoy.send(parcel)
                jids += batch_jids
        return jids

    async def _apush_all(self, packs: Iterable[Packed]) -> list[str | None]:
        jids: list[str | None] = []
        pushed: list[str] = []
        with _telling_of(pushed):
            for batch_jids, parcels in packs:
                await self._asend(parcels, pushed)
                jids += batch_jids
        return jids

    def _pack_call(
        self, template: Template, args: Sequence[Any], kwargs: Mapping[str, Any], at: float | None
    ) -> Packed:
        args, kwargs = template.bind(args, kwargs)
        if kwargs or at is not None:
            return self._pack([template.item(args, kwargs, at)])
        return self._fill(template, [args])

    def _pack_calls(
        self,
        template: Template,
        calls: Iterable[Sequence[Any]],
        times: Iterator[float | None] | None,
        batch_size: int,
    ) -> Iterator[Packed]:
        if times is not None:
            items = draft.call_items(template, calls, times)
            return (self._pack(batch) for batch in _batches(items, batch_size))
        return (self._fill(template, batch) for batch in _batches(template.bind_each(calls), batch_size))

    def _pack_bulk(self, given: Mapping[str, Any], spread: Wait | None, batch_size: int) -> Iterator[Packed]:
        times = draft.bulk_times(given.get("at"), spread)
        _, calls = draft.read_bulk(given)
        template = None if spread is not None else draft.read_template(given)
        if template is not None:
            return self._pack_calls(template, calls, None, batch_size)
        return (self._pack(batch) for batch in _batches(draft.read_items(given, times), batch_size))

    def _fill(self, template: Template, calls: Sequence[Sequence[Any]]) -> Packed:
        """Pack bound calls that are to run now: what they share is encoded already, unless middleware may change it."""
        configured = settings.current()
        if configured.client_middleware or (configured.carried and context.is_set(configured.carried)):
            return self._pack([template.item(args) for args in calls])
        form = template.form(configured.default_options)
        jids = draft.new_jids(len(calls))
        payloads = form.fill(calls, jids, payload.write_time(clock.now(), self._timestamps))
        return [*jids], self._parcels_now(form.queue, payloads, jids)

    def _pack(self, items: Sequence[Item]) -> Packed:
        now = clock.now()
        payloads = [draft.complete(item, now, self._timestamps) for item in items]
        jids = [None if fields is None else fields["jid"] for fields in payloads]
        return jids, self._parcels([fields for fields in payloads if fields is not None], now)

    def _parcels(self, payloads: Iterable[dict[str, Any]], now: float) -> list[Parcel]:
        later: tuple[list[str], list[tuple[float, bytes]]] = [], []
        queues: dict[str, tuple[list[str], list[bytes]]] = {}
        for fields in payloads:
            at = fields.pop("at", None)
            if at is not None and at > now:
                later[0].append(fields["jid"])
                later[1].append((at, payload.encode(fields)))
            else:
                payload.stamp(fields, now, self._timestamps)
                jids, encoded = queues.setdefault(fields["queue"], ([], []))
                jids.append(fields["jid"])
                encoded.append(payload.encode(fields))
        now_parcels = (self._parcels_now(queue, encoded, jids) for queue, (jids, encoded) in queues.items())
        return [*chain.from_iterable(now_parcels), *self._parcels_later(*later)]

    def _parcels_now(self, queue: str, payloads: Sequence[bytes], jids: list[str]) -> list[Parcel]:
        if (taker := outlet.current()) is not None:
            for each in payloads:
                taker.take(queue, each, None)
            return []
        push = self._scripts.push_now if len(payloads) == 1 else self._pipeline.push_many
        return [self._parcel(push(self._keys, queue, payloads), jids)]

    def _parcels_later(self, jids: list[str], entries: Sequence[tuple[float, bytes]]) -> list[Parcel]:
        if not entries:
            return []
        if (taker := outlet.current()) is not None:
            for at, each in entries:
                taker.take(payload.decode(each)["queue"], each, at)
            return []
        return [self._parcel(self._scripts.push_later(self._keys, entries), jids)]

    def _send(self, parcels: Iterable[Parcel]) -> None:
        for parcel in parcels:
            self._sender.send(parcel)

    async def _asend(self, parcels: Iterable[Parcel], pushed: list[str] | None = None) -> None:
        await self._close_with_the_loop()
        for parcel in parcels:
            await self._sender.asend(parcel)
            if pushed is not None:
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


class _Convoy:
    """Sends one parcel after the other: the next one can be made while Redis works on the last, but not sent."""

    def __init__(self, sender: Sender, pushed: list[str]) -> None:
        """The jobs of parcels that have arrived are added to `pushed`."""
        self._sender, self._pushed = sender, pushed
        self._posted: Posted | None = None
        self._pid = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, Exception):
            self._arrive()
        elif self._posted is not None and self._is_mine():
            # Ctrl-C waits for nobody.
            self._sender.abandon(self._posted, error)

    def send(self, parcel: Parcel) -> None:
        self._arrive()
        self._posted = self._sender.post(parcel)

    def _arrive(self) -> None:
        posted, self._posted = self._posted, None
        if posted is not None and self._is_mine():
            self._sender.confirm(posted)
            self._pushed += posted.parcel.jids

    def _is_mine(self) -> bool:
        """Whether the answer belongs to this process: the calls may be made by code that forks."""
        return self._pid == os.getpid()


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


def forget_default_client() -> None:
    """Close the client that jobs push with; the next push makes another one."""
    global _default
    with _lock:
        stale, _default = _default, None
    if stale is not None:
        stale.client.close()


def _held_client() -> Client | None:
    held, configured = _default, settings.current()
    if held is None or held.settings is not configured:
        return None
    # The environment counts only without an address in the settings; reading it takes as long as half a push's checks.
    return held.client if configured.redis_url or held.url == settings.redis_url() else None


def _renew_lock() -> None:
    """Another thread of the parent may have held it at the fork."""
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
