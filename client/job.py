"""Jobs as applications define them: functions with `@jobd.job`, classes that extend `jobd.Job`.

Both offer the same pushes, typed by the signature of what they run. The work behind them is done by
`draft.py` (checks and payload) and `push.py` (sending).
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import (
    Any,
    ClassVar,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
    overload,
)

from jobd.client import call, clock, defaults, draft, options, payload, policies, push, registry, settings
from jobd.client.draft import NO_OPTIONS
from jobd.client.errors import InvalidPayload, JobDefinitionError
from jobd.client.policies import Policies, RescueHandler, RetriesExhausted, RetryIn, RetryOn
from jobd.client.registry import Handler, Origin
from jobd.client.times import Moment, Wait, epoch_seconds, wait_seconds

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
_Rescue = TypeVar("_Rescue", bound=RescueHandler)
_Exhausted = TypeVar("_Exhausted", bound=RetriesExhausted)
_RetryIn = TypeVar("_RetryIn", bound=RetryIn)


class Pusher(Generic[P, R]):
    """Pushes of one job, with options for this call if it comes from `set`.

    Each push returns the jid, or None when client middleware stopped it. Errors: `InvalidArguments` when the
    arguments do not fit the job or cannot travel as JSON, `RedisUnavailable` when nothing was sent,
    `PushRefused` when Redis said no, `PushOutcomeUnknown` when the job may be in Redis.
    """

    def __init__(
        self,
        handler: Handler,
        over: Mapping[str, Any] = NO_OPTIONS,
        wait: float | None = None,
        wait_until: float | None = None,
    ) -> None:
        self.__jobd__ = handler
        self._over = over
        self._template = draft.Template.of(handler, over)
        self._wait = wait
        self._wait_until = wait_until

    def set(self, *, wait: Wait | None = None, wait_until: Moment | None = None, **given: Any) -> Pusher[P, R]:
        """Return the same job with other options for one call: `send.set(queue="critical").perform_async(7)`.

        `wait` (seconds, `timedelta`) or `wait_until` (epoch seconds, aware `datetime`) put the run off.
        Raises `InvalidPayload` when an option cannot be used.
        """
        if wait is not None and wait_until is not None:
            raise InvalidPayload(f"{self.__jobd__.name}: wait and wait_until are both given; give one of them")
        checked = options.check(given, place=f"{self.__jobd__.name}.set", error=InvalidPayload)
        if wait is None and wait_until is None:
            return Pusher(self.__jobd__, {**self._over, **checked}, self._wait, self._wait_until)
        return Pusher(
            self.__jobd__,
            {**self._over, **checked},
            None if wait is None else wait_seconds(wait, "wait"),
            None if wait_until is None else epoch_seconds(wait_until, "wait_until"),
        )

    def perform_async(self, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Push a call with these arguments, to be run as soon as a worker is free."""
        return push.default_client().push_call(self._template, args, kwargs, self._due())

    def perform_later(self, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """`perform_async` under ActiveJob's name."""
        return self.perform_async(*args, **kwargs)

    def perform_in(self, delay: Wait, /, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Push a call to be run after `delay`, seconds or a `timedelta`; at once if that is not positive."""
        return push.default_client().push_call(self._template, args, kwargs, clock.now() + wait_seconds(delay))

    def perform_at(self, moment: Moment, /, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Push a call to be run at `moment`, epoch seconds or an aware `datetime`; at once if past."""
        return push.default_client().push_call(self._template, args, kwargs, epoch_seconds(moment))

    def perform_bulk(
        self,
        calls: Iterable[Sequence[Any]],
        *,
        at: Moment | Iterable[Moment] | None = None,
        spread: Wait | None = None,
        batch_size: int = defaults.BULK_SIZE,
    ) -> list[str | None]:
        """Push one call for each tuple of positional arguments in `calls`: `perform_bulk([(1,), (2,)])`.

        `calls` may be lazy; each round trip takes `batch_size` (at most 1,000) of them. `at` is one time for
        all or a list of one each; `spread` (seconds, `timedelta`) starts each at random within that time.
        Returns the jids in order. After an error its `pushed` lists the jobs that were pushed before it.
        """
        times = self._times(at, spread)
        return push.default_client().push_calls(self._template, calls, times, batch_size)

    def perform_inline(self, *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Run a call here and now, as a worker would: through JSON and the middleware of both sides.

        Returns what the job returns, None when client middleware stopped it; the job's error is raised. Needs
        no Redis.
        """
        return cast("R | None", _run_inline(self._template.item(*self._template.bind(args, kwargs)), self.__jobd__))

    async def aperform_async(self, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """`perform_async` for asyncio."""
        return await push.default_client().apush_call(self._template, args, kwargs, self._due())

    async def aperform_later(self, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """`perform_later` for asyncio."""
        return await self.aperform_async(*args, **kwargs)

    async def aperform_in(self, delay: Wait, /, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """`perform_in` for asyncio."""
        at = clock.now() + wait_seconds(delay)
        return await push.default_client().apush_call(self._template, args, kwargs, at)

    async def aperform_at(self, moment: Moment, /, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """`perform_at` for asyncio."""
        return await push.default_client().apush_call(self._template, args, kwargs, epoch_seconds(moment))

    async def aperform_bulk(
        self,
        calls: Iterable[Sequence[Any]],
        *,
        at: Moment | Iterable[Moment] | None = None,
        spread: Wait | None = None,
        batch_size: int = defaults.BULK_SIZE,
    ) -> list[str | None]:
        """`perform_bulk` for asyncio."""
        times = self._times(at, spread)
        return await push.default_client().apush_calls(self._template, calls, times, batch_size)

    def _due(self) -> float | None:
        return self._wait_until if self._wait is None else clock.now() + self._wait

    def _times(self, at: Moment | Iterable[Moment] | None, spread: Wait | None) -> Iterator[float | None] | None:
        due = self._due() if at is None else at
        return None if due is None and spread is None else draft.bulk_times(due, spread)


def _run_inline(item: draft.Item, handler: Handler) -> Any:
    configured = settings.current()
    now = clock.now()
    fields = draft.complete(item, now, configured.timestamps)
    if fields is None:
        return None
    fields.pop("at", None)
    payload.stamp(fields, now, configured.timestamps)
    job = call.running_job(payload.decode(payload.encode(fields)))
    return call.run_job(handler, job, configured.server_stack)


class JobFunction(Pusher[P, R]):
    """A function that is a job: calling it runs it, its `perform_…` methods push it."""

    __name__: str
    __wrapped__: Callable[P, R]

    def __init__(self, function: Callable[P, R], handler: Handler) -> None:
        super().__init__(handler)
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.__wrapped__(*args, **kwargs)

    def rescue_from(self, *errors: type[BaseException]) -> Callable[[_Rescue], _Rescue]:
        """Decorate the function `(job, error)` that deals with these errors; the job has succeeded then.

        An error that it raises is the job's. Of several rules for an error the latest definition's counts.
        """
        return self.__jobd__.policies.rescue_from(errors, self.__jobd__.name)

    def retry_in(self, function: _RetryIn) -> _RetryIn:
        """Decorate the function `(count, error, job)` that says when the job runs again.

        `count` is 0 after the first failure. It returns seconds, a `timedelta`, `jobd.DISCARD`, `jobd.KILL`, or None
        for the default.
        """
        return self.__jobd__.policies.set_retry_in(function, self.__jobd__.name)

    def retries_exhausted(self, function: _Exhausted) -> _Exhausted:
        """Decorate the function `(job, error)` that hears of the end of its retries.

        When it returns `jobd.DISCARD` the job does not enter the dead set.
        """
        return self.__jobd__.policies.set_retries_exhausted(function, self.__jobd__.name)

    def __repr__(self) -> str:
        return f"<job {self.__jobd__.name}>"


@overload
def job(function: Callable[P, R], /) -> JobFunction[P, R]: ...
@overload
def job(
    *,
    name: str | None = None,
    retry_on: Iterable[RetryOn] = ...,
    discard_on: Iterable[type[BaseException]] = ...,
    retry_in: RetryIn | None = None,
    retries_exhausted: RetriesExhausted | None = None,
    **given: Any,
) -> Callable[[Callable[P, R]], JobFunction[P, R]]: ...
def job(function: Callable[..., Any] | None = None, /, *, name: str | None = None, **given: Any) -> Any:
    """Make a function a job: `@jobd.job`, or with options `@jobd.job(queue="mailers", retry=5)`.

    - `name`: name on the wire; default `module.qualname`.
    - `queue`: default `default`. `retry_queue`: the queue of later attempts; default the same.
    - `retry`: True (default) for as many retries as the worker's `max_retries`, their number, 0 to go to
      the dead set at the first failure, False to drop the job then.
    - `retry_for`: seconds from the first failure for which it is retried, whatever their number.
    - `dead`: False drops the job after its last retry instead of keeping it in the dead set; default True.
    - `backtrace`: lines of the traceback to keep with a failed job, True for all; default none.
    - `tags`: list of strings, shown with the job. `log_level`: level of the log during the job.
    - `expires_in`: seconds or a `timedelta`; a job that has not started this long after its push, or after the time
      it was put off to, is not run.
    - `retry_on`: list of `RetryOn`. `discard_on`: list of types of error that drop the job. `retry_in`,
      `retries_exhausted`: functions, as the decorators of the same names.
    - `cron`: when workers run it by themselves: an expression such as `"0 8 * * *"`, in the time zone `timezone`
      (UTC), a `jobd.Cron`, or a list of these.

    Any further option is kept in the payload. Raises `JobDefinitionError`.
    """
    if function is not None:
        return _define_function(function, name, given)
    return lambda defined: _define_function(defined, name, given)


def _define_function(function: Callable[P, R], name: str | None, given: Mapping[str, Any]) -> JobFunction[P, R]:
    if not isinstance(function, FunctionType):
        raise JobDefinitionError(f"{function!r} is not a function; put @jobd.job on a def, or extend jobd.Job")
    origin = _origin(function, function.__module__, function.__qualname__)
    signature = _signature(function, origin)
    outer = function.__qualname__.rpartition("<locals>.")[2]
    if "." in outer and next(iter(signature.parameters), "") in ("self", "cls"):
        raise JobDefinitionError(f"{origin} is a method; make it a function, or a class that extends jobd.Job")
    own, rest = policies.split(given, str(origin))
    return JobFunction(function, _define(name, rest, function, signature, origin, own))


def _define(
    name: str | None,
    given: Mapping[str, Any],
    target: Callable[..., Any],
    signature: inspect.Signature,
    origin: Origin,
    own: Policies,
) -> Handler:
    if name is not None and not (isinstance(name, str) and name.strip()):
        raise JobDefinitionError(f"{origin}: name={name!r}: give a string that is not empty")
    plain = {key: value for key, value in given.items() if key not in ("cron", "timezone")}
    checked = options.check(plain, place=str(origin), error=JobDefinitionError)
    handler = Handler(name or f"{origin.module}.{origin.qualname}", checked, target, signature, origin, own)
    registry.register(handler)
    if len(plain) < len(given):
        from jobd.client import cron_declared

        cron_declared.declare(handler, given.get("cron"), given.get("timezone"))
    return handler


def _origin(function: FunctionType, module: str, qualname: str) -> Origin:
    if module == "__main__":
        # `python -m app.jobs` and a worker that imports app.jobs must mean the same job.
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        module = spec.name if spec is not None else module
    return Origin(module, qualname, function.__code__.co_filename, function.__code__.co_firstlineno)


def _signature(function: FunctionType, origin: Origin) -> inspect.Signature:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise JobDefinitionError(
            f"{origin} is an async def, which is not supported; make it a def that calls asyncio.run(…)"
        )
    if inspect.isgeneratorfunction(function):
        raise JobDefinitionError(f"{origin} is a generator, so that a call runs nothing; remove its yield")
    return inspect.signature(function)


class Performs(Protocol[P, R_co]):
    """A class whose `perform` is called with `P`."""

    def perform(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


_Owner: TypeAlias = "type[Performs[P, R]]"
_Pushed: TypeAlias = "Coroutine[Any, Any, str | None]"


def _pusher(owner: type[Performs[P, R]]) -> Pusher[P, R]:
    pusher: Pusher[P, R] | None = getattr(owner, "__jobd_pusher__", None)
    if pusher is None:
        raise JobDefinitionError(f"{owner.__qualname__} defines no perform(self, …), so it is not a job")
    return pusher


# The descriptors give each subclass of Job pushes that are typed by its own `perform`, which no
# classmethod could: the type of the class reaches only `__get__`.


class _Set:
    def __get__(self, instance: object, owner: _Owner[P, R]) -> Callable[..., Pusher[P, R]]:
        return _pusher(owner).set


class _PerformAsync:
    def __get__(self, instance: object, owner: _Owner[P, R]) -> Callable[P, str | None]:
        return _pusher(owner).perform_async


class _PerformIn:
    def __get__(self, instance: object, owner: _Owner[P, R]) -> Callable[Concatenate[Wait, P], str | None]:
        return _pusher(owner).perform_in


class _PerformAt:
    def __get__(self, instance: object, owner: _Owner[P, R]) -> Callable[Concatenate[Moment, P], str | None]:
        return _pusher(owner).perform_at


class _PerformInline:
    def __get__(self, instance: object, owner: _Owner[P, R]) -> Callable[P, R | None]:
        return _pusher(owner).perform_inline


class _AperformAsync:
    def __get__(self, instance: object, owner: _Owner[P, R]) -> Callable[P, _Pushed]:
        return _pusher(owner).aperform_async


class _AperformIn:
    def __get__(self, instance: object, owner: _Owner[P, R]) -> Callable[Concatenate[Wait, P], _Pushed]:
        return _pusher(owner).aperform_in


class _AperformAt:
    def __get__(self, instance: object, owner: _Owner[P, R]) -> Callable[Concatenate[Moment, P], _Pushed]:
        return _pusher(owner).aperform_at


class Job:
    """Base of jobs that are classes; define `perform`, and give options as keywords of the class.

    `class HardWorker(jobd.Job, queue="event_worker", name="HardWorker")` takes the options of `@jobd.job`.
    A subclass inherits options but neither the name nor `cron`; one without a `perform` only hands on its options.
    Each run makes a new instance without arguments. The pushes are those of `Pusher`, on the class:
    `HardWorker.perform_async("bob", 5)`.
    """

    __jobd__: ClassVar[Handler | None] = None
    __jobd_options__: ClassVar[Mapping[str, Any]] = NO_OPTIONS
    __jobd_policies__: ClassVar[Policies] = Policies()
    __jobd_pusher__: ClassVar[Pusher[..., Any] | None] = None

    set = _Set()
    perform_async = _PerformAsync()
    perform_later = _PerformAsync()
    perform_in = _PerformIn()
    perform_at = _PerformAt()
    perform_inline = _PerformInline()
    aperform_async = _AperformAsync()
    aperform_later = _AperformAsync()
    aperform_in = _AperformIn()
    aperform_at = _AperformAt()

    def __init_subclass__(cls, *, name: str | None = None, **given: Any) -> None:
        super().__init_subclass__()
        cron: dict[str, Any] = {key: given.pop(key) for key in ("cron", "timezone") if key in given}
        above = [base.__dict__.get("__jobd_policies__") for base in cls.__mro__[1:]]
        cls.__jobd_policies__, rest = policies.split(given, cls.__qualname__, filter(None, above))
        cls.__jobd_options__ = {**cls.__jobd_options__, **rest}
        cls.__jobd__ = _define_class(cls, name, cron)
        cls.__jobd_pusher__ = Pusher(cls.__jobd__) if cls.__jobd__ else None

    @classmethod
    def rescue_from(cls, *errors: type[BaseException]) -> Callable[[_Rescue], _Rescue]:
        """As `JobFunction.rescue_from`, for this class and its subclasses: `@HardWorker.rescue_from(KeyError)`."""
        return cls.__jobd_policies__.rescue_from(errors, cls.__qualname__)

    @classmethod
    def retry_in(cls, function: _RetryIn) -> _RetryIn:
        """As `JobFunction.retry_in`, for this class and its subclasses."""
        return cls.__jobd_policies__.set_retry_in(function, cls.__qualname__)

    @classmethod
    def retries_exhausted(cls, function: _Exhausted) -> _Exhausted:
        """As `JobFunction.retries_exhausted`, for this class and its subclasses."""
        return cls.__jobd_policies__.set_retries_exhausted(function, cls.__qualname__)

    @classmethod
    def perform_bulk(
        cls,
        calls: Iterable[Sequence[Any]],
        *,
        at: Moment | Iterable[Moment] | None = None,
        spread: Wait | None = None,
        batch_size: int = defaults.BULK_SIZE,
    ) -> list[str | None]:
        """Push one call of `perform` for each tuple of positional arguments; see `Pusher.perform_bulk`."""
        pusher = _pusher(cast("type[Performs[..., Any]]", cls))
        return pusher.perform_bulk(calls, at=at, spread=spread, batch_size=batch_size)

    @classmethod
    async def aperform_bulk(
        cls,
        calls: Iterable[Sequence[Any]],
        *,
        at: Moment | Iterable[Moment] | None = None,
        spread: Wait | None = None,
        batch_size: int = defaults.BULK_SIZE,
    ) -> list[str | None]:
        """`perform_bulk` for asyncio."""
        pusher = _pusher(cast("type[Performs[..., Any]]", cls))
        return await pusher.aperform_bulk(calls, at=at, spread=spread, batch_size=batch_size)


_DECORATORS = ("rescue_from", "retry_in", "retries_exhausted")


def _define_class(cls: type[Job], name: str | None, cron: Mapping[str, Any]) -> Handler | None:
    for taken in _DECORATORS:
        if taken in cls.__dict__:
            raise JobDefinitionError(
                f"{cls.__qualname__}.{taken} hides the decorator of this name; write the function below the class, "
                f"under @{cls.__name__}.{taken}"
            )
    perform = inspect.getattr_static(cls, "perform", None)
    if perform is None:
        if cron:
            raise JobDefinitionError(f"{cls.__qualname__} has a cron and no perform; give it to the class that runs")
        options.check(cls.__jobd_options__, place=cls.__qualname__, error=JobDefinitionError)
        return None
    if not isinstance(perform, FunctionType):
        raise JobDefinitionError(f"{cls.__qualname__}.perform is {perform!r}; make it a method: def perform(self, …)")
    origin = _origin(perform, cls.__module__, cls.__qualname__)
    whole = _signature(perform, origin)
    if not whole.parameters:
        raise JobDefinitionError(f"{origin}: perform takes no self; write def perform(self, …)")
    signature = whole.replace(parameters=list(whole.parameters.values())[1:])
    given = {**cls.__jobd_options__, **cron}
    return _define(name, given, _new_instance_runs(cls), signature, origin, cls.__jobd_policies__)


def _new_instance_runs(cls: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: cls().perform(*args, **kwargs)
