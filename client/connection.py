"""Connections to Redis: the only module that makes them.

redis-py's defaults do not suit a queue. It resends a command whose reply was lost, which would push a job
twice, so retries are off. Its pools are made here once for each process and each event loop, so that nothing is
shared over a fork. Ordinary connections speak RESP2, which proxies understand; only the doorbell asks for RESP3.
"""

from __future__ import annotations

import asyncio
import os
import re
import select
import weakref
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MasterDownError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from jobd.client import defaults
from jobd.client.embedded import EmbeddedAddress
from jobd.client.errors import ConfigError, RedisUnavailable
from jobd.client.redaction import mask

LOST = (RedisConnectionError, RedisTimeoutError, OSError)
"""A connection broke or was too slow: what was sent may have been carried out."""

_OPTIONS = frozenset(
    {
        *("db", "username", "password", "password_file", "client_name", "max_connections"),
        *("socket_timeout", "socket_connect_timeout", "health_check_interval", "retry_on_timeout"),
    }
)
_TLS_OPTIONS = frozenset(
    {
        *("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_password"),
        *("ssl_cert_reqs", "ssl_check_hostname", "ssl_ciphers"),
    }
)
"""What may stand in the query of a `redis_url`. redis-py takes more, with which jobd could not read the replies."""

_SCHEMES = "redis://, rediss://, unix://, redis+sentinel:// or embedded:"
_NO_LIMIT = 2**31 - 1


_READONLY = re.compile(r"\b(READONLY|MISCONF|NOREPLICAS)\b")


def is_readonly(error: BaseException) -> bool:
    """Whether a server answered that it takes no writes: it is a replica, cannot save, or has too few replicas.

    The connection must be given up: it may have outlived a fail-over. Redis before 7.0 tells it in the middle of a
    script's error.
    """
    if isinstance(error, ReadOnlyError | MasterDownError):
        return True
    return isinstance(error, ResponseError) and _READONLY.search(str(error)) is not None


def _is_spoilt_by(error: BaseException) -> bool:
    """Whether a connection that was left by `error` is of no use any more."""
    return not isinstance(error, ResponseError) or is_readonly(error)


@dataclass(frozen=True)
class Address:
    """A parsed `redis_url`."""

    url: str
    """For redis-py: redis://, rediss:// or unix://. For Sentinel: the same with the options alone."""
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""
    embedded: EmbeddedAddress | None = None

    @property
    def shown(self) -> str:
        """For messages: without its password."""
        if self.embedded:
            return f"embedded:{self.embedded.directory}"
        if self.sentinels:
            return f"redis+sentinel://{','.join(f'{h}:{p}' for h, p in self.sentinels)}/{self.service}"
        return mask(self.url)


def parse(url: str) -> Address:
    """Understand a `redis_url`.

    Accepted: `redis://`, `rediss://` (with `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile` … in the query), `unix://`,
    `redis+sentinel://host:26379,host2:26379/service/0` (also `rediss+sentinel://`), `embedded:DIRECTORY`. A password
    may stand in a file: `?password_file=/run/secrets/redis`. Raises ConfigError naming the url.
    """
    if url.startswith("embedded:"):
        place = EmbeddedAddress.of(url)
        return Address(place.url, embedded=place)
    parts = urlsplit(url)
    if parts.scheme in ("redis+sentinel", "rediss+sentinel"):
        return _parse_sentinel(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ConfigError(f"redis_url {mask(url)!r}: unknown scheme; write {_SCHEMES}")
    _refuse_unknown_options(url)
    url = _with_password_file(url)
    options = _connection_options(url, shown=url)
    if parts.scheme == "unix" and not options.get("path"):
        raise ConfigError(f"redis_url {mask(url)!r}: names no socket; write unix:///path/to/socket")
    if parts.scheme != "unix" and parts.path.strip("/") and not parts.path.strip("/").isdigit():
        raise ConfigError(f"redis_url {mask(url)!r}: the database {parts.path.strip('/')!r} is not a number")
    return Address(url)


def _refuse_unknown_options(url: str) -> None:
    parts = urlsplit(url)
    known = _OPTIONS if parts.scheme == "unix" else _OPTIONS | {"socket_keepalive"}
    if parts.scheme.startswith("rediss"):
        known |= _TLS_OPTIONS
    if parts.scheme.endswith("+sentinel"):
        known |= {"sentinel_password"}
    for name, _ in parse_qsl(parts.query, keep_blank_values=True):
        if name in _TLS_OPTIONS - known:
            raise ConfigError(f"redis_url {mask(url)!r}: {name} is for TLS; write rediss:// or remove it")
        if name not in known:
            raise ConfigError(f"redis_url {mask(url)!r}: jobd takes no option {name}; remove it")


def _connection_options(url: str, *, shown: str) -> Mapping[str, Any]:
    try:
        return dict(parse_url(url))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"redis_url {mask(shown)!r}: {error}") from None


def _with_password_file(url: str) -> str:
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    name = query.pop("password_file", None)
    if name is None:
        return url
    try:
        password = Path(name).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError(f"redis_url {mask(url)!r}: password_file {name}: {error.strerror}") from None
    place = url.partition("?")[0]
    if parts.scheme == "unix":
        query["password"] = password
    else:
        user, _, host = parts.netloc.rpartition("@")
        login = f"{user.partition(':')[0]}:{quote(password, safe='')}"
        place = f"{parts.scheme}://{login}@{host}{parts.path}"
    return f"{place}?{urlencode(query)}" if query else place


def _parse_sentinel(url: str) -> Address:
    _refuse_unknown_options(url)
    scheme, _, rest = _with_password_file(url).partition("://")
    place, _, query = rest.partition("?")
    hosts, _, path = place.partition("/")
    user, at, hosts = hosts.rpartition("@")
    service, _, database = path.partition("/")
    if not service or not hosts or (database and not database.isdigit()):
        raise ConfigError(f"redis_url {mask(url)!r}: write redis+sentinel://host:26379,host2:26379/service/0")
    sentinels = []
    for host in hosts.split(","):
        name, _, port = host.rpartition(":") if re.search(r":\d+$", host) else (host, "", "26379")
        sentinels.append((unquote(name).strip("[]"), int(port)))
    tail = f"?{query}" if query else ""
    base = f"{scheme.removesuffix('+sentinel')}://{user}{at}sentinel/{database or 0}{tail}"
    _connection_options(base, shown=url)
    return Address(base, sentinels=tuple(sentinels), service=unquote(service))


def _options(retry: Any, timeout: float) -> dict[str, Any]:
    return {
        "retry": retry,
        "socket_timeout": timeout,
        "socket_connect_timeout": defaults.CONNECT_TIMEOUT,
        "protocol": 2,
        "max_connections": _NO_LIMIT,
        "client_name": "jobd",
    }


def _sentinel_options(url: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options for the sentinels themselves, and for the server behind them."""
    known = dict(parse_url(url))
    to_sentinels = {k: options[k] for k in ("retry", "socket_timeout", "socket_connect_timeout", "protocol")}
    password = known.pop("sentinel_password", None)
    if password:
        to_sentinels["password"] = password
    to_server = {**known, **options, "client_name": known.get("client_name", options["client_name"])}
    for name in ("host", "port", "connection_class"):
        to_server.pop(name, None)
    if url.startswith("rediss:"):
        to_sentinels["ssl"] = to_server["ssl"] = True
    return to_sentinels, to_server


def _pool(address: Address, timeout: float, looks_for: float | None) -> redis.ConnectionPool:
    options = _options(Retry(NoBackoff(), 0), timeout)
    if looks_for is not None:
        options |= {"client_name": None, "socket_timeout": looks_for, "socket_connect_timeout": looks_for}
    if address.sentinels:
        to_sentinels, to_server = _sentinel_options(address.url, options)
        sentinel = Sentinel(address.sentinels, sentinel_kwargs=to_sentinels)
        pool: redis.ConnectionPool = sentinel.master_for(address.service, **to_server).connection_pool
    else:
        pool = redis.ConnectionPool.from_url(address.url, **options)
    if looks_for is not None:  # stronger than what the url says
        pool.connection_kwargs |= {"socket_timeout": looks_for, "socket_connect_timeout": looks_for}
    return pool


def _async_pool(address: Address, timeout: float) -> redis.asyncio.ConnectionPool:
    options = _options(AsyncRetry(NoBackoff(), 0), timeout)
    if not address.sentinels:
        return redis.asyncio.ConnectionPool.from_url(address.url, **options)
    to_sentinels, to_server = _sentinel_options(address.url, options)
    sentinel = AsyncSentinel(address.sentinels, sentinel_kwargs=to_sentinels)
    pool: redis.asyncio.ConnectionPool = sentinel.master_for(address.service, **to_server).connection_pool
    return pool


async def _open(pool: redis.asyncio.ConnectionPool) -> Any:
    """A connection of the pool, opened anew when it is of no use any more."""
    connection = await pool.get_connection()
    try:
        if _has_input(connection):
            await connection.disconnect(nowait=True)
            await connection.connect()
    except BaseException:
        await pool.release(connection)
        raise
    return connection


def _has_input(connection: Any) -> bool:
    """Whether an idle connection was closed by the server: the event loop may not have had a turn to notice."""
    writer = connection._writer
    if writer.get_extra_info("ssl_object") is not None:
        return False  # what arrives may be a message of TLS itself
    poller = select.poll()
    poller.register(writer.get_extra_info("socket"), select.POLLIN)
    return bool(poller.poll(0))


class Loan:
    """A connection lent by `Connector.borrow`. Between two loans it stays open, and the pool counts it as in use."""

    __slots__ = ("_poll", "_socket", "connection", "pool")

    def __init__(self, connection: Any, pool: redis.ConnectionPool) -> None:
        self.connection = connection
        self.pool = pool
        self._socket = connection._sock
        poller = select.poll()  # one for all loans of the connection: redis-py makes one for each check
        poller.register(self._socket, select.POLLIN)
        self._poll = poller.poll

    def is_fresh(self) -> bool:
        """Whether the connection is as its last borrower left it: still open, and nothing has come in."""
        return self.connection._sock is self._socket and not self._poll(0)


@dataclass(slots=True)
class _Held:
    """The pool of one process, and those of its connections that wait outside of it for the next `borrow`."""

    pid: int
    pool: redis.ConnectionPool
    keeps: bool
    """False where the pool must see each connection: to follow a fail-over, or to keep to a limit."""
    kept: deque[Loan] = field(default_factory=deque)
    client: redis.Redis | None = None


class Connector:
    """Gives out connections to one address. Safe across threads, forks and event loops; connects when first used."""

    def __init__(
        self, url: str, *, socket_timeout: float = defaults.SOCKET_TIMEOUT, looks_for: float | None = None
    ) -> None:
        """`url` as `parse` takes it. `socket_timeout`: seconds to wait for a reply. Raises ConfigError.

        `looks_for`: seconds for a connection and for a reply, whatever `url` says, where somebody only looks and waits.
        Such a connection has no name unless `url` gives one: a user that may only read cannot set it.
        """
        self.address = parse(url)
        self.socket_timeout, self._url, self._looks_for = socket_timeout, url, looks_for
        self._held: _Held | None = None
        self._loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.ConnectionPool]
        self._loops = weakref.WeakKeyDictionary()

    @property
    def pool(self) -> redis.ConnectionPool:
        """This process' pool. One that was inherited over a fork is left alone: its sockets are the parent's."""
        return self._own().pool

    def _own(self) -> _Held:
        held = self._held
        if held is None or held.pid != os.getpid():
            self._check_private()
            pool = _pool(self.address, self.socket_timeout, self._looks_for)
            keeps = not self.address.sentinels and pool.max_connections >= _NO_LIMIT
            held = self._held = _Held(os.getpid(), pool, keeps)
        return held

    def for_looking(self, seconds: float) -> Connector:
        """One to the same server that waits no longer than `seconds` for a connection or a reply."""
        return Connector(self._url, looks_for=seconds)

    def client(self) -> redis.Redis:
        """redis-py's client on this process' pool, for commands that may be repeated."""
        held = self._own()
        if held.client is None:
            held.client = redis.Redis(connection_pool=held.pool)  # which takes a while: it reads up all commands
        return held.client

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """Borrow a connection that is known to be open.

        Raises RedisUnavailable when there is none: nothing was sent. A connection that is left by an exception is
        closed, as a late reply may still be on its way.
        """
        pool = self.pool
        connection = self._take(pool)
        try:
            yield connection
        except BaseException as error:
            if _is_spoilt_by(error):
                connection.disconnect()
            raise
        finally:
            pool.release(connection)

    def _take(self, pool: redis.ConnectionPool) -> Any:
        try:
            return pool.get_connection()
        except (RedisError, OSError) as error:
            raise self.unavailable(error) from error

    def borrow(self) -> Loan:
        """`connection` for pushes: many and short, so that the accounts that a pool keeps would cost more than they.

        Raises RedisUnavailable. The loan ends with `give_back`, after an error with `give_up`.
        """
        held = self._own()
        while held.kept:
            try:
                loan = held.kept.pop()
            except IndexError:
                break  # another thread was faster
            if loan.is_fresh():
                return loan
            held.pool.release(loan.connection)  # which opens it anew when it is taken
        return Loan(self._take(held.pool), held.pool)

    def give_back(self, loan: Loan) -> None:
        """End a loan whose replies were all read."""
        held = self._held
        if held is not None and held.pool is loan.pool and held.keeps:
            held.kept.append(loan)
        else:
            loan.pool.release(loan.connection)

    def give_up(self, loan: Loan, error: BaseException) -> None:
        """End a loan on `error`; the connection is closed if a late reply may still be on its way."""
        if _is_spoilt_by(error):
            loan.connection.disconnect()
        loan.pool.release(loan.connection)

    @asynccontextmanager
    async def aconnection(self) -> AsyncIterator[Any]:
        """`connection` for asyncio, on a pool of the running event loop."""
        loop = asyncio.get_running_loop()
        pool = self._loops.get(loop)
        if pool is None:
            self._check_private()
            pool = self._loops.setdefault(loop, _async_pool(self.address, self.socket_timeout))
        try:
            connection = await _open(pool)
        except (RedisError, OSError) as error:
            raise self.unavailable(error) from error
        try:
            yield connection
        except BaseException as error:
            if _is_spoilt_by(error):
                await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)

    def dedicated(self, *, push: bool = False) -> Any:
        """A connection of redis-py for one owner, not yet open; it belongs to the caller, who opens and closes it.

        It must be opened with `connect`: only that asks the sentinels for the server. With `push` it speaks RESP3, so
        that the server may send messages by itself.
        """
        pool = self.pool
        if not push:
            return pool.make_connection()
        quiet = MaintNotificationsConfig(enabled=False)
        options = {**pool.connection_kwargs, "protocol": 3, "maint_notifications_config": quiet}
        return pool.connection_class(**options)

    def _check_private(self) -> None:
        if self.address.embedded:
            self.address.embedded.check_private()

    def unavailable(self, error: Exception) -> RedisUnavailable:
        """Say why there is no connection, and what to do."""
        if self.address.embedded and isinstance(error, LOST):
            return self.address.embedded.unavailable()
        if isinstance(error, MasterNotFoundError):
            # redis-py's own text spells out its objects.
            remedy = "start the sentinels, or mend their addresses or the name of the service"
            return RedisUnavailable(f"Redis at {self.address.shown}: no sentinel names a reachable master; {remedy}")
        remedy = ""
        if self.address.url == defaults.REDIS_URL and isinstance(error, LOST):
            remedy = "; set REDIS_URL, or start one with `jobd --embedded`"
        return RedisUnavailable(f"Redis at {self.address.shown}: {str(error).rstrip('.')}{remedy}")

    def renew(self) -> None:
        """Have the pool open its idle connections anew: what broke one may have broken them all, unseen."""
        held = self._held
        if held is not None and held.pid == os.getpid():
            held.pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close this process' idle connections; the connector stays usable."""
        held, self._held = self._held, None
        if held is not None and held.pid == os.getpid():
            held.pool.disconnect()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        pool = self._loops.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.disconnect()
