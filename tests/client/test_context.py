"""Context variables that travel with jobs: taken at the push, set around the run, gone after it."""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from redis import Redis

import jobd
from jobd.client import call, registry, settings
from jobd.client.errors import ConfigError, UnserializableArgument

tenant: ContextVar[Any] = ContextVar("tenant")
locale: ContextVar[str] = ContextVar("locale", default="en")
user: ContextVar[int] = ContextVar("user_id")


@pytest.fixture(autouse=True)
def carried() -> None:
    jobd.carry(tenant)


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    """What a test sets, it sets for itself."""
    tokens = [(tenant, tenant.set("acme"))]
    yield
    for variable, token in tokens:
        variable.reset(token)


@jobd.job(name="context_tests.look")
def look(*_: Any) -> Any:
    return tenant.get("nobody")


@jobd.job(name="context_tests.look_at_all")
def look_at_all() -> list[Any]:
    return [tenant.get("nobody"), locale.get(), user.get(0)]


def queued(redis: Redis) -> list[dict[str, Any]]:
    return [json.loads(raw) for raw in reversed(cast("list[bytes]", redis.lrange("queue:default", 0, -1)))]


def ran(fields: dict[str, Any]) -> Any:
    """What a job of this payload returns in a worker's thread."""
    job = call.running_job({"args": [], **fields})
    handler = registry.lookup(job.name)
    assert handler
    return call.run_job(handler, job, settings.current().server_stack)


def elsewhere(function: Callable[[], Any]) -> Any:
    """What it returns where nothing is set."""
    return contextvars.Context().run(function)


def test_a_value_travels_with_every_kind_of_push(configured: str, redis: Redis) -> None:
    look.perform_async()
    look.perform_bulk([(1,), (2,)])
    jobd.Client().push({"class": "Other", "args": []})
    jobd.Client().push_bulk({"class": "Other", "args": [[1]]})
    look.perform_in(60)
    [later] = cast("list[bytes]", redis.zrange("schedule", 0, -1))
    pushed = [*queued(redis), json.loads(later)]
    assert [fields["context"] for fields in pushed] == [{"tenant": "acme"}] * 6


async def test_each_asyncio_task_pushes_its_own_value(configured: str, redis: Redis) -> None:
    async def push(name: str) -> None:
        tenant.set(name)
        await asyncio.sleep(0)
        await look.aperform_async(name)

    await asyncio.gather(*(push(name) for name in "abc"))
    await jobd.Client().aclose()
    assert all(fields["context"] == {"tenant": fields["args"][0]} for fields in queued(redis))


def test_each_thread_pushes_its_own_value(configured: str, redis: Redis) -> None:
    def push(name: str) -> None:
        tenant.set(name)
        look.perform_async(name)

    threads = [threading.Thread(target=push, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(fields["context"]["tenant"] for fields in queued(redis)) == ["a", "b"]
    assert all(fields["context"] == {"tenant": fields["args"][0]} for fields in queued(redis))


def test_a_variable_that_is_not_set_does_not_travel_nor_does_a_default(configured: str, redis: Redis) -> None:
    jobd.carry(locale)
    elsewhere(look.perform_async)
    elsewhere(lambda: look.perform_bulk([(1,)]))
    assert all("context" not in fields for fields in queued(redis))


def test_a_run_sees_the_values_of_its_payload_and_leaves_none_behind() -> None:
    assert elsewhere(lambda: [ran({"class": "context_tests.look", "context": {"tenant": "b"}}), tenant.get(None)]) == [
        "b",
        None,
    ]


def test_what_a_job_sets_does_not_reach_the_next_job_of_its_thread() -> None:
    @jobd.job(name="context_tests.spill")
    def spill() -> None:
        tenant.set("spilt")

    def thread() -> Any:
        ran({"class": "context_tests.spill"})
        return ran({"class": "context_tests.look"})

    assert elsewhere(thread) == "nobody"


def test_a_payload_without_a_value_hides_that_of_the_caller() -> None:
    other: ContextVar[int] = ContextVar("other")
    other.set(5)

    @jobd.job(name="context_tests.other")
    def both() -> list[Any]:
        return [tenant.get("nobody"), other.get(0)]

    assert ran({"class": both.__jobd__.name}) == ["nobody", 5]
    assert tenant.get() == "acme"


def test_perform_inline_carries_and_resets() -> None:
    @jobd.job(name="context_tests.change")
    def change() -> Any:
        before = tenant.get()
        tenant.set("changed")
        return before

    assert change.perform_inline() == "acme"
    assert tenant.get() == "acme"


def test_jobs_pushed_by_a_job_carry_on(configured: str, redis: Redis) -> None:
    @jobd.job(name="context_tests.parent")
    def parent() -> None:
        look.perform_async()

    elsewhere(lambda: ran({"class": "context_tests.parent", "context": {"tenant": "b", "unknown": 1}}))
    assert [fields["context"] for fields in queued(redis)] == [{"tenant": "b"}]


def test_what_a_push_says_itself_comes_first_and_unknown_names_stay(configured: str, redis: Redis) -> None:
    jobd.Client().push({"class": "Other", "args": [], "context": {"tenant": "b", "trace": "x"}})
    assert [fields["context"] for fields in queued(redis)] == [{"tenant": "b", "trace": "x"}]


@pytest.mark.parametrize("odd", [5, None, [], "acme", {"tenants": 1}])
def test_an_odd_context_in_a_payload_is_ignored(odd: Any) -> None:
    assert ran({"class": "context_tests.look", "context": odd}) == "nobody"


def test_server_middleware_sees_the_values() -> None:
    jobd.configure(server_middleware=[lambda job, proceed: [tenant.get(), proceed()]])
    assert ran({"class": "context_tests.look", "context": {"tenant": "b"}}) == ["b", "b"]


def test_client_middleware_sees_what_travels(configured: str, redis: Redis) -> None:
    jobd.configure(client_middleware=[lambda payload, proceed: proceed({**payload, "seen": payload["context"]})])
    look.perform_async()
    assert [fields["seen"] for fields in queued(redis)] == [{"tenant": "acme"}]


def test_a_value_that_cannot_travel_names_the_variable(configured: str, redis: Redis) -> None:
    tenant.set(datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(UnserializableArgument, match=r"look: the context variable 'tenant' is .*isoformat"):
        look.perform_async()
    with pytest.raises(UnserializableArgument):
        look.perform_bulk([(1,)])
    assert redis.keys() == []


def test_a_field_of_ruby_holds_one_value_and_current_attributes_hold_several(configured: str, redis: Redis) -> None:
    jobd.carry(locale, field="locale")
    jobd.carry(user, field="cattr")
    locale.set("vi")
    user.set(7)
    look.perform_async()
    [fields] = queued(redis)
    assert (fields["locale"], fields["cattr"], fields["context"]) == ("vi", {"user_id": 7}, {"tenant": "acme"})
    assert elsewhere(lambda: ran({**fields, "class": "context_tests.look_at_all"})) == ["acme", "vi", 7]
    pairs = {**fields, "class": "context_tests.look_at_all", "cattr": [["user_id", 8], ["odd"], 5, [[], 1]]}
    assert elsewhere(lambda: ran(pairs)) == ["acme", "vi", 8]


def test_the_same_variable_may_come_again_and_another_under_its_name_may_not() -> None:
    assert jobd.carry(tenant) is tenant
    with pytest.raises(ConfigError, match=r"another variable travels as context\['tenant'\]"):
        jobd.carry(ContextVar("tenant"))
    jobd.carry(ContextVar("tenant"), "other_tenant")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ((5,), "give a contextvars.ContextVar"),
        ((user, ""), "a string that is not empty"),
        ((user, None, "args"), "jobd uses that field"),
        ((user, None, "queue"), "jobd uses that field"),
        ((user, None, "a b"), "is no name"),
        ((user, "name", "locale"), "holds one value; give no name"),
    ],
)
def test_what_cannot_be_carried_is_refused(given: tuple[Any, ...], complaint: str) -> None:
    variable, name, field = (*given, None, None)[:3]
    with pytest.raises(ConfigError, match=complaint):
        jobd.carry(variable, name, field=field)
