"""Sending of pushes, and what became of them: the part of `push.py` that needs redis-py.

A push is sent once and never again: when its reply is lost, only the application can know whether running the job
twice would do harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from redis.exceptions import AuthenticationError, BusyLoadingError, NoScriptError, RedisError, ResponseError

from jobd.client import pipeline, scripts
from jobd.client.connection import Connector, Loan
from jobd.client.errors import JobdError, PushOutcomeUnknown, PushRefused
from jobd.client.pipeline import Pipeline

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

# Login and loading are connection errors by class in redis-py, yet the server has answered.
_ANSWERS = (ResponseError, AuthenticationError, BusyLoadingError)


class Parcel(msgspec.Struct, eq=False):
    """One round trip, and the jobs in it."""

    call: scripts.Call[None] | Pipeline
    jids: list[str]


class Posted(msgspec.Struct, eq=False):
    """A parcel that was sent and not answered yet."""

    parcel: Parcel
    loan: Loan


class Sender:
    """Sends parcels over the connections of one Connector. Safe across threads, forks and event loops."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    def send(self, parcel: Parcel) -> None:
        """Send it once. Raises RedisUnavailable, PushRefused or PushOutcomeUnknown."""
        self.confirm(self.post(parcel))

    def post(self, parcel: Parcel) -> Posted:
        """Send it, and leave the answer to `confirm`, which must follow. Raises as `send` does."""
        posted = Posted(parcel, self._connector.borrow())
        try:
            posted.loan.connection.send_packed_command((parcel.call.packed(),))
        except BaseException as error:
            self._fail(posted, error)
            raise
        return posted

    def confirm(self, posted: Posted) -> None:
        """Wait for the answer. Raises PushRefused or PushOutcomeUnknown."""
        try:
            _receive(posted.loan.connection, posted.parcel.call)
        except BaseException as error:
            self._fail(posted, error)
            raise
        self._connector.give_back(posted.loan)

    def abandon(self, posted: Posted, error: BaseException) -> None:
        """Give up waiting for the answer, as `error` asks for. What became of the jobs stays unknown."""
        self._connector.give_up(posted.loan, error)

    def _fail(self, posted: Posted, error: BaseException) -> None:
        self._connector.give_up(posted.loan, error)
        if told := _told(error, posted.parcel.jids):
            raise told from error

    async def asend(self, parcel: Parcel) -> None:
        """`send` for asyncio."""
        try:
            async with self._connector.aconnection() as connection:
                if isinstance(parcel.call, Pipeline):
                    await pipeline.asend(connection, parcel.call)
                else:
                    await scripts.asend(connection, parcel.call)
        except Exception as error:
            if told := _told(error, parcel.jids):
                raise told from error
            raise


def _receive(connection: Any, call: scripts.Call[None] | Pipeline) -> None:
    if isinstance(call, Pipeline):
        pipeline.receive(connection, call)
        return
    try:
        connection.read_response()
    except NoScriptError:  # it was not run
        scripts.send(connection, call)


def _told(error: BaseException, jids: Sequence[str]) -> JobdError | None:
    """What an error of redis-py says about the push of `jids`; None for any other error."""
    if isinstance(error, _ANSWERS):
        return PushRefused(_refusal(error))
    if not isinstance(error, RedisError | OSError):
        return None
    shown = ", ".join(jids[:3]) + (f" and {len(jids) - 3} more" if len(jids) > 3 else "")
    return PushOutcomeUnknown(
        f"the connection to Redis broke before the answer to a push ({error or type(error).__name__}): "
        f"{shown} may be queued or not; push again only if running twice does no harm",
        jids,
    )


def _refusal(error: Exception) -> str:
    """Say what an error that Redis answered to a push means, and what to do."""
    # redis-py cuts the first word off the errors that it has a class for; scripts put it further back.
    by_class = {
        "OutOfMemoryError": "OOM",
        "ReadOnlyError": "READONLY",
        "NoPermissionError": "NOPERM",
        "AuthenticationError": "NOAUTH",
        "BusyLoadingError": "LOADING",
        "MovedError": "CROSSSLOT",
        "ClusterCrossSlotError": "CROSSSLOT",
    }
    words = str(error).replace("-", " ").split()
    code = by_class.get(type(error).__name__) or next((word for word in words if word in _REMEDIES), "")
    remedy = f"; {_REMEDIES[code]}" if code else ""
    return f"Redis refused the push: {error}{remedy}"
