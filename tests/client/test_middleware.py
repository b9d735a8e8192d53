"""Client middleware around pushes, server middleware around runs, and what a running job knows."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from redis import Redis

import jobd
from jobd.client import call, middleware, registry
from jobd.client.errors import InvalidArguments, InvalidPayload, MalformedPayload

Payload = dict[str, Any]
Proceed = Callable[[Payload], Payload | None]


@jobd.job(name="middleware_tests.add")
def add(a: int, b: int = 2) -> int:
    return a + b


def queued(redis: Redis, queue: str = "default") -> list[Payload]:
    return [json.loads(raw) for raw in reversed(cast("list[bytes]", redis.lrange(f"queue:{queue}", 0, -1)))]


def trace(payload: Payload, proceed: Proceed) -> Payload | None:
    return proceed({**payload, "trace": "abc"})


def stop_odd(payload: Payload, proceed: Proceed) -> Payload | None:
    return None if payload["args"][0] % 2 else proceed(payload)


def test_the_first_client_middleware_is_the_outermost() -> None:
    def mark(name: str) -> middleware.ClientMiddleware:
        def wrap(payload: Payload, proceed: Proceed) -> Payload | None:
            changed = proceed({**payload, "in": [*payload["in"], name]})
            return changed and {**changed, "out": [*changed["out"], name]}

        return wrap

    stack = middleware.client_stack([mark("a"), mark("b")])
    assert stack({"in": [], "out": []}) == {"in": ["a", "b"], "out": ["b", "a"]}


def test_client_middleware_may_add_to_the_payload(configured: str, redis: Redis) -> None:
    jobd.configure(client_middleware=[trace])
    add.perform_async(1)
    jobd.Client().push({"class": "Other", "args": []})
    assert [fields["trace"] for fields in queued(redis)] == ["abc", "abc"]


def test_client_middleware_may_stop_a_push(configured: str, redis: Redis) -> None:
    jobd.configure(client_middleware=[stop_odd])
    assert add.perform_async(1) is None
    jids = add.perform_bulk((number,) for number in range(4))
    assert [jid is None for jid in jids] == [False, True, False, True]
    assert [fields["jid"] for fields in queued(redis)] == [jids[0], jids[2]]
    assert add.perform_inline(1) is None
    assert add.perform_inline(2) == 4


async def test_asyncio_pushes_go_through_the_same_chain(configured: str, redis: Redis) -> None:
    jobd.configure(client_middleware=[stop_odd, trace])
    client = jobd.Client()
    assert await client.apush({"class": add, "args": [1]}) is None
    await client.apush({"class": add, "args": [2]})
    await client.apush_bulk({"class": add, "args": [[3], [4]]})
    await client.aclose()
    assert [(fields["args"], fields["trace"]) for fields in queued(redis)] == [([2], "abc"), ([4], "abc")]


def test_client_middleware_may_choose_queue_and_time(configured: str, redis: Redis) -> None:
    def route(payload: Payload, proceed: Proceed) -> Payload | None:
        if payload["args"][0] == 3:
            payload["at"] = 4070908800
        payload["queue"] = f"q{payload['args'][0]}"
        return proceed(payload)

    jobd.configure(client_middleware=[route])
    jids = add.perform_bulk([(1,), (2,), (3,)])
    [scheduled] = cast("list[bytes]", redis.zrange("schedule", 0, -1))
    stored = [queued(redis, "q1")[0], queued(redis, "q2")[0], json.loads(scheduled)]
    assert [fields["jid"] for fields in stored] == jids
    assert redis.smembers("queues") == {b"q1", b"q2"}


def test_client_middleware_sees_when_a_job_is_to_run(configured: str, redis: Redis) -> None:
    seen: list[Any] = []

    def look(payload: Payload, proceed: Proceed) -> Payload | None:
        seen.append(payload.get("at"))
        return proceed(payload)

    jobd.configure(client_middleware=[look])
    add.perform_at(4070908800, 1)
    add.perform_async(1)
    assert seen == [4070908800.0, None]


@pytest.mark.parametrize(
    "change",
    [
        lambda payload: 5,
        lambda payload: {},
        lambda payload: {**payload, "queue": "a b"},
        lambda payload: {**payload, "args": "ab"},
        lambda payload: {**payload, "extra": {1, 2}},
        lambda payload: {**payload, "jid": None},
    ],
)
def test_a_payload_that_client_middleware_broke_is_refused(
    configured: str, redis: Redis, change: Callable[[Payload], Any]
) -> None:
    jobd.configure(client_middleware=[lambda payload, proceed: change(payload)])
    with pytest.raises(InvalidPayload):
        add.perform_async(1)
    assert redis.keys() == []


def test_an_argument_that_client_middleware_put_in_is_checked(configured: str, redis: Redis) -> None:
    jobd.configure(client_middleware=[lambda payload, proceed: {**payload, "args": [b""]}])
    with pytest.raises(InvalidArguments, match=r"middleware_tests.add: args\[0\] is a bytes"):
        add.perform_async(1)


def test_server_middleware_wraps_the_run_the_first_outermost() -> None:
    seen: list[str] = []

    def mark(name: str) -> middleware.ServerMiddleware:
        def wrap(job: jobd.RunningJob, proceed: Callable[[], Any]) -> Any:
            seen.append(f"{name} before {job.name}")
            try:
                return proceed() * 10
            finally:
                seen.append(f"{name} after")

        return wrap

    jobd.configure(server_middleware=[mark("a"), mark("b")])
    assert add.perform_inline(1) == 300
    name = "middleware_tests.add"
    assert seen == [f"a before {name}", f"b before {name}", "b after", "a after"]


def test_an_error_passes_through_server_middleware() -> None:
    @jobd.job(name="middleware_tests.broken")
    def broken() -> None:
        raise ValueError("boom")

    seen: list[str] = []

    def look(job: jobd.RunningJob, proceed: Callable[[], Any]) -> Any:
        try:
            return proceed()
        except ValueError as error:
            seen.append(str(error))
            raise

    jobd.configure(server_middleware=[look])
    with pytest.raises(ValueError, match="boom"):
        broken.perform_inline()
    assert seen == ["boom"]


def test_server_middleware_may_leave_the_job_out() -> None:
    jobd.configure(server_middleware=[lambda job, proceed: "skipped"])
    assert add.perform_inline(1) == "skipped"


def handler_of(run: Callable[..., Any], name: str) -> registry.Handler:
    jobd.job(name=name)(run)
    handler = registry.lookup(name)
    assert handler is not None
    return handler


def test_each_thread_has_its_own_current_job() -> None:
    barrier = threading.Barrier(2)
    seen: dict[str, str] = {}

    def meet(mark: str) -> None:
        barrier.wait(10)
        seen[mark] = jobd.current_job().jid
        barrier.wait(10)

    handler = handler_of(meet, "middleware_tests.meet")
    stack = middleware.server_stack([])

    def run(mark: str) -> None:
        call.run_job(handler, call.running_job({"class": handler.name, "args": [mark], "jid": mark}), stack)

    threads = [threading.Thread(target=run, args=(mark,)) for mark in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == {"a": "a", "b": "b"}


def test_a_job_within_a_job_gives_the_outer_one_back() -> None:
    @jobd.job(name="middleware_tests.inner")
    def inner() -> str:
        return jobd.current_job().name

    @jobd.job(name="middleware_tests.outer")
    def outer() -> list[str | None]:
        return [jobd.current_job().name, inner.perform_inline(), jobd.current_job().name]

    assert outer.perform_inline() == [
        "middleware_tests.outer",
        "middleware_tests.inner",
        "middleware_tests.outer",
    ]


@pytest.mark.parametrize(
    ("fields", "attempt"),
    [({}, 1), ({"retry_count": 0}, 2), ({"retry_count": 4}, 6), ({"retry_count": -1}, 1), ({"retry_count": "x"}, 1)],
)
def test_the_attempt_counts_from_one(fields: Payload, attempt: int) -> None:
    assert call.running_job({"class": "A", **fields}).attempt == attempt


def test_a_running_job_is_read_from_any_payload() -> None:
    bare = call.running_job({"class": "A", "tags": "odd", "enqueued_at": "odd"}, queue="fetched-from")
    assert (bare.jid, bare.name, bare.queue, bare.args, bare.tags) == ("", "A", "fetched-from", [], ())
    assert bare.enqueued_at is None
    wrapped = call.running_job({"class": "Sidekiq::ActiveJob::Wrapper", "wrapped": "M", "queue": "m"})
    assert (wrapped.name, wrapped.queue) == ("M", "m")
    with pytest.raises(MalformedPayload):
        call.running_job({"class": "A", "args": 5})
