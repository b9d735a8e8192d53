"""`jobd.Client` on a real server: dictionaries, errors and what they promise, threads and forks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

import jobd
from jobd.client import draft, payload, push, scripts, settings
from jobd.client.errors import (
    ConfigError,
    InvalidArguments,
    InvalidPayload,
    PushOutcomeUnknown,
    PushRefused,
    RedisUnavailable,
)
from tests.servers import RedisServer
from tests.waiting import wait_until


@jobd.job(queue="known", name="push_tests.add")
def add(a: int, b: int = 2) -> int:
    return a + b


@pytest.fixture
def client(redis_url: str) -> Iterator[jobd.Client]:
    made = jobd.Client(redis_url)
    yield made
    made.close()


def queued(redis: Redis, key: str = "queue:default") -> list[dict[str, Any]]:
    """The payloads of a queue, oldest first."""
    return [json.loads(raw) for raw in reversed(cast("list[bytes]", redis.lrange(key, 0, -1)))]


def test_a_job_that_this_process_cannot_import_is_pushed_by_name(client: jobd.Client, redis: Redis) -> None:
    jid = client.push({"class": "HardWorker", "args": ["bob", 5], "queue": "ruby", "retry": 3, "x": [1]})
    [fields] = queued(redis, "queue:ruby")
    assert list(fields) == ["retry", "queue", "class", "args", "x", "jid", "created_at", "enqueued_at"]
    assert (fields["class"], fields["args"], fields["jid"], fields["retry"]) == ("HardWorker", ["bob", 5], jid, 3)


def test_a_job_of_this_process_gives_name_options_and_signature(client: jobd.Client, redis: Redis) -> None:
    client.push({"class": add, "args": [1], "kwargs": {"b": 3}})
    [fields] = queued(redis, "queue:known")
    assert (fields["class"], fields["args"]) == ("push_tests.add", [1, 3])
    assert "kwargs" not in fields
    with pytest.raises(InvalidArguments, match="too many positional"):
        client.push({"class": add, "args": [1, 2, 3]})


def test_a_dictionary_may_say_when(client: jobd.Client, redis: Redis) -> None:
    client.push({"class": "A", "args": [], "at": 4070908800})
    client.push({"class": "A", "args": [], "at": datetime(2099, 1, 1, tzinfo=UTC)})
    client.push({"class": "A", "args": [], "wait_until": 4070908800.0})
    client.push({"class": "A", "args": [], "wait": 3600})
    entries = cast("list[tuple[bytes, float]]", redis.zrange("schedule", 0, -1, withscores=True))
    assert [score for _, score in entries].count(4070908800.0) == 3
    assert all(not {"at", "wait", "wait_until"} & json.loads(raw).keys() for raw, _ in entries)
    assert len(entries) == 4


def test_a_payload_pushed_again_keeps_jid_creation_and_failures(client: jobd.Client, redis: Redis) -> None:
    old = {"class": "A", "args": [], "jid": "abc", "created_at": 1.5, "enqueued_at": 2.5, "retry_count": 3}
    assert client.push(old) == "abc"
    [fields] = queued(redis)
    assert (fields["jid"], fields["created_at"], fields["retry_count"]) == ("abc", 1.5, 3)
    assert fields["enqueued_at"] > 2.5


def test_the_dictionary_given_is_left_as_it_was(client: jobd.Client, redis: Redis) -> None:
    item = {"class": "A", "args": [1], "wait": 5}
    client.push(item)
    assert item == {"class": "A", "args": [1], "wait": 5}


@pytest.mark.parametrize(
    "item",
    [
        "HardWorker",
        {},
        {"class": "", "args": []},
        {"class": int, "args": []},
        {"class": "A"},
        {"class": "A", "args": "ab"},
        {"class": "A", "args": {}},
        {"class": "A", "args": [], "kwargs": [1]},
        {"class": "A", "args": [], "kwargs": {1: 2}},
        {"class": "A", "args": [], "queue": "a b"},
        {"class": "A", "args": [], "retry": "no"},
        {"class": "A", "args": [], "jid": 5},
        {"class": "A", "args": [], "x": {1}},
        {"class": "A", "args": [], "unique": True},
        {"class": "A", "args": [], 5: 6},
    ],
    ids=str,
)
def test_what_is_no_job_is_refused(client: jobd.Client, redis: Redis, item: Mapping[str, Any]) -> None:
    with pytest.raises(InvalidPayload):
        client.push(item)
    assert redis.keys() == []


def test_arguments_and_times_are_checked(client: jobd.Client, redis: Redis) -> None:
    with pytest.raises(InvalidArguments, match=r"A: args\[0\] is a bytes"):
        client.push({"class": "A", "args": [b""]})
    with pytest.raises(InvalidArguments, match="without a time zone"):
        client.push({"class": "A", "args": [], "at": datetime(2099, 1, 1)})
    with pytest.raises(InvalidArguments, match="both given"):
        client.push({"class": "A", "args": [], "at": 5, "wait": 5})
    assert redis.keys() == []


def test_push_bulk_pushes_one_job_for_each_arguments(client: jobd.Client, redis: Redis) -> None:
    jids = client.push_bulk({"class": "A", "args": ([n] for n in range(1_500)), "queue": "q"})
    assert [fields["jid"] for fields in queued(redis, "queue:q")] == jids
    assert len(set(jids)) == 1_500
    client.push_bulk({"class": "A", "args": [[1], [2]], "at": [4070908800, 4070908801]})
    entries = cast("list[tuple[bytes, float]]", redis.zrange("schedule", 0, -1, withscores=True))
    assert [score for _, score in entries] == [4070908800.0, 4070908801.0]


@pytest.mark.parametrize("args", [None, "ab", {"a": 1}, 5])
def test_push_bulk_refuses_what_is_no_list_of_lists(client: jobd.Client, redis: Redis, args: object) -> None:
    with pytest.raises(InvalidPayload, match="a bulk push takes a list of lists"):
        client.push_bulk({"class": "A", "args": args})


def test_push_bulk_refuses_one_jid_for_many(client: jobd.Client, redis: Redis) -> None:
    with pytest.raises(InvalidPayload, match="jid"):
        client.push_bulk({"class": "A", "args": [[1]], "jid": "abc"})


texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    calls=st.lists(st.lists(texts | st.integers() | st.none() | st.lists(texts)), max_size=3),
    fields=st.dictionaries(st.sampled_from(["queue", "x", "y", "created_at"]), texts, max_size=4),
    now=st.floats(0, 1e11) | st.integers(0, 2**53),
)
def test_a_filled_form_is_the_payload_encoded_as_a_whole(
    calls: list[list[Any]], fields: dict[str, Any], now: float
) -> None:
    common = {"class": "A\0", **fields, "args": ["placeholder"]}
    form = draft.Form.of(common, {"retry": 5, "queue": "under"})
    jids = draft.new_jids(len(calls))
    whole = []
    for args, jid in zip(calls, jids, strict=True):
        job = payload.normalise({**common, "args": args}, under={"retry": 5, "queue": "under"}, now=0)
        job["jid"] = jid
        if "created_at" not in fields:
            job["created_at"] = now
        whole.append(payload.encode({**job, "enqueued_at": now}))
    assert form.fill(calls, jids, now) == whole
    assert form.queue == fields.get("queue", "under")


def test_new_ids_are_24_hex_digits_each_another() -> None:
    jids = draft.new_jids(1_000)
    assert len(set(jids)) == 1_000
    assert all(re.fullmatch("[0-9a-f]{24}", jid) for jid in jids)
    assert draft.new_jids(0) == []


@pytest.mark.parametrize("middleware", [[], [lambda payload, proceed: proceed(payload)]], ids=["plain", "middleware"])
@pytest.mark.parametrize("options", [{}, {"queue": "q", "x": "\0", "tags": ("t",), "created_at": 1.5, "wait": None}])
def test_a_bulk_push_writes_what_single_pushes_write(
    client: jobd.Client, redis: Redis, middleware: list[Any], options: dict[str, Any]
) -> None:
    jobd.configure(client_middleware=middleware, default_options={"retry": 7})
    key = f"queue:{options.get('queue', 'default')}"
    client.push({"class": "A", **options, "args": ["é", [1]]})
    client.push_bulk({"class": "A", **options, "args": [("é", [1])]})
    single, bulk = queued(redis, key)
    assert list(single) == list(bulk)
    for own in ("jid", "enqueued_at", *(() if "created_at" in options else ("created_at",))):
        assert single.pop(own) != bulk.pop(own)
    assert single == bulk


def test_a_bulk_push_may_give_keyword_arguments_to_all(client: jobd.Client, redis: Redis) -> None:
    client.push_bulk({"class": add, "args": [[1], [2]], "kwargs": {"b": 3}})
    client.push_bulk({"class": "push_tests.add", "args": [[4]], "kwargs": {"b": 5}, "queue": "known"})
    client.push_bulk({"class": add, "args": [[6]], "kwargs": {}})
    fields = queued(redis, "queue:known")
    assert [(job["args"], job.get("kwargs")) for job in fields] == [
        *(([1, 3], None), ([2, 3], None), ([4], {"b": 5}), ([6], None)),
    ]


def test_a_list_that_a_bulk_push_is_given_again_and_again_is_read_each_time(client: jobd.Client, redis: Redis) -> None:
    def calls() -> Iterator[list[int]]:
        same = [0]
        for number in range(3):
            same[0] = number
            yield same

    client.push_bulk({"class": "A", "args": calls()})
    assert [fields["args"] for fields in queued(redis)] == [[0], [1], [2]]


@pytest.mark.parametrize("given", [list, iter], ids=["list", "lazy"])
def test_a_bulk_push_that_stops_at_a_wrong_call_has_pushed_what_it_tells(
    client: jobd.Client, redis: Redis, given: Callable[[list[Any]], Any]
) -> None:
    with pytest.raises(InvalidArguments) as caught:
        client.push_bulk({"class": "A", "args": given([[1], [2], [3], [4], [b""]])}, batch_size=2)
    assert list(caught.value.pushed) == [fields["jid"] for fields in queued(redis)]
    assert len(caught.value.pushed) == 4
    client.push({"class": "A", "args": [5]})  # on a connection that owes no reply
    assert [fields["args"] for fields in queued(redis)] == [[1], [2], [3], [4], [5]]


@pytest.mark.parametrize("given", [list, iter], ids=["list", "lazy"])
def test_a_bulk_push_stops_at_a_refusal(client: jobd.Client, redis: Redis, given: Callable[[list[Any]], Any]) -> None:
    redis.set("queue:default", "x")
    with pytest.raises(PushRefused) as caught:
        client.push_bulk({"class": "A", "args": given([[n] for n in range(9)])}, batch_size=3)
    assert caught.value.pushed == ()
    redis.delete("queue:default")
    jids = client.push_bulk({"class": "A", "args": given([[n] for n in range(9)])}, batch_size=3)
    assert [fields["jid"] for fields in queued(redis)] == jids


def test_middleware_set_during_a_bulk_push_takes_effect_with_the_next_round_trip(
    client: jobd.Client, redis: Redis
) -> None:
    def calls() -> Iterator[list[int]]:
        yield [0]
        yield [1]
        jobd.configure(client_middleware=[lambda payload, proceed: None])
        yield [2]

    assert [jid is None for jid in client.push_bulk({"class": "A", "args": calls()}, batch_size=2)] == [
        *(False, False, True),
    ]
    assert redis.llen("queue:default") == 2


async def test_the_asyncio_twins(client: jobd.Client, redis: Redis) -> None:
    jids = await asyncio.gather(*(client.apush({"class": "A", "args": [n]}) for n in range(20)))
    bulk = await client.apush_bulk({"class": "A", "args": [[1], [2]]})
    assert {fields["jid"] for fields in queued(redis)} == {*jids, *bulk}
    await client.aclose()


def connections(redis: Redis) -> set[str]:
    """The numbers of all that are open, those of earlier tests among them."""
    return {each["id"] for each in cast("list[dict[str, str]]", redis.client_list())}


def test_event_loops_may_come_and_go_and_close_their_connections(client: jobd.Client, redis: Redis) -> None:
    async def several() -> None:
        await asyncio.gather(*(client.apush({"class": "A", "args": []}) for _ in range(5)))

    redis.ping()
    before = connections(redis)
    asyncio.run(several())
    asyncio.run(several())
    assert redis.llen("queue:default") == 10
    wait_until(lambda: connections(redis) <= before, "the server sees the connections closed")


def test_a_namespace_comes_before_every_key(redis_url: str, redis: Redis) -> None:
    client = jobd.Client(redis_url, namespace="{billing}:")
    client.push({"class": "A", "args": []})
    client.push({"class": "A", "args": [], "wait": 60})
    client.close()
    assert set(redis.keys()) == {b"{billing}:queues", b"{billing}:queue:default", b"{billing}:schedule"}
    assert redis.smembers("{billing}:queues") == {b"default"}


def test_milliseconds_are_written_when_asked_for(redis_url: str, redis: Redis) -> None:
    client = jobd.Client(redis_url, timestamps="ms")
    client.push({"class": "A", "args": []})
    client.close()
    [fields] = queued(redis)
    assert isinstance(fields["created_at"], int)
    assert isinstance(fields["enqueued_at"], int)
    assert fields["created_at"] > 10**12


def test_a_client_serves_many_threads(client: jobd.Client, redis: Redis) -> None:
    with ThreadPoolExecutor(16) as pool:
        jids = list(pool.map(lambda n: client.push({"class": "A", "args": [n]}), range(500)))
    assert {fields["jid"] for fields in queued(redis)} == set(jids)
    assert len(set(jids)) == 500


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_client_used_before_a_fork_serves_parent_and_children(client: jobd.Client, redis: Redis) -> None:
    client.push({"class": "A", "args": ["before"]})
    children = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            signal.alarm(10)  # a child that hangs fails the test
            try:
                for _ in range(50):
                    client.push({"class": "A", "args": [number]})
                os._exit(0)
            except BaseException:
                os._exit(1)
        children.append(pid)
    for _ in range(50):
        client.push({"class": "A", "args": ["parent"]})
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0, 0]
    assert redis.llen("queue:default") == 1 + 4 * 50


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_while_a_thread_makes_the_default_client_does_not_hang_the_child(configured: str, redis: Redis) -> None:
    with push._lock:
        pid = os.fork()
        if pid == 0:
            signal.alarm(10)  # a child that hangs fails the test
            add.perform_async(1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert redis.llen("queue:known") == 1


def test_nothing_connects_when_a_client_is_made() -> None:
    jobd.Client("redis://127.0.0.1:1/0").close()


def test_no_server_means_nothing_was_sent() -> None:
    with socket.socket() as bound:  # bound and not listening: nobody else can take the port, nobody answers
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(RedisUnavailable, match=f"127.0.0.1:{port}"):
            jobd.Client(f"redis://127.0.0.1:{port}/0").push({"class": "A", "args": []})


def test_a_wrong_password_means_nothing_was_sent() -> None:
    with RedisServer(password="right") as server, server.client() as admin:
        wrong = jobd.Client(server.url.replace("right", "wrong"))
        with pytest.raises(RedisUnavailable):
            wrong.push({"class": "A", "args": []})
        assert admin.keys() == []
        wrong.close()


class DropsReplies:
    """Stands between client and server, and cuts the connection instead of answering the first push."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._server.getsockname()[1]}/0"
        self.pushes = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._server.accept()
            with connection, socket.socket(socket.AF_UNIX) as behind:
                behind.connect(self._target)
                if not self._relay(connection, behind):
                    return

    def _relay(self, connection: socket.socket, behind: socket.socket) -> bool:
        while request := connection.recv(65_536):
            if request == b"stop":
                return False
            behind.sendall(request)
            reply = behind.recv(65_536)
            if b"EVALSHA" in request or b"LPUSH" in request:
                self.pushes += 1
                return True
            connection.sendall(reply)
        return True

    def close(self) -> None:
        with socket.create_connection(self._server.getsockname()) as connection:
            connection.sendall(b"stop")
            self._thread.join(10)
        self._server.close()


@pytest.fixture
def drops_replies(redis_server: RedisServer, client: jobd.Client, redis: Redis) -> Iterator[DropsReplies]:
    client.push({"class": "Loads the script", "args": []})
    redis.delete("queue:default")
    proxy = DropsReplies(str(redis_server.socket))
    yield proxy
    proxy.close()


def test_a_lost_reply_is_an_unknown_outcome_and_nothing_is_resent(drops_replies: DropsReplies, redis: Redis) -> None:
    client = jobd.Client(drops_replies.url)
    with pytest.raises(PushOutcomeUnknown, match="may be queued or not") as caught:
        client.push({"class": "A", "args": [1]})
    client.close()
    assert list(caught.value.jids) == [fields["jid"] for fields in queued(redis)]
    assert caught.value.jids[0] in str(caught.value)
    assert drops_replies.pushes == 1


def test_a_lost_reply_to_a_bulk_push_lists_all_its_jobs(drops_replies: DropsReplies, redis: Redis) -> None:
    client = jobd.Client(drops_replies.url)
    with pytest.raises(PushOutcomeUnknown, match="and 7 more") as caught:
        client.push_bulk({"class": "A", "args": [[n] for n in range(30)]}, batch_size=10)
    client.close()
    assert len(caught.value.jids) == 10
    assert caught.value.pushed == ()
    assert redis.llen("queue:default") == 10


def test_a_refused_bulk_push_says_why_and_leaves_the_connection_as_it_was() -> None:
    with RedisServer(maxmemory="1") as server, contextlib.closing(jobd.Client(server.url)) as client:
        many = {"class": "A", "args": [[1], [2]]}
        with pytest.raises(PushRefused, match="raise maxmemory"):
            client.push_bulk(many)
        with server.client() as redis:
            redis.config_set("maxmemory", "0")
            opened = len(redis.client_list())
            redis.set("queue:odd", "a string")
            with pytest.raises(PushRefused, match="WRONGTYPE"):
                client.push_bulk({**many, "queue": "odd"})
            redis.set("queues", "a string")
            assert len(client.push_bulk(many)) == 2
            assert redis.llen("queue:default") == 2
            assert len(redis.client_list()) == opened


async def test_a_refused_bulk_push_under_asyncio_says_why(client: jobd.Client, redis: Redis) -> None:
    redis.set("queue:default", "a string")
    with pytest.raises(PushRefused, match="WRONGTYPE"):
        await client.apush_bulk({"class": "A", "args": [[1], [2]]})
    redis.delete("queue:default")
    assert len(await client.apush_bulk({"class": "A", "args": [[1], [2]]})) == 2
    assert redis.llen("queue:default") == 2


def test_an_interrupt_between_two_thousands_waits_for_no_answer(
    client: jobd.Client, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def calls() -> Iterator[list[int]]:
        yield [1]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(client._sender, "confirm", lambda posted: pytest.fail("it waits"))
        with pytest.raises(KeyboardInterrupt):
            client.push_bulk({"class": "A", "args": calls()}, batch_size=1)
    # Not on the connection on which an answer may still be on its way.
    client.push({"class": "A", "args": [2]})
    assert queued(redis)[-1]["args"] == [2]


def test_a_fork_while_jobs_are_made_leaves_the_answer_to_the_parent(client: jobd.Client, redis: Redis) -> None:
    def calls() -> Iterator[list[int]]:
        yield [1]
        if (child := os.fork()) == 0:
            raise RuntimeError("the child goes its own way")
        assert os.waitpid(child, 0)[1] == 0
        yield [2]

    parent = os.getpid()
    try:
        jids = client.push_bulk({"class": "A", "args": calls()}, batch_size=1)
    except RuntimeError:
        os._exit(0 if os.getpid() != parent else 1)
    except BaseException:
        if os.getpid() != parent:
            os._exit(1)
        raise
    assert [fields["jid"] for fields in queued(redis)] == jids


async def test_a_lost_reply_under_asyncio(drops_replies: DropsReplies, redis: Redis) -> None:
    client = jobd.Client(drops_replies.url)
    with pytest.raises(PushOutcomeUnknown) as caught:
        await client.apush({"class": "A", "args": [1]})
    await client.aclose()
    assert list(caught.value.jids) == [fields["jid"] for fields in queued(redis)]
    assert drops_replies.pushes == 1


def test_full_memory_refuses_the_push_and_names_the_remedy() -> None:
    with RedisServer(maxmemory="1") as server:
        client = jobd.Client(server.url)
        with pytest.raises(PushRefused, match="raise maxmemory"):
            client.push({"class": "A", "args": []})
        client.close()


def test_a_key_of_a_wrong_type_refuses_the_push(client: jobd.Client, redis: Redis) -> None:
    redis.set("queue:default", "x")
    with pytest.raises(PushRefused, match="another application uses the key"):
        client.push({"class": "A", "args": []})
    redis.set("schedule", "x")
    with pytest.raises(PushRefused, match="another application uses the key"):
        client.push({"class": "A", "args": [], "wait": 60})


def test_a_replica_refuses_the_push_and_loses_the_connection() -> None:
    # After a fail-over the same address may lead to another server, to which only a new connection goes.
    with RedisServer() as server, server.client() as admin, contextlib.closing(jobd.Client(server.url)) as client:
        client.push({"class": "A", "args": []})
        admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(PushRefused, match="it is a replica"):
            client.push({"class": "A", "args": []})
        wait_until(lambda: len(admin.client_list()) == 1, "the connection to be closed")


def test_a_cluster_takes_a_push_whose_namespace_keeps_the_keys_together() -> None:
    with RedisServer(cluster=True) as server, server.client() as admin:
        admin.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: b"cluster_state:ok" in admin.execute_command("CLUSTER", "INFO"), "the cluster")
        with (
            contextlib.closing(jobd.Client(server.url)) as client,
            pytest.raises(PushRefused, match="set a namespace with a hash tag"),
        ):
            client.push({"class": "A", "args": []})
        with contextlib.closing(jobd.Client(server.url, namespace="{billing}:")) as client:
            client.push({"class": "A", "args": []})
        assert admin.llen("{billing}:queue:default") == 1


async def test_a_replica_loses_the_connection_of_an_asyncio_push_too() -> None:
    with RedisServer() as server, server.client() as admin:
        client = jobd.Client(server.url)
        await client.apush({"class": "A", "args": []})
        admin.execute_command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(PushRefused, match="it is a replica"):
            await client.apush({"class": "A", "args": []})
        await asyncio.to_thread(wait_until, lambda: len(admin.client_list()) == 1, "the connection to be closed")
        await client.aclose()


def test_a_user_without_the_right_is_refused() -> None:
    with RedisServer(password="right") as server, server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-evalsha", "-eval")
        client = jobd.Client(server.url)
        with pytest.raises(PushRefused, match="ACL SETUSER"):
            client.push({"class": "A", "args": []})
        client.close()


def test_an_error_after_the_first_round_trip_lists_what_was_pushed(client: jobd.Client, redis: Redis) -> None:
    redis.script_load(scripts.load("push").source)

    def calls() -> Iterator[list[int]]:
        yield [1]
        wait_until(lambda: bool(redis.exists("queue:default")), "the first round trip")
        redis.rename("queue:default", "aside")
        redis.set("queue:default", "x")
        yield [2]

    with pytest.raises(PushRefused) as caught:
        client.push_bulk({"class": "A", "args": calls()}, batch_size=1)
    assert list(caught.value.pushed) == [fields["jid"] for fields in queued(redis, "aside")]


def test_the_next_jobs_are_made_while_redis_works_and_sent_once_it_has_answered(
    client: jobd.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    for name in ("post", "confirm"):
        was = getattr(client._sender, name)
        monkeypatch.setattr(client._sender, name, lambda it, name=name, was=was: seen.append(name) or was(it))

    def calls() -> Iterator[list[int]]:
        for number in range(3):
            seen.append("made")
            yield [number]

    client.push_bulk({"class": "A", "args": calls()}, batch_size=1)
    assert seen == ["made", "post", "made", "confirm", "post", "made", "confirm", "post", "confirm"]


def test_when_no_next_jobs_can_be_made_the_last_ones_are_seen_to_arrive(client: jobd.Client, redis: Redis) -> None:
    def calls() -> Iterator[list[Any]]:
        yield [1]
        yield [object()]

    with pytest.raises(InvalidArguments) as caught:
        client.push_bulk({"class": "A", "args": calls()}, batch_size=1)
    assert list(caught.value.pushed) == [fields["jid"] for fields in queued(redis)]
    client.push({"class": "A", "args": [2]})
    assert len(queued(redis)) == 2


def test_the_address_comes_from_configure_then_the_environment_then_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert settings.redis_url() == "redis://localhost:6379/0"
    monkeypatch.setenv("REDIS_URL", "redis://second/0")
    assert settings.redis_url() == "redis://second/0"
    monkeypatch.setenv("JOBD_REDIS_URL", "redis://first/0")
    assert settings.redis_url() == "redis://first/0"
    jobd.configure(redis_url="redis://configured/0")
    assert settings.redis_url() == "redis://configured/0"
    assert settings.redis_url("redis://given/0") == "redis://given/0"
    jobd.configure(redis_url=None)
    assert settings.redis_url() == "redis://first/0"


def test_changed_settings_take_effect_with_the_next_push(configured: str, redis: Redis) -> None:
    add.perform_async(1)
    jobd.configure(namespace="other:")
    add.perform_async(2)
    assert (redis.llen("queue:known"), redis.llen("other:queue:known")) == (1, 1)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (lambda: jobd.configure(redis_url=cast("Any", 5)), "redis_url=5"),
        (lambda: jobd.configure(namespace=cast("Any", None)), "namespace=None"),
        (lambda: jobd.configure(timestamps=cast("Any", "us")), 'timestamps=\'us\'.*"s".*"ms"'),
        (lambda: jobd.configure(client_middleware=cast("Any", len)), "give a list of functions"),
        (lambda: jobd.configure(server_middleware=[cast("Any", 5)]), "5 is not a plain function"),
        (lambda: jobd.default_options(retry="x"), "retry='x'"),
        (lambda: jobd.default_options(timeout=5), "no option `timeout`"),
        (lambda: jobd.configure(default_options=cast("Any", ["queue"])), "give a mapping"),
        (lambda: jobd.Client("http://x").push({"class": "A", "args": []}), "http"),
    ],
)
def test_a_wrong_setting_is_refused_and_changes_nothing(wrong: Callable[[], object], complaint: str) -> None:
    before = settings.current()
    with pytest.raises(ConfigError, match=complaint):
        wrong()
    assert settings.current() is before


@pytest.mark.parametrize(
    "fields", [{"class": "A\udcff"}, {"jid": "\udcff"}, {"tags": ["a", "\udcff"]}, {"\udcff": 1}, {"own": "\udcff"}]
)
def test_text_that_is_no_unicode_is_refused_wherever_it_stands(configured: str, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidPayload, match=r"lone surrogate; clean it"):
        jobd.Client().push({"class": "A", "args": [], **fields})
