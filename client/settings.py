"""What `jobd.configure` has set in this process, and the address of Redis that follows from it.

Nothing connects here. The settings are one frozen value, replaced as a whole, so that reading them
needs no lock; a client made from an older value is dropped by `push.default_client`.
"""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

from jobd.client import context, defaults, options
from jobd.client.context import Carried
from jobd.client.errors import ConfigError
from jobd.client.middleware import (
    ClientMiddleware,
    ClientStack,
    ServerMiddleware,
    ServerStack,
    client_stack,
    server_stack,
)
from jobd.client.payload import Timestamps

if TYPE_CHECKING:
    from jobd.client.policies import BacktraceCleaner, DeathHandler, ErrorHandler

URL_VARIABLES = ("JOBD_REDIS_URL", "REDIS_URL")

T = TypeVar("T")
_Middleware = TypeVar("_Middleware", ClientMiddleware, ServerMiddleware)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of this process; `configure` explains most.

    `carried` are the variables of `carry`; `outermost` is server middleware around all that an application sets.
    """

    redis_url: str | None = None
    namespace: str = ""
    default_options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    client_middleware: tuple[ClientMiddleware, ...] = ()
    server_middleware: tuple[ServerMiddleware, ...] = ()
    timestamps: Timestamps = "s"
    carried: tuple[Carried, ...] = ()
    outermost: tuple[ServerMiddleware, ...] = ()
    death_handlers: tuple[DeathHandler, ...] = ()
    error_handlers: tuple[ErrorHandler, ...] = ()
    backtrace_cleaner: BacktraceCleaner | None = None
    client_stack: ClientStack = field(init=False, repr=False, compare=False)
    server_stack: ServerStack = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "client_stack", client_stack(self.client_middleware))
        restoring = (context.restoring(self.carried),) if self.carried else ()
        around = (*restoring, *self.outermost, *self.server_middleware)
        object.__setattr__(self, "server_stack", server_stack(around))


class _Unset:
    """Type of the mark for an argument that was not given, where None means something."""


_UNSET: Final = _Unset()
_lock = threading.Lock()
_current = Settings()


def current() -> Settings:
    """Return the settings of this process as they are now."""
    return _current


def configure(
    *,
    redis_url: str | _Unset | None = _UNSET,
    namespace: str | _Unset = _UNSET,
    default_options: Mapping[str, Any] | _Unset = _UNSET,
    client_middleware: Iterable[ClientMiddleware] | _Unset = _UNSET,
    server_middleware: Iterable[ServerMiddleware] | _Unset = _UNSET,
    timestamps: Timestamps | _Unset = _UNSET,
    death_handlers: Iterable[DeathHandler] | _Unset = _UNSET,
    error_handlers: Iterable[ErrorHandler] | _Unset = _UNSET,
    backtrace_cleaner: BacktraceCleaner | _Unset | None = _UNSET,
) -> None:
    """Set what is given for this process and keep the rest; each call takes effect with the next push.

    - `redis_url`: address of Redis; None takes `$JOBD_REDIS_URL`, `$REDIS_URL`, else the default.
    - `namespace`: prefix of all keys, for instance `{billing}:`; default none.
    - `default_options`: options under those of every job, as in `default_options()`.
    - `client_middleware`, `server_middleware`: the chains around pushes and runs, outermost first.
    - `timestamps`: `"s"` (default), or `"ms"` when every reader is Sidekiq 8 or newer.
    - `death_handlers`: functions `(job, error)`, called when a job is dead or dropped because of an error.
    - `error_handlers`: functions `(error, context)`, called for every error that is logged; see `ErrorContext`.
    - `backtrace_cleaner`: function from the lines of a backtrace to those to keep with a failed job.

    Raises `ConfigError` when a value cannot be used; then nothing is changed.
    """
    given = {
        "redis_url": redis_url,
        "namespace": namespace,
        "default_options": default_options,
        "client_middleware": client_middleware,
        "server_middleware": server_middleware,
        "timestamps": timestamps,
        "death_handlers": death_handlers,
        "error_handlers": error_handlers,
        "backtrace_cleaner": backtrace_cleaner,
    }
    checked = {name: _check(name, value) for name, value in given.items() if value is not _UNSET}
    global _current
    with _lock:
        _current = replace(_current, **checked)


def default_options(**given: Any) -> None:
    """Set options under those of every job, beside the ones set before: `default_options(retry=5)`.

    Takes the options of `@jobd.job`. Raises `ConfigError` when one cannot be used.
    """
    configure(default_options={**_current.default_options, **given})


def edit_chain(name: str, edit: Callable[[tuple[Any, ...]], Iterable[Any]]) -> None:
    """Replace the chain of the setting `name` by what `edit` makes of it; no other change comes in between."""
    global _current
    with _lock:
        edited: dict[str, Any] = {name: _chain(name, edit(getattr(_current, name)))}
        _current = replace(_current, **edited)


def carry(variable: ContextVar[T], name: str | None = None, *, field: str | None = None) -> ContextVar[T]:
    """Have the value of a context variable travel with each job that is pushed, and be set again around its run.

    - `name`: the name under which it travels; default the variable's own.
    - `field`: the payload's field; default `context`, which holds all values by name. `cattr`, `cattr_1`, … are those
      of Ruby's CurrentAttributes. Any other, such as `locale`, holds this value alone and takes no name.

    The value must be JSON-native; one that is not set does not travel, and then is not set during the run either.
    Jobs that a job pushes carry it on, retries keep it. Returns the variable. Raises `ConfigError`.
    """
    global _current
    new = context.carried_as(variable, name, field)
    with _lock:
        _current = replace(_current, carried=context.add(_current.carried, new))
    return variable


def surround(*middleware: ServerMiddleware) -> None:
    """Put server middleware around the whole chain, whatever `configure` sets; given none, take it off. For tests."""
    global _current
    with _lock:
        _current = replace(_current, outermost=middleware)


def restore(earlier: Settings) -> None:
    """Make `earlier`, which `current` has returned, the settings of this process again; for tests."""
    global _current
    with _lock:
        _current = earlier


def reset() -> None:
    """Forget everything that `configure` and `carry` have set; for tests."""
    global _current
    with _lock:
        _current = Settings()


def redis_url(url: str | None = None) -> str:
    """Return the address of Redis: `url`, else as configured, else from the environment, else the default."""
    from_environment = (os.environ.get(variable) for variable in URL_VARIABLES)
    chosen = (given for given in (url, _current.redis_url, *from_environment) if given)
    return next(chosen, defaults.REDIS_URL)


def _check(name: str, value: Any) -> Any:
    match name:
        case "redis_url":
            return None if value is None else _text(name, value, "a URL such as " + defaults.REDIS_URL)
        case "namespace":
            return _text(name, value, "a prefix such as {billing}:")
        case "default_options":
            if not isinstance(value, Mapping):
                raise ConfigError(f"configure(default_options={value!r}): give a mapping such as {{'queue': 'low'}}")
            return options.check(value, place="configure(default_options=…)", error=ConfigError)
        case "timestamps":
            return _timestamps(value)
        case "backtrace_cleaner":
            return None if value is None else _chain(name, [value])[0]
        case _:
            return _chain(name, value)


def _text(name: str, value: object, example: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"configure({name}={value!r}): give {example}")
    return value


def _timestamps(value: object) -> str:
    if value not in get_args(Timestamps):
        raise ConfigError(f'configure(timestamps={value!r}): give "s" (seconds) or "ms" (milliseconds)')
    return str(value)


def _chain(name: str, value: Iterable[_Middleware]) -> tuple[_Middleware, ...]:
    if callable(value) or not isinstance(value, Iterable):
        raise ConfigError(f"configure({name}={value!r}): give a list of functions")
    chain = tuple(value)
    for function in chain:
        if not callable(function) or isinstance(function, type) or inspect.iscoroutinefunction(function):
            raise ConfigError(
                f"configure({name}=…): {function!r} is not a plain function; give a def, or an instance with __call__"
            )
    return chain
