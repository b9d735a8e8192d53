"""Calls as applications write them; never run. `# wrong` marks the lines that a type checker must refuse.

`test_typing.py` gives this file to mypy and to basedpyright.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

import jobd


@jobd.job(queue="mailers", retry=5)
def send(user_id: int, *, locale: str = "en") -> float:
    return 1.0


@jobd.job
def bare(name: str, count: int = 1) -> None: ...


class HardWorker(jobd.Job, queue="event_worker", name="HardWorker", custom={"x": 1}):
    def perform(self, name: str, count: int, *, loud: bool = False) -> float:
        return 1.0


class Inherits(HardWorker, retry=3):
    pass


class OnlyOptions(jobd.Job, queue="low"):
    pass


def when(count: int, error: BaseException, job: jobd.RunningJob) -> float | timedelta | jobd.Verdict | None:
    return jobd.DISCARD if count else None


def over(job: jobd.RunningJob, error: BaseException) -> None: ...


@jobd.job(
    retry_on=[jobd.RetryOn(OSError, KeyError, wait="polynomial", attempts=None), jobd.RetryOn(OSError, wait=float)],
    discard_on=[ValueError],
    retry_in=when,
    retries_exhausted=over,
    expires_in=timedelta(hours=1),
)
def cautious(user_id: int) -> float:
    raise jobd.RetryLater(timedelta(seconds=5), "busy")


@cautious.rescue_from(KeyError, LookupError)
def rescued(job: jobd.RunningJob, error: BaseException) -> None: ...


@cautious.retry_in
def again(count: int, error: BaseException, job: jobd.RunningJob) -> int:
    return 5


@HardWorker.retries_exhausted
def ended(job: jobd.RunningJob, error: BaseException) -> jobd.Verdict:
    return jobd.KILL


def report(error: BaseException, context: jobd.ErrorContext) -> None:
    assert_type(context.job, jobd.RunningJob | None)


def policies() -> None:
    assert_type(cautious.perform_async(7), str | None)
    assert_type(rescued(jobd.current_job(), KeyError()), None)
    jobd.configure(death_handlers=[over], error_handlers=[report], backtrace_cleaner=sorted)

    cautious.perform_async("7")  # wrong
    jobd.RetryOn("OSError")  # wrong
    jobd.RetryOn(OSError, wait="linear")  # wrong
    jobd.RetryOn(OSError, attempts="5")  # wrong
    jobd.job(retry_on=[OSError])  # wrong
    jobd.job(discard_on=["KeyError"])  # wrong
    jobd.job(retry_in=over)  # wrong
    jobd.configure(death_handlers=[when])  # wrong
    cautious.rescue_from(KeyError)(when)  # wrong
    cautious.rescue_from(5)  # wrong
    HardWorker.retry_in(over)  # wrong
    raise jobd.RetryLater("5")  # wrong


def functions() -> None:
    assert_type(send(7, locale="vi"), float)
    assert_type(send.perform_async(7, locale="vi"), str | None)
    assert_type(send.perform_inline(7), float | None)
    assert_type(send.perform_bulk([(1,), (2,)], at=5.0, spread=timedelta(hours=1)), list[str | None])
    send.perform_in(timedelta(hours=1), 7)
    send.perform_in(5, user_id=7)
    send.perform_at(datetime(2027, 1, 1, tzinfo=UTC), 7, locale="en")
    send.set(queue="critical", wait=60, anything=[1]).perform_async(7)
    bare.perform_later("a")
    bare("a", count=2)

    send("7")  # wrong
    send.perform_async("7")  # wrong
    send.perform_async()  # wrong
    send.perform_async(7, "vi")  # wrong
    send.perform_async(7, locale=5)  # wrong
    send.perform_in("5", 7)  # wrong
    send.perform_in(5)  # wrong
    send.perform_at(timedelta(1), 7)  # wrong
    send.set(queue="critical").perform_async("7")  # wrong
    send.set(wait="5")  # wrong
    send.perform_bulk([1, 2])  # wrong
    send.perform_inline(None)  # wrong
    bare.perform_async("a", coutn=1)  # wrong
    bare.perform_asinc("a")  # wrong


def classes() -> None:
    assert_type(HardWorker.perform_async("bob", 5), str | None)
    assert_type(HardWorker.perform_inline("bob", 5, loud=True), float | None)
    assert_type(HardWorker.perform_bulk([("bob", 5)]), list[str | None])
    HardWorker.perform_in(5.5, "bob", count=5)
    HardWorker.perform_at(1.5, "bob", 5)
    HardWorker.set(queue="q").perform_later("bob", 5)
    Inherits.perform_async("bob", 5)

    HardWorker.perform_async("bob")  # wrong
    HardWorker.perform_async("bob", "5")  # wrong
    HardWorker.perform_async("bob", 5, loud="no")  # wrong
    HardWorker.perform_in("5", "bob", 5)  # wrong
    HardWorker.perform_in(5, "bob")  # wrong
    HardWorker.perform_at(datetime(2027, 1, 1, tzinfo=UTC), 5)  # wrong
    HardWorker.perform_inline("bob")  # wrong
    HardWorker.set(queue="q").perform_async(5)  # wrong
    Inherits.perform_async(5, 5)  # wrong
    OnlyOptions.perform_async(5)  # wrong


async def twins() -> None:
    assert_type(await send.aperform_async(7), str | None)
    assert_type(await HardWorker.aperform_async("bob", 5), str | None)
    assert_type(await HardWorker.aperform_bulk([("bob", 5)]), list[str | None])
    await send.aperform_in(5, 7)
    await HardWorker.aperform_at(5.0, "bob", 5)

    await send.aperform_async("7")  # wrong
    await send.aperform_at("5", 7)  # wrong
    await HardWorker.aperform_async(5)  # wrong
    await HardWorker.aperform_in(5, 5)  # wrong


def stop(payload: dict[str, Any], proceed: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    return None


def around(job: jobd.RunningJob, proceed: Callable[[], Any]) -> Any:
    return proceed()


def settings() -> None:
    jobd.configure(redis_url=None, client_middleware=[stop], server_middleware=[around], timestamps="ms")
    jobd.configure(timestamps="us")  # wrong
    jobd.configure(server_middleware=[stop, send])  # wrong
    assert_type(jobd.current_job().attempt, int)
    assert_type(jobd.Client().push({"class": send, "args": [1]}), str | None)
    jobd.current_job().attempt = 5  # wrong
