"""Chains of middleware around a push and around a run. Each chain is built once, outermost first.

Client middleware takes `(payload, proceed)` and returns the payload to push, or None to stop the push.
It may change the payload before `proceed(payload)` or change what that returns. `proceed` ends *before*
the network: one plain chain serves single, bulk and asyncio pushes, and must not wait for the push.

Server middleware takes `(job, proceed)`; `proceed()` runs the job and returns its result or raises its
error. Returning without calling it makes the job succeed without having run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from jobd.client.call import RunningJob

Payload: TypeAlias = "dict[str, Any]"
ClientStack: TypeAlias = "Callable[[Payload], Payload | None]"
ClientMiddleware: TypeAlias = "Callable[[Payload, ClientStack], Payload | None]"
ServerStack: TypeAlias = "Callable[[RunningJob, Callable[[], Any]], Any]"
ServerMiddleware: TypeAlias = "Callable[[RunningJob, Callable[[], Any]], Any]"


def client_stack(middleware: Sequence[ClientMiddleware]) -> ClientStack:
    """Return the chain as one function, from a payload to the one to push, or to None."""
    stack: ClientStack = _unchanged
    for wrap in reversed(middleware):
        stack = _around_push(wrap, stack)
    return stack


def server_stack(middleware: Sequence[ServerMiddleware]) -> ServerStack:
    """Return the chain as one function of the job and the call that runs it."""
    stack = NO_MIDDLEWARE
    for wrap in reversed(middleware):
        stack = _around_run(wrap, stack)
    return stack


def _unchanged(payload: Payload) -> Payload | None:
    return payload


def _called(job: RunningJob, call: Callable[[], Any]) -> Any:
    return call()


NO_MIDDLEWARE: Final[ServerStack] = _called
"""The chain around runs while there is no server middleware."""


def _around_push(wrap: ClientMiddleware, inner: ClientStack) -> ClientStack:
    return lambda payload: wrap(payload, inner)


def _around_run(wrap: ServerMiddleware, inner: ServerStack) -> ServerStack:
    return lambda job, call: wrap(job, lambda: inner(job, call))
