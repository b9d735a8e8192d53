"""Defining jobs, and each way of pushing or running them."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from redis import Redis

import jobd
from jobd.client import push, registry, scripts
from jobd.client.errors import InvalidArguments, InvalidPayload, JobDefinitionError, UnserializableArgument
from tests.waiting import wait_until


@jobd.job(queue="mailers", retry=5, backtrace=10, name="send_welcome")
def send_welcome(user_id: int, *, locale: str = "en") -> str:
    """Greets."""
    return f"{user_id} {locale}"


@jobd.job
def add(a: int, b: int = 2) -> int:
    return a + b


class Application(jobd.Job, queue="event_worker", tags=["app"]):
    """Only hands on its options."""


class HardWorker(Application, retry=5, name="HardWorker"):
    def perform(self, name: str, count: int) -> str:
        return name * count


def queued(redis: Redis, queue: str = "default") -> list[dict[str, Any]]:
    """The payloads of a queue, oldest first."""
    return [json.loads(raw) for raw in reversed(cast("list[bytes]", redis.lrange(f"queue:{queue}", 0, -1)))]


def scheduled(redis: Redis) -> list[tuple[dict[str, Any], float]]:
    """The payloads in the scheduled set with their times."""
    entries = cast("list[tuple[bytes, float]]", redis.zrange("schedule", 0, -1, withscores=True))
    return [(json.loads(raw), score) for raw, score in entries]


def test_a_plain_call_runs_the_function_and_queues_nothing(configured: str, redis: Redis) -> None:
    assert send_welcome(7, locale="vi") == "7 vi"
    assert redis.keys() == []


def test_a_job_keeps_the_looks_of_its_function() -> None:
    assert (send_welcome.__name__, send_welcome.__doc__) == ("send_welcome", "Greets.")
    assert send_welcome.__module__ == __name__


def test_a_job_is_registered_under_module_and_qualname() -> None:
    handler = registry.lookup(f"{__name__}.add")
    assert handler is not None
    assert handler.run([1], {"b": 4}) == 5
    assert registry.lookup("no such job") is None


def test_a_class_runs_on_a_new_instance_each_time() -> None:
    seen = []

    class Counts(jobd.Job, name="counts"):
        def perform(self) -> None:
            seen.append(self)

    handler = registry.lookup("counts")
    assert handler is not None
    handler.run([], {})
    handler.run([], {})
    assert seen[0] is not seen[1]


def test_a_class_inherits_options_but_not_the_name() -> None:
    class Harder(HardWorker, retry=6):
        pass

    handler = registry.lookup(f"{__name__}.{Harder.__qualname__}")
    assert handler is not None
    assert dict(handler.options) == {"queue": "event_worker", "tags": ["app"], "retry": 6}


def test_a_class_without_perform_is_no_job() -> None:
    assert registry.lookup(f"{__name__}.Application") is None
    with pytest.raises(JobDefinitionError, match="Application defines no perform"):
        cast("Any", Application).perform_async()


def test_two_jobs_of_one_name_are_refused_naming_both_places() -> None:
    @jobd.job(name="twice")
    def first() -> None: ...

    with pytest.raises(JobDefinitionError) as caught:

        @jobd.job(name="twice")
        def second() -> None: ...

    message = str(caught.value)
    assert "first" in message
    assert "second" in message
    assert message.count(__file__) == 2


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("reloaded_jobs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_reloaded_module_defines_its_jobs_anew(tmp_path: Path) -> None:
    path = tmp_path / "reloaded_jobs.py"
    path.write_text("import jobd\n@jobd.job\ndef answer(): return 1\n")
    load(path)
    path.write_text("import jobd\n\n\n@jobd.job\ndef answer(): return 'changed'\n")
    load(path)
    handler = registry.lookup("reloaded_jobs.answer")
    assert handler is not None
    assert handler.run([], {}) == "changed"


def test_a_job_of_a_module_run_as_a_program_has_the_name_under_which_a_worker_imports_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def main_job() -> None: ...

    main_job.__module__ = "__main__"
    main_job.__qualname__ = "main_job"
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", importlib.util.spec_from_loader("app.jobs", None))
    jobd.job(main_job)
    assert registry.lookup("app.jobs.main_job") is not None


async def coroutine() -> None: ...


async def async_generator() -> AsyncIterator[int]:
    yield 1


def generator() -> Iterator[int]:
    yield 1


class Holder:
    def method(self) -> None: ...


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (coroutine, "async def, which is not supported; make it a def that calls asyncio.run"),
        (async_generator, "async def"),
        (generator, "is a generator"),
        (Holder.method, "is a method"),
        (len, "is not a function"),
        (Holder, "extend jobd.Job"),
    ],
)
def test_what_cannot_be_a_job_is_refused_at_its_definition(function: Callable[..., Any], complaint: str) -> None:
    with pytest.raises(JobDefinitionError, match=complaint):
        jobd.job(function)


def test_a_class_whose_perform_is_async_is_refused() -> None:
    with pytest.raises(JobDefinitionError, match="async def"):

        class Waits(jobd.Job):
            async def perform(self) -> None: ...


@pytest.mark.parametrize(
    "options",
    [
        {"queue": "with space"},
        {"queue": ""},
        {"queue": None},
        {"retry": -1},
        {"retry": "yes"},
        {"retry": None},
        {"retry": 1.5},
        {"retry_for": 0},
        {"expires_in": 0},
        {"expires_in": "1h"},
        {"expires_in": timedelta(0)},
        {"retry_for": 1_795_305_954},
        {"retry_for": True},
        {"retry_for": float("nan")},
        {"retry_queue": "a/b"},
        {"backtrace": -1},
        {"dead": 1},
        {"tags": "one"},
        {"tags": [1]},
        {"log_level": "loud"},
        {"custom": {1, 2}},
        {"name": ""},
        {"name": 5},
    ],
    ids=str,
)
def test_a_wrong_option_is_refused_with_its_value_and_the_place(options: dict[str, Any]) -> None:
    with pytest.raises(JobDefinitionError) as caught:

        @jobd.job(**options)
        def wrong() -> None: ...

    [(name, value)] = options.items()
    assert f"{name}={value!r}: " in str(caught.value)
    assert "wrong" in str(caught.value)
    assert __file__ in str(caught.value)


@pytest.mark.parametrize("name", ["unique", "unique_for", "timeout", "hard_timeout", "encrypt"])
def test_an_option_without_effect_is_refused(name: str) -> None:
    with pytest.raises(JobDefinitionError, match=f"no option `{name}`"):
        jobd.job(**{name: 5})(lambda: None)
    with pytest.raises(InvalidPayload, match=f"no option `{name}`"):
        add.set(**{name: 5})


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("pool", r"jobd\.Client\(url\)\.push"),
        ("client_class", r"jobd\.Client\(url\)\.push"),
        ("sync", "perform_inline"),
        ("profile", "Ruby's processes alone"),
        ("profiler_options", "Ruby's processes alone"),
    ],
)
def test_an_option_of_sidekiq_that_means_nothing_here_is_refused_with_the_reason(name: str, remedy: str) -> None:
    with pytest.raises(JobDefinitionError, match=f"`{name}`.*{remedy}"):
        jobd.job(**{name: "x"})(lambda: None)
    with pytest.raises(InvalidPayload, match=f"`{name}`.*{remedy}"):
        add.set(**{name: "x"})


def test_a_dictionary_for_a_ruby_process_may_ask_for_its_profiler(configured: str, redis: Redis) -> None:
    jobd.Client().push({"class": "HardJob", "args": [], "profile": "token"})
    assert queued(redis, "default")[0]["profile"] == "token"


@pytest.mark.parametrize("name", ["retry_on", "discard_on", "retry_in", "retries_exhausted"])
def test_a_policy_is_part_of_the_definition_and_nothing_that_travels(name: str) -> None:
    with pytest.raises(InvalidPayload, match=f"`{name}`.*@jobd.job"):
        add.set(**{name: []})
    with pytest.raises(InvalidPayload, match=f"`{name}`.*@jobd.job"):
        jobd.Client().push({"class": "A", "args": [], name: []})
    with pytest.raises(jobd.errors.ConfigError, match=f"`{name}`.*@jobd.job"):
        jobd.default_options(**{name: []})


def test_durations_may_be_timedeltas_and_travel_as_seconds(configured: str, redis: Redis) -> None:
    add.set(expires_in=timedelta(hours=1), retry_for=timedelta(days=1)).perform_async(1, 2)
    [fields] = queued(redis, "default")
    assert (fields["expires_in"], fields["retry_for"]) == (3600, 86400)


def test_the_time_for_which_a_job_is_put_off_does_not_count_towards_its_expiry(configured: str, redis: Redis) -> None:
    add.set(expires_in=60).perform_in(1000, 1, 2)
    [(fields, _)] = scheduled(redis)
    assert fields["expires_in"] == pytest.approx(1060, abs=1)
    add.set(expires_in=60).perform_at(5.0, 1, 2)
    assert queued(redis, "default")[0]["expires_in"] == 60


@pytest.mark.parametrize("name", ["jid", "class", "args", "created_at", "retry_count", "cron_entry"])
def test_a_field_that_jobd_writes_is_not_an_option(name: str) -> None:
    with pytest.raises(JobDefinitionError, match=f"`{name}` is written by jobd"):
        jobd.job(**{name: 5})(lambda: None)


def test_a_push_puts_the_job_with_its_options_into_its_queue(configured: str, redis: Redis) -> None:
    jid = send_welcome.perform_async(7, locale="vi")
    [fields] = queued(redis, "mailers")
    assert list(fields) == [
        *("retry", "queue", "backtrace", "args", "class", "kwargs", "jid", "created_at", "enqueued_at"),
    ]
    assert fields | {"created_at": 0, "enqueued_at": 0} == {
        "retry": 5,
        "queue": "mailers",
        "backtrace": 10,
        "args": [7],
        "class": "send_welcome",
        "kwargs": {"locale": "vi"},
        "jid": jid,
        "created_at": 0,
        "enqueued_at": 0,
    }
    assert isinstance(fields["created_at"], float)
    assert time.time() - 60 < fields["enqueued_at"] <= time.time()
    assert redis.smembers("queues") == {b"mailers"}


def test_a_class_is_pushed_like_a_function(configured: str, redis: Redis) -> None:
    HardWorker.perform_async("bob", count=5)
    [fields] = queued(redis, "event_worker")
    assert (fields["class"], fields["args"], fields["tags"]) == ("HardWorker", ["bob", 5], ["app"])
    assert "kwargs" not in fields


def test_jobs_are_taken_in_the_order_of_their_pushes(configured: str, redis: Redis) -> None:
    for number in range(3):
        add.perform_later(number)
    assert [fields["args"] for fields in queued(redis)] == [[0], [1], [2]]


@pytest.mark.parametrize("delay", [3600, 3600.0, timedelta(hours=1)])
def test_perform_in_schedules_the_job(configured: str, redis: Redis, delay: float | timedelta) -> None:
    jid = add.perform_in(delay, 7)
    [(fields, score)] = scheduled(redis)
    assert fields["jid"] == jid
    assert "at" not in fields
    assert "enqueued_at" not in fields
    assert score == pytest.approx(time.time() + 3600, abs=60)
    assert redis.exists("queues", "queue:default") == 0


@pytest.mark.parametrize(
    "moment",
    [
        4070908800,
        4070908800.0,
        datetime(2099, 1, 1, tzinfo=UTC),
        datetime(2099, 1, 1, 7, tzinfo=timezone(timedelta(hours=7))),
    ],
)
def test_perform_at_schedules_the_job_for_that_moment(configured: str, redis: Redis, moment: float | datetime) -> None:
    add.perform_at(moment, 7)
    [(_, score)] = scheduled(redis)
    assert score == 4070908800.0


def test_a_time_that_is_not_in_the_future_pushes_now(configured: str, redis: Redis) -> None:
    add.perform_in(0, 1)
    add.perform_in(-5, 2)
    add.perform_at(time.time(), 3)
    assert [fields["args"] for fields in queued(redis)] == [[1], [2], [3]]
    assert all("enqueued_at" in fields and "at" not in fields for fields in queued(redis))


def test_a_naive_datetime_is_refused_with_the_remedy(configured: str, redis: Redis) -> None:
    with pytest.raises(InvalidArguments, match=r"without a time zone.*tzinfo=UTC.*astimezone"):
        add.perform_at(datetime(2099, 1, 1), 7)
    with pytest.raises(InvalidArguments, match="wait_until is 2099-01-01T00:00:00 without a time zone"):
        add.set(wait_until=datetime(2099, 1, 1))
    assert redis.keys() == []


@pytest.mark.parametrize(
    "refused",
    [
        lambda: add.perform_in(float("nan"), 1),
        lambda: add.perform_in(True, 1),
        lambda: add.perform_in("60", 1),
        lambda: add.perform_in(1795305954, 1),
        lambda: add.perform_at(1795305954660, 1),
        lambda: add.perform_at("tomorrow", 1),
        lambda: add.perform_bulk([(1,)], spread=-1),
        lambda: add.set(wait=object()),
    ],
)
def test_a_time_that_is_none_is_refused(refused: Callable[[], object]) -> None:
    with pytest.raises(InvalidArguments):
        refused()


def test_a_wrong_call_is_refused_when_pushing(configured: str, redis: Redis) -> None:
    wrong = cast("Any", send_welcome)
    with pytest.raises(InvalidArguments, match=r"send_welcome\(user_id, \*, locale='en'\): missing"):
        wrong.perform_async()
    with pytest.raises(InvalidArguments, match="too many positional"):
        wrong.perform_in(5, 7, "vi")
    with pytest.raises(UnserializableArgument, match=r"send_welcome: args\[0\] is a datetime"):
        wrong.perform_bulk([(1,), (datetime.now(UTC),)])
    with pytest.raises(UnserializableArgument, match="locale is a set"):
        wrong.perform_async(1, locale={"en"})
    with pytest.raises(InvalidArguments, match="unexpected keyword argument 'loud'"):
        cast("Any", HardWorker).perform_async("bob", 5, loud=True)
    assert redis.keys() == []


def test_set_changes_options_for_one_call(configured: str, redis: Redis) -> None:
    critical = send_welcome.set(queue="critical", custom={"x": 1})
    critical.set(retry=False).perform_async(7)
    send_welcome.perform_async(8)
    [fields] = queued(redis, "critical")
    assert (fields["retry"], fields["custom"], fields["backtrace"]) == (False, {"x": 1}, 10)
    assert "custom" not in queued(redis, "mailers")[0]


def test_set_puts_the_run_off(configured: str, redis: Redis) -> None:
    add.set(wait=60).perform_async(1)
    add.set(wait=timedelta(minutes=1)).set(queue="other").perform_async(2)
    HardWorker.set(wait_until=datetime(2099, 1, 1, tzinfo=UTC)).perform_async("bob", 1)
    times = [score for _, score in scheduled(redis)]
    assert times == [pytest.approx(time.time() + 60, abs=30)] * 2 + [4070908800.0]
    with pytest.raises(InvalidPayload, match="both given"):
        add.set(wait=5, wait_until=5)


def test_set_refuses_a_wrong_option() -> None:
    with pytest.raises(InvalidPayload, match=r"send_welcome.set: queue='a b': "):
        send_welcome.set(queue="a b")


def test_default_options_lie_under_those_of_the_job(configured: str, redis: Redis) -> None:
    jobd.configure(default_options={"retry": 3})
    jobd.default_options(queue="other", tags=("x",))
    add.perform_async(1)
    send_welcome.perform_async(2)
    assert (queued(redis, "other")[0]["retry"], queued(redis, "other")[0]["tags"]) == (3, ["x"])
    assert (queued(redis, "mailers")[0]["retry"], queued(redis, "mailers")[0]["tags"]) == (5, ["x"])


def test_a_bulk_push_returns_the_jids_in_order(configured: str, redis: Redis) -> None:
    jids = add.perform_bulk([(1,), [2, 3], (4,)])
    assert [fields["jid"] for fields in queued(redis)] == jids
    assert [fields["args"] for fields in queued(redis)] == [[1], [2, 3], [4]]


def test_a_bulk_push_takes_one_round_trip_for_each_thousand(configured: str, redis: Redis) -> None:
    redis.config_resetstat()
    jids = HardWorker.perform_bulk(("bob", number) for number in range(2_500))
    assert cast("dict[str, Any]", redis.info("commandstats"))["cmdstat_lpush"]["calls"] == 3
    assert len(set(jids)) == 2_500
    assert [fields["args"][1] for fields in queued(redis, "event_worker")] == list(range(2_500))


def test_a_lazy_iterable_is_read_as_the_push_proceeds(configured: str, redis: Redis) -> None:
    redis.script_load(scripts.load("push").source)

    def calls() -> Iterator[tuple[int]]:
        for number in range(5):
            before = number // 2 * 2
            # The last ones were sent, but their answer is not waited for before these are made.
            wait_until(lambda before=before: redis.llen("queue:default") == before, "the round trips before")
            yield (number,)

    add.perform_bulk(calls(), batch_size=2)
    assert redis.llen("queue:default") == 5


def test_a_bulk_push_at_one_time_or_at_one_for_each(configured: str, redis: Redis) -> None:
    add.perform_bulk([(1,), (2,)], at=4070908800)
    add.perform_bulk([(3,), (4,)], at=[4070908801, time.time() - 5])
    assert {fields["args"][0]: score for fields, score in scheduled(redis)} == {
        1: 4070908800.0,
        2: 4070908800.0,
        3: 4070908801.0,
    }
    assert [fields["args"] for fields in queued(redis)] == [[4]]


def test_spread_starts_each_job_at_random_within_the_time(configured: str, redis: Redis) -> None:
    now = time.time()
    add.perform_bulk(((number,) for number in range(200)), spread=timedelta(hours=1))
    times = [score for _, score in scheduled(redis)]
    assert len(set(times)) > 150
    assert now <= min(times) < now + 1800 < max(times) <= time.time() + 3600
    redis.flushall()
    add.perform_bulk([(1,)], at=4070908800, spread=10)
    assert 4070908800 <= scheduled(redis)[0][1] <= 4070908810


@pytest.mark.parametrize(
    ("bulk", "complaint"),
    [
        (lambda: add.perform_bulk([1]), r"1 in a bulk push is not one call's arguments; give a tuple"),
        (lambda: add.perform_bulk(["ab"]), "'ab' in a bulk push"),
        (lambda: add.perform_bulk([(1,), (2,)], at=[4070908800]), "fewer times than there are jobs"),
        (lambda: add.perform_bulk([(1,)], batch_size=0), "batch_size is 0"),
        (lambda: add.perform_bulk([(1,)], batch_size=5_000), "batch_size is 5000"),
    ],
)
def test_a_wrong_bulk_push_is_refused(
    configured: str, redis: Redis, bulk: Callable[[], object], complaint: str
) -> None:
    with pytest.raises(InvalidArguments, match=complaint):
        bulk()
    assert redis.keys() == []


def test_an_error_in_the_midst_of_a_bulk_push_tells_what_was_pushed(configured: str, redis: Redis) -> None:
    with pytest.raises(InvalidArguments) as caught:
        add.perform_bulk([(1,), (2,), ()], batch_size=2)
    assert list(caught.value.pushed) == [fields["jid"] for fields in queued(redis)]
    assert "2 jobs of this bulk push were pushed before" in caught.value.__notes__[0]


def test_perform_inline_runs_through_json_and_knows_the_job() -> None:
    seen: list[Any] = []

    @jobd.job(tags=["t"], name="inline")
    def inline(value: Any, *, extra: int = 0) -> str:
        seen.append((value, extra, jobd.current_job()))
        return "result"

    assert inline.set(queue="q").perform_inline((1, 2), extra=3) == "result"
    [(value, extra, job)] = seen
    assert (value, extra) == ([1, 2], 3)
    assert (job.name, job.queue, job.args, job.kwargs) == ("inline", "q", [[1, 2]], {"extra": 3})
    assert (job.attempt, job.tags, len(job.jid)) == (1, ("t",), 24)
    assert job.enqueued_at == pytest.approx(time.time(), abs=60)
    with pytest.raises(TypeError):
        job.payload["jid"] = "other"
    with pytest.raises(jobd.JobdError, match="outside a job"):
        jobd.current_job()


def test_perform_inline_checks_like_a_push_and_raises_the_jobs_error() -> None:
    with pytest.raises(InvalidArguments):
        cast("Any", add).perform_inline()
    with pytest.raises(TypeError, match="can only concatenate"):
        cast("Any", add).perform_inline("a", 1)


async def test_the_asyncio_twins_push_the_same(configured: str, redis: Redis) -> None:
    jids = [
        await add.aperform_async(1),
        await add.aperform_later(2),
        *await add.aperform_bulk([(3,), (4,)]),
    ]
    await HardWorker.aperform_async("bob", 5)
    await HardWorker.aperform_later("bob", 6)
    await HardWorker.aperform_bulk([("bob", 7)])
    assert [fields["jid"] for fields in queued(redis)] == jids
    assert [fields["args"][1] for fields in queued(redis, "event_worker")] == [5, 6, 7]
    await add.aperform_in(3600, 8)
    await add.aperform_at(4070908800, 9)
    await HardWorker.aperform_in(3600, "bob", 10)
    await HardWorker.aperform_at(4070908800, "bob", 11)
    await add.set(wait_until=4070908800).aperform_async(12)
    assert {fields["args"][-1] for fields, _ in scheduled(redis)} == {8, 9, 10, 11, 12}
    await push.default_client().aclose()
