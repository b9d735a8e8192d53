"""What a definition says about errors: its checks, and which rule an error gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

import jobd
from jobd.client import registry, settings
from jobd.client.errors import ConfigError, InvalidArguments, JobDefinitionError
from jobd.client.policies import DiscardOn, RescueFrom, RetryOn, Rule


class Gone(ConnectionError):
    """An error of an application."""


@pytest.fixture(autouse=True)
def the_names_are_free_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Jobs of one test are none of the next one's."""
    monkeypatch.setattr(registry, "_handlers", dict(registry._handlers))
    yield
    settings.reset()


def rule(job: Any, error: BaseException) -> Rule | None:
    handler: registry.Handler = job.__jobd__
    return handler.policies.rule_for(error)


def handled(job: object, error: BaseException) -> None:
    """A handler that does nothing."""


def test_a_job_without_policies_has_no_rule() -> None:
    @jobd.job
    def plain() -> None: ...

    assert rule(plain, ValueError()) is None
    assert plain.__jobd__.policies.retry_in is None


def test_a_rule_is_for_its_errors_and_their_subclasses() -> None:
    again = RetryOn(ConnectionError, TimeoutError)

    @jobd.job(retry_on=[again], discard_on=[KeyError])
    def send() -> None: ...

    assert rule(send, Gone()) is again
    assert rule(send, TimeoutError()) is again
    assert rule(send, KeyError()) == DiscardOn((KeyError,))
    assert rule(send, ValueError()) is None


@pytest.mark.parametrize("turned", [False, True])
def test_of_one_definition_the_most_specific_rule_counts_wherever_it_stands(turned: bool) -> None:
    wide, narrow = RetryOn(OSError), RetryOn(ConnectionError)
    policies: dict[str, Any] = {"retry_on": [wide, narrow], "discard_on": [Gone]}
    if turned:
        policies = {"discard_on": [Gone], "retry_on": [narrow, wide]}

    @jobd.job(**policies)
    def send() -> None: ...

    assert rule(send, Gone()) == DiscardOn((Gone,))
    assert rule(send, ConnectionResetError()) is narrow
    assert rule(send, PermissionError()) is wide


def test_of_two_rules_for_one_type_the_last_counts() -> None:
    first, last = RetryOn(OSError), RetryOn(OSError, attempts=2)

    @jobd.job(retry_on=[first, last])
    def send() -> None: ...

    assert rule(send, OSError()) is last


def test_a_later_definition_is_looked_at_first() -> None:
    @jobd.job(discard_on=[Gone])
    def send() -> None: ...

    send.rescue_from(ConnectionError)(handled)
    assert rule(send, Gone()) == RescueFrom((ConnectionError,), handled)

    @send.rescue_from(Exception)
    def everything(job: jobd.RunningJob, error: BaseException) -> None: ...

    assert rule(send, Gone()) == RescueFrom((Exception,), everything)


def test_a_subclass_inherits_policies_and_its_own_come_first() -> None:
    wide, narrow = RetryOn(OSError), RetryOn(Exception)

    class Base(jobd.Job, retry_on=[wide], retry_in=lambda count, error, job: 5):
        """Hands on its policies."""

    class Heir(Base, name="policies.heir", discard_on=[KeyError]):
        def perform(self) -> None: ...

    class Own(Base, name="policies.own", retry_on=[narrow], retry_in=lambda count, error, job: 7):
        def perform(self) -> None: ...

    assert rule(Heir, OSError()) is wide
    assert rule(Heir, KeyError()) == DiscardOn((KeyError,))
    assert rule(Own, OSError()) is narrow
    assert rule(Own, KeyError()) is narrow
    assert (asked(Heir), asked(Own)) == (5, 7)

    Base.rescue_from(KeyError)(handled)
    assert isinstance(rule(Heir, KeyError()), DiscardOn)
    assert rule(Heir, IndexError()) is None
    Base.rescue_from(IndexError)(handled)
    assert isinstance(rule(Heir, IndexError()), RescueFrom)


def asked(job: Any) -> object:
    handler: registry.Handler = job.__jobd__
    function = handler.policies.retry_in
    assert function
    return function(0, ValueError(), None)  # type: ignore[arg-type]


def test_decorators_return_what_they_are_put_on() -> None:
    @jobd.job
    def send() -> None: ...

    def when(count: int, error: BaseException, job: jobd.RunningJob) -> float:
        return 5.0

    def over(job: jobd.RunningJob, error: BaseException) -> None: ...

    assert send.retry_in(when) is when
    assert send.retries_exhausted(over) is over
    assert send.__jobd__.policies.retry_in is when
    assert send.__jobd__.policies.retries_exhausted is over


def test_policies_do_not_travel() -> None:
    @jobd.job(retry_on=[RetryOn(OSError)], discard_on=[KeyError], retries_exhausted=handled, queue="mail")
    def send() -> None: ...

    assert dict(send.__jobd__.options) == {"queue": "mail"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RetryOn(), "at least one type of error"),
        (lambda: RetryOn("OSError"), "'OSError' is no type of error"),  # type: ignore[arg-type]
        (lambda: RetryOn(OSError()), "is no type of error"),  # type: ignore[arg-type]
        (lambda: RetryOn(int), "is no type of error"),  # type: ignore[arg-type]
        (lambda: RetryOn(jobd.RetryLater), "RetryLater is no failure"),
        (lambda: RetryOn(OSError, attempts=0), "attempts=0"),
        (lambda: RetryOn(OSError, attempts=True), "attempts=True"),
        (lambda: RetryOn(OSError, attempts=2.5), "attempts=2.5"),  # type: ignore[arg-type]
        (lambda: RetryOn(OSError, jitter=1.5), "jitter=1.5"),
        (lambda: RetryOn(OSError, jitter=-0.1), "jitter=-0.1"),
        (lambda: RetryOn(OSError, queue="no queue"), "queue='no queue'"),
        (lambda: RetryOn(OSError, wait="linear"), "wait='linear'"),  # type: ignore[arg-type]
        (lambda: RetryOn(OSError, wait=-1), "wait=-1"),
        (lambda: RetryOn(OSError, wait=float("nan")), "wait=nan"),
        (lambda: RetryOn(OSError, wait=10**400), "wait=1000"),
        (lambda: RetryOn(OSError, wait=timedelta(seconds=-1)), "wait=-1"),
        (lambda: RetryOn(OSError, wait=lambda: 5), r"cannot be called with \(count\)"),  # type: ignore[arg-type,misc]
        (lambda: jobd.job(retry_on=RetryOn(OSError)), "retry_on=.*give a list"),  # type: ignore[call-overload]
        (lambda: jobd.job(retry_on=[OSError]), "retry_on=.*give a list"),  # type: ignore[list-item]
        (lambda: jobd.job(discard_on=KeyError), "discard_on=.*give a list"),  # type: ignore[call-overload]
        (lambda: jobd.job(discard_on=["KeyError"]), "'KeyError' is no type"),  # type: ignore[list-item]
        (lambda: jobd.job(retry_in=5), "retry_in: 5 is not a plain function"),  # type: ignore[call-overload]
        (lambda: jobd.job(retry_in=lambda count: 5), r"with \(count, error, job\)"),  # type: ignore[arg-type,misc]
        (lambda: jobd.job(retries_exhausted=print.__class__), "retries_exhausted"),
    ],
)
def test_what_cannot_be_used_is_refused_when_it_is_defined(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(JobDefinitionError, match=message):
        make()(lambda: None)


async def on_loop(job: jobd.RunningJob, error: BaseException) -> None:
    """What no hook may be."""


def test_a_handler_is_a_plain_function_of_two_arguments() -> None:
    @jobd.job
    def send() -> None: ...

    with pytest.raises(JobDefinitionError, match=r"send\.rescue_from: .*on_loop.* is not a plain function"):
        send.rescue_from(KeyError)(on_loop)
    with pytest.raises(JobDefinitionError, match=r"cannot be called with \(job, error\)"):
        send.rescue_from(KeyError)(lambda job: None)  # type: ignore[type-var]
    with pytest.raises(JobDefinitionError, match="at least one type"):
        send.rescue_from()
    assert rule(send, KeyError()) is None


def test_a_method_that_would_hide_a_decorator_is_refused() -> None:
    with pytest.raises(JobDefinitionError, match=r"Hidden\.retry_in hides the decorator.*@Hidden\.retry_in"):

        class Hidden(jobd.Job):
            def perform(self) -> None: ...

            def retry_in(self) -> None: ...  # type: ignore[override]


def test_a_rule_counts_under_the_names_of_its_errors() -> None:
    assert RetryOn(OSError, Gone).key == f"OSError,{__name__}.Gone"
    assert RetryOn(OSError, wait=timedelta(minutes=1)).wait == 60.0


@pytest.mark.parametrize("seconds", ["5", None, True, float("inf"), 2_000_000_000])
def test_retry_later_takes_seconds(seconds: Any) -> None:
    with pytest.raises(InvalidArguments, match="RetryLater is"):
        jobd.RetryLater(seconds)


def test_retry_later_says_what_it_asks_for() -> None:
    assert str(jobd.RetryLater(30, "the printer is busy")) == "again in 30 s: the printer is busy"
    assert jobd.RetryLater(timedelta(minutes=1)).seconds == 60
    assert jobd.RetryLater(-5).seconds == 0


def test_run_inline_a_job_raises_what_it_raises_whatever_its_policies() -> None:
    @jobd.job(discard_on=[KeyError])
    def send(later: bool) -> None:
        raise jobd.RetryLater(5) if later else KeyError("a")

    send.rescue_from(KeyError)(handled)
    with pytest.raises(jobd.RetryLater):
        send.perform_inline(True)
    with pytest.raises(KeyError):
        send.perform_inline(False)


@pytest.mark.parametrize("name", ["death_handlers", "error_handlers"])
@pytest.mark.parametrize("value", [print, 5, [5], [on_loop]])
def test_handlers_of_the_process_are_lists_of_plain_functions(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        jobd.configure(**{name: value})


def test_a_backtrace_cleaner_is_one_function_or_none() -> None:
    with pytest.raises(ConfigError, match="backtrace_cleaner"):
        jobd.configure(backtrace_cleaner=5)  # type: ignore[arg-type]
    jobd.configure(backtrace_cleaner=sorted)
    jobd.configure(backtrace_cleaner=None)
    assert settings.current().backtrace_cleaner is None
