"""What an application wants to be told of the life of a worker process: functions registered with `@jobd.on`.

They are only kept here, so that a module with jobs can register them wherever it is imported; `worker/hooks.py` calls
them.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from typing import Literal, TypeAlias, TypeVar, get_args

from jobd.client.errors import ConfigError

Event: TypeAlias = Literal["startup", "quiet", "resume", "shutdown", "exit", "heartbeat", "beat", "leader"]
Hook: TypeAlias = Callable[[], object]

F = TypeVar("F", bound=Hook)

_LAST_FIRST = frozenset({"quiet", "shutdown", "exit"})
"""What was set up last is taken down first."""

_hooks: dict[str, tuple[Hook, ...]] = {}
_lock = threading.Lock()


def on(event: Event) -> Callable[[F], F]:
    """Have a function without arguments called in each worker process at an event: `@jobd.on("startup")`.

    - `startup`: before the first job; an error ends the process, with the reason where jobd was started.
    - `quiet`, `resume`: no more jobs are taken, jobs are taken again.
    - `shutdown`: the process begins to stop; jobs may still run. `exit`: none runs any more.
    - `heartbeat`: the first beat, and the first after an outage. `beat`: each, every 10 s.
    - `leader`: this process now moves the due jobs of the whole cluster.

    Hooks run in the order of their registration, those of `quiet`, `shutdown` and `exit` in reverse. Raises
    `ConfigError`.
    """
    if event not in get_args(Event):
        raise ConfigError(f"on({event!r}): there is no such event; give one of {', '.join(get_args(Event))}")

    def register(hook: F) -> F:
        _check(event, hook)
        with _lock:
            others = tuple(known for known in _hooks.get(event, ()) if not _is_same_code(known, hook))
            _hooks[event] = (*others, hook)
        return hook

    return register


def hooks(event: Event) -> tuple[Hook, ...]:
    """What is to be called at `event`, in that order."""
    known = _hooks.get(event, ())
    return known[::-1] if event in _LAST_FIRST else known


def remove(event: Event, hook: Hook) -> None:
    """Take a hook out again; nothing happens when it is not registered."""
    with _lock:
        _hooks[event] = tuple(known for known in _hooks.get(event, ()) if known != hook)


def name_of(hook: Hook) -> str:
    """Module and name of a hook, for messages."""
    name = getattr(hook, "__qualname__", None) or type(hook).__qualname__
    return f"{getattr(hook, '__module__', None) or type(hook).__module__}.{name}"


def _check(event: str, hook: object) -> None:
    if not callable(hook) or inspect.iscoroutinefunction(hook):
        raise ConfigError(f"on({event!r}): {hook!r} is not a plain function; give a def, and asyncio.run(…) inside")
    try:
        inspect.signature(hook).bind()
    except (TypeError, ValueError):
        raise ConfigError(f"on({event!r}): {hook!r} must be callable without arguments") from None


def _is_same_code(known: Hook, hook: Hook) -> bool:
    """Whether it is the same hook, or the same definition executed again by a reloaded module."""
    if not (inspect.isfunction(known) and inspect.isfunction(hook)):
        return known == hook
    here, there = known.__code__, hook.__code__
    is_nameless = "<" in here.co_qualname
    return known is hook or (
        not is_nameless and (here.co_filename, here.co_qualname) == (there.co_filename, there.co_qualname)
    )
