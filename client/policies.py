"""What a job's definition says about its errors: retry on, discard on, rescue from, and the callables it is asked with.

Values and their checks. They stay in the process that defined the job; only options travel. What becomes of a job is
decided by the worker, in `worker/retry.py`.
"""

from __future__ import annotations

import enum
import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeGuard, TypeVar, get_args

from jobd.client import options, times
from jobd.client.errors import JobDefinitionError

if TYPE_CHECKING:
    from jobd.client.call import RunningJob


class Verdict(enum.Enum):
    """What `retry_in` and `retries_exhausted` may answer in place of a time."""

    DISCARD = "discard"
    KILL = "kill"

    def __repr__(self) -> str:
        return f"jobd.{self.name}"


DISCARD: Final = Verdict.DISCARD
"""Drop the job: it enters neither the retry set nor the dead set."""
KILL: Final = Verdict.KILL
"""Retry no more: the job is treated as if its retries were used up."""

Curve: TypeAlias = Literal["exponential", "polynomial"]
RetryWait: TypeAlias = "Curve | float | timedelta | Callable[[int], float | timedelta]"
RetryIn: TypeAlias = "Callable[[int, BaseException, RunningJob], float | timedelta | Verdict | None]"
RetriesExhausted: TypeAlias = "Callable[[RunningJob, BaseException], object]"
RescueHandler: TypeAlias = "Callable[[RunningJob, BaseException], object]"
DeathHandler: TypeAlias = "Callable[[RunningJob, BaseException], object]"
ErrorHandler: TypeAlias = "Callable[[BaseException, ErrorContext], object]"
BacktraceCleaner: TypeAlias = "Callable[[list[str]], list[str]]"

_Hook = TypeVar("_Hook", bound=Callable[..., Any])

NAMES: Final = ("retry_on", "discard_on", "retry_in", "retries_exhausted")
"""Keywords of a definition that are policies and not options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorContext:
    """Where an error came up, for error handlers.

    `event` is the name under which it is in the log: `job.failed` (to be retried), `job.dead`, `job.discarded`,
    `job.buried`, `hook.failed`, `component.failed`. `job` is None where no job is concerned. `component` names the
    part of jobd or the hook.
    """

    event: str
    job: RunningJob | None = None
    component: str = ""


class RetryLater(Exception):
    """Raised by a job that wants to run again after `seconds`, a number or a `timedelta`: `raise jobd.RetryLater(30)`.

    Neither a failure nor an attempt: `retry_count` stays. `reason` is logged and kept with the job. Raises
    `InvalidArguments` when `seconds` is no time from 0 up.
    """

    def __init__(self, seconds: float | timedelta, reason: str | None = None) -> None:
        self.seconds = max(times.wait_seconds(seconds, "RetryLater"), 0.0)
        self.reason = None if reason is None else str(reason)
        super().__init__(f"again in {self.seconds:g} s" + (f": {self.reason}" if self.reason else ""))


@dataclass(frozen=True, slots=True, init=False)
class RetryOn:
    """Retries of a job for certain errors, counted apart from its option `retry`.

    - `errors`: the types of error, subclasses included.
    - `wait`: `"exponential"` (default): 2, 4, 8 … seconds; `"polynomial"`: n⁴ + 2; seconds; a `timedelta`; or a
      function from the number of failures so far (from 1) to seconds or a `timedelta`.
    - `attempts`: runs in all, the first one included, before the error takes the ordinary way; None: no limit;
      default 5.
    - `jitter`: up to this share of the wait is added at random, from 0 to 1; default 0.15. Not to a function's.
    - `queue`: where those retries run; default as for other retries.

    Raises `JobDefinitionError`.
    """

    errors: tuple[type[BaseException], ...]
    wait: Curve | float | Callable[[int], float | timedelta]
    attempts: int | None
    jitter: float
    queue: str | None

    def __init__(
        self,
        *errors: type[BaseException],
        wait: RetryWait = "exponential",
        attempts: int | None = 5,
        jitter: float = 0.15,
        queue: str | None = None,
    ) -> None:
        place = f"RetryOn({', '.join(map(_shown, errors))})"
        if attempts is not None and (not _is_number(attempts, int) or attempts < 1):
            raise JobDefinitionError(f"{place}: attempts={attempts!r}: give a number from 1 up, or None for no limit")
        if not _is_number(jitter, int | float) or not 0 <= jitter <= 1:
            raise JobDefinitionError(f"{place}: jitter={jitter!r}: give a share of the wait from 0 to 1")
        if queue is not None and (complaint := options.queue(queue)):
            raise JobDefinitionError(f"{place}: queue={queue!r}: {complaint}")
        object.__setattr__(self, "errors", error_types(errors, place))
        object.__setattr__(self, "wait", _checked_wait(wait, place))
        object.__setattr__(self, "attempts", attempts)
        object.__setattr__(self, "jitter", float(jitter))
        object.__setattr__(self, "queue", queue)

    @property
    def key(self) -> str:
        """Under which its retries are counted in a payload: the names of its errors."""
        return ",".join(map(error_name, self.errors))


@dataclass(frozen=True, slots=True)
class DiscardOn:
    """A type of error that drops the job."""

    errors: tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True)
class RescueFrom:
    """Types of error that a function of the application deals with."""

    errors: tuple[type[BaseException], ...]
    handler: RescueHandler


Rule: TypeAlias = RetryOn | DiscardOn | RescueFrom


def usual_wait(count: int) -> int:
    """Seconds until a retry by the usual curve, after failure number `count` (from 0), without its jitter."""
    return count**4 + 15


def usual_spread(count: int) -> int:
    """The jitter of that wait is a whole number of seconds below this."""
    return 10 * (count + 1)


class Policies:
    """The policies of one job, or of a class that hands them on to its subclasses.

    Each definition (the keywords of one `@jobd.job` or class, one `rescue_from`) is a group of rules. Later groups are
    looked at first, then those of `parents`, nearest first. Made when modules are imported; read by all threads.
    """

    def __init__(self, rules: Iterable[Rule] = (), parents: Iterable[Policies] = ()) -> None:
        rules = tuple(rules)
        self._groups: tuple[tuple[Rule, ...], ...] = (rules,) if rules else ()
        self._parents = tuple(parents)
        self._retry_in: RetryIn | None = None
        self._exhausted: RetriesExhausted | None = None

    @property
    def retry_in(self) -> RetryIn | None:
        """Its own, else the nearest parent's."""
        found = (each._retry_in for each in (self, *self._parents))
        return next((function for function in found if function is not None), None)

    @property
    def sets_waits(self) -> bool:
        """Whether some error may have its job wait for another time than usual."""
        rules = (rule for each in (self, *self._parents) for group in each._groups for rule in group)
        return self.retry_in is not None or any(isinstance(rule, RetryOn) for rule in rules)

    @property
    def retries_exhausted(self) -> RetriesExhausted | None:
        """Its own, else the nearest parent's."""
        found = (each._exhausted for each in (self, *self._parents))
        return next((function for function in found if function is not None), None)

    def rule_for(self, error: BaseException) -> Rule | None:
        """Return the rule for `error`: in the latest definition that has one, the most specific, then the last."""
        for policies in (self, *self._parents):
            for group in policies._groups:
                fitting = [rule for rule in group if isinstance(error, rule.errors)]
                if fitting:
                    return min(reversed(fitting), key=lambda rule: _distance(rule, error))
        return None

    def rescue_from(self, errors: tuple[object, ...], place: str) -> Callable[[_Hook], _Hook]:
        """Return a decorator for the function that deals with `errors`. Raises `JobDefinitionError`."""
        place = f"{place}.rescue_from"
        kinds = error_types(errors, place)

        def register(handler: _Hook) -> _Hook:
            check_hook(handler, place, "job, error")
            self._groups = ((RescueFrom(kinds, handler),), *self._groups)
            return handler

        return register

    def set_retry_in(self, function: _Hook, place: str) -> _Hook:
        """Have `function` say when a job runs again. Raises `JobDefinitionError`."""
        self._retry_in = check_hook(function, f"{place}.retry_in", "count, error, job")
        return function

    def set_retries_exhausted(self, function: _Hook, place: str) -> _Hook:
        """Have `function` hear of the end of a job's retries. Raises `JobDefinitionError`."""
        self._exhausted = check_hook(function, f"{place}.retries_exhausted", "job, error")
        return function


def split(given: Mapping[str, Any], place: str, parents: Iterable[Policies] = ()) -> tuple[Policies, Mapping[str, Any]]:
    """Return the policies among the keywords of a definition, and the options that are left.

    Raises `JobDefinitionError` when a policy cannot be used; `place` says where it stands.
    """
    rules: list[Rule] = []
    for name in (name for name in given if name in ("retry_on", "discard_on")):
        rules += _retry_on(given[name], place) if name == "retry_on" else _discard_on(given[name], place)
    policies = Policies(rules, parents)
    if given.get("retry_in") is not None:
        policies.set_retry_in(given["retry_in"], place)
    if given.get("retries_exhausted") is not None:
        policies.set_retries_exhausted(given["retries_exhausted"], place)
    return policies, {name: value for name, value in given.items() if name not in NAMES}


def error_name(kind: type[BaseException]) -> str:
    """The name of a type of error: built-in ones bare, others as `module.QualName`."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def error_types(errors: tuple[object, ...], place: str) -> tuple[type[BaseException], ...]:
    """Return `errors` when they are types of error. Raises `JobDefinitionError`."""
    if not errors:
        raise JobDefinitionError(f"{place}: name at least one type of error")
    kinds = tuple(kind for kind in errors if isinstance(kind, type) and issubclass(kind, BaseException))
    if len(kinds) != len(errors):
        wrong = next(each for each in errors if each not in kinds)
        raise JobDefinitionError(f"{place}: {wrong!r} is no type of error; give classes such as ConnectionError")
    if any(issubclass(kind, RetryLater) for kind in kinds):
        raise JobDefinitionError(f"{place}: RetryLater is no failure, and no rule is asked for it; remove it")
    return kinds


def check_hook(function: _Hook, place: str, parameters: str) -> _Hook:
    """Return `function` when it can be called with as many arguments. Raises `JobDefinitionError`."""
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise JobDefinitionError(f"{place}: {function!r} is not a plain function; give a def f({parameters})")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return function  # some functions written in C do not tell
    try:
        signature.bind(*parameters.split(", "))
    except TypeError as error:
        raise JobDefinitionError(f"{place}: {_shown(function)} cannot be called with ({parameters}): {error}") from None
    return function


def _retry_on(given: object, place: str) -> list[RetryOn]:
    rules = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    checked = [rule for rule in rules if isinstance(rule, RetryOn)]
    if not isinstance(given, Iterable) or len(checked) != len(rules):
        example = "[jobd.RetryOn(ConnectionError, attempts=5)]"
        raise JobDefinitionError(f"{place}: retry_on={given!r}: give a list such as {example}")
    return checked


def _discard_on(given: object, place: str) -> list[DiscardOn]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise JobDefinitionError(f"{place}: discard_on={given!r}: give a list of types of error: [KeyError]")
    return [DiscardOn(error_types((kind,), f"{place}: discard_on")) for kind in given]


def _checked_wait(wait: object, place: str) -> object:
    if isinstance(wait, timedelta):
        wait = wait.total_seconds()
    if isinstance(wait, str) and wait in get_args(Curve):
        return wait
    if _is_number(wait, int | float) and 0 <= wait <= options.MAX_DURATION:
        return float(wait)
    if callable(wait):
        return check_hook(wait, f"{place}: wait", "count")
    curves = ", ".join(map(repr, get_args(Curve)))
    raise JobDefinitionError(f"{place}: wait={wait!r}: give {curves}, seconds, a timedelta or a function")


def _distance(rule: Rule, error: BaseException) -> int:
    """How far up the error's class a rule's nearest type is; those that only claim to be above it come last."""
    line = type(error).__mro__
    return min((line.index(kind) for kind in rule.errors if kind in line), default=len(line))


def _is_number(value: object, kind: Any) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    return not isinstance(value, float) or math.isfinite(value)


def _shown(value: object) -> str:
    return getattr(value, "__qualname__", None) or repr(value)
