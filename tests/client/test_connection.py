"""Addresses of Redis, and the connections made from them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

import jobd
from jobd.client import defaults
from jobd.client.connection import Connector, parse
from jobd.client.errors import ConfigError, PushOutcomeUnknown, PushRefused, RedisUnavailable, StoreUnavailable
from jobd.client.push import Client
from jobd.client.redaction import mask
from jobd.client.server import ServerFacts, read_facts, refuse_too_old, warnings
from jobd.worker.config import WorkerConfig
from tests.sentinels import Watched
from tests.servers import RedisServer, ServerFailed
from tests.waiting import wait_until

DEBIAN_REDIS = Path("/usr/bin/redis-server")


@pytest.fixture(scope="module")
def locked_server() -> Iterator[RedisServer]:
    """A server with a password and a user of its own."""
    with RedisServer(password="right", tcp=True) as server:
        with server.client() as client:
            client.execute_command("ACL", "SETUSER", "worker", "on", ">its own", "~*", "&*", "+@all")
        yield server


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    """A CA, and certificates that it has signed for the server and for a client."""
    openssl = shutil.which("openssl")
    if openssl is None or not DEBIAN_REDIS.exists():
        pytest.skip("needs openssl and Debian's redis-server: the embedded server has no TLS")
    with tempfile.TemporaryDirectory() as name:
        make_certificates(openssl, Path(name))
        yield Path(name)


@pytest.fixture(scope="module")
def tls_port(certificates: Path) -> Iterator[int]:
    """The port of a server that asks clients for a certificate."""
    files = {"ca-cert-file": "ca.pem", "cert-file": "server.pem", "key-file": "server.key"}
    port = free_port()
    args = ["--tls-port", str(port), "--bind", "127.0.0.1"]
    for option, file in files.items():
        args += [f"--tls-{option}", str(certificates / file)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDIS_SERVER", str(DEBIAN_REDIS))
        try:
            server = RedisServer(args=args).start()
        except ServerFailed:
            pytest.skip(f"{DEBIAN_REDIS} has no TLS")
    yield port
    server.close()


class TestAddresses:
    @pytest.mark.parametrize(
        "url",
        [
            "redis://localhost:6379/0",
            "redis://localhost",
            "redis://user:pass@[::1]:7000/15",
            "rediss://db.example:6380/2?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem",
            "unix:///run/redis.sock?db=3",
            "unix://user:pass@/run/redis.sock",
        ],
    )
    def test_addresses_of_one_server_go_to_redis_py_as_they_are(self, url: str) -> None:
        address = parse(url)
        assert address.url == url
        assert address.sentinels == ()

    @pytest.mark.parametrize(
        ("url", "sentinels", "service", "server"),
        [
            ("redis+sentinel://a:1,b:2/main/3", (("a", 1), ("b", 2)), "main", "redis://sentinel/3"),
            ("redis+sentinel://a/main", (("a", 26379),), "main", "redis://sentinel/0"),
            ("redis+sentinel://[::1]:5/main", (("::1", 5),), "main", "redis://sentinel/0"),
            ("rediss+sentinel://u:p@a:1/m", (("a", 1),), "m", "rediss://u:p@sentinel/0"),
            ("redis+sentinel://a:1/m?db=2", (("a", 1),), "m", "redis://sentinel/0?db=2"),
        ],
    )
    def test_sentinels_are_a_list_with_the_name_of_a_service(
        self, url: str, sentinels: Any, service: str, server: str
    ) -> None:
        address = parse(url)
        assert (address.sentinels, address.service, address.url) == (sentinels, service, server)

    @pytest.mark.parametrize("looks_for", [None, 1.0])
    @pytest.mark.parametrize("url", ["redis://a", "redis+sentinel://a/main"])
    def test_the_name_in_an_address_is_that_of_the_connection(self, url: str, looks_for: float | None) -> None:
        plain = Connector(url, looks_for=looks_for).pool.connection_kwargs
        named = Connector(f"{url}?client_name=viewer", looks_for=looks_for).pool.connection_kwargs
        assert (plain["client_name"], named["client_name"]) == (None if looks_for else "jobd", "viewer")

    def test_an_embedded_address_is_a_socket(self, tmp_path: Path) -> None:
        address = parse(f"embedded:{tmp_path}")
        assert address.url == f"unix://{tmp_path}/valkey.sock"
        assert address.shown == f"embedded:{tmp_path}"

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("http://localhost", "unknown scheme; write redis://, rediss://, unix://"),
            ("localhost:6379", "unknown scheme"),
            ("", "unknown scheme"),
            ("redis://localhost/abc", "the database 'abc' is not a number"),
            ("redis://localhost:port", "port"),
            ("redis://localhost:99999", "ort out of range"),
            ("redis://localhost?socket_timeout=soon", "socket_timeout"),
            ("unix://", "names no socket"),
            ("redis+sentinel://host:1", "write redis+sentinel://host:26379,host2:26379/service/0"),
            ("redis+sentinel:///service", "write redis+sentinel://"),
            ("redis+sentinel://h:1/service/x", "write redis+sentinel://"),
            ("embedded://var", "write embedded:var/jobd"),
            ("redis://:secret@host/x", "redis://:***@host/x"),
            ("redis://host?foo=1", "jobd takes no option foo; remove it"),
            ("redis://host?sentinel_password=secret", "jobd takes no option sentinel_password"),
            ("unix:///s?socket_keepalive=1", "jobd takes no option socket_keepalive"),
            ("redis://host?decode_responses=true", "jobd takes no option decode_responses"),
            ("redis://host?ssl_cert_reqs=none", "ssl_cert_reqs is for TLS; write rediss:// or remove it"),
            ("redis+sentinel://h:1/service?protocol=3", "jobd takes no option protocol"),
            ("redis+sentinel://h:1/service?socket_timeout=soon", "socket_timeout"),
            ("redis+sentinel://:sec/secret@h:1/service", "redis+sentinel://:***@h:1/service"),
        ],
    )
    def test_other_addresses_are_refused_with_the_address_and_the_remedy(self, url: str, says: str) -> None:
        with pytest.raises(ConfigError, match="redis_url") as caught:
            parse(url)
        assert says in str(caught.value)
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("redis://:secret@host:1/0", "redis://:***@host:1/0"),
            ("redis://user:secret@host", "redis://user:***@host"),
            ("redis://user@host", "redis://user@host"),
            ("redis://:sec@ret@host", "redis://:***@host"),
            ("redis://:sec/ret@host:1/0", "redis://:***@host:1/0"),
            ("unix:///s?password=secret&db=1", "unix:///s?password=***&db=1"),
            (
                "redis+sentinel://:secret@a:1/m?sentinel_password=other",
                "redis+sentinel://:***@a:1/m?sentinel_password=***",
            ),
            ("redis://host", "redis://host"),
        ],
    )
    def test_passwords_are_masked(self, url: str, shown: str) -> None:
        assert mask(url) == shown

    @pytest.mark.parametrize(
        ("url", "read"),
        [
            ("redis://host/1?password_file={}", "redis://:p%40ss%2Fword@host/1"),
            (
                "redis://user@host:7/1?password_file={}&socket_timeout=3",
                "redis://user:p%40ss%2Fword@host:7/1?socket_timeout=3",
            ),
            ("rediss://user:old@host?password_file={}", "rediss://user:p%40ss%2Fword@host"),
            ("unix:///run/r.sock?password_file={}", "unix:///run/r.sock?password=p%40ss%2Fword"),
        ],
    )
    def test_a_password_may_stand_in_a_file(self, tmp_path: Path, url: str, read: str) -> None:
        secret = tmp_path / "secret"
        secret.write_text("p@ss/word\n")
        assert parse(url.format(secret)).url == read

    def test_a_password_file_that_is_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=f"password_file {tmp_path}/none: No such file"):
            parse(f"redis://host?password_file={tmp_path}/none")


class TestLogin:
    def address(self, locked_server: RedisServer, login: str, tail: str = "") -> str:
        return f"redis://{login}127.0.0.1:{locked_server.port}/0{tail}"

    def test_a_user_of_the_acl_with_a_password_from_a_file(self, locked_server: RedisServer, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("its own\n")
        url = self.address(locked_server, "worker@", f"?password_file={tmp_path}/secret")
        with contextlib.closing(Connector(url)) as connector:
            assert connector.client().execute_command("ACL", "WHOAMI") == b"worker"

    @pytest.mark.parametrize("login", [":wrong@", "worker:wrong@", "nobody:right@", ""])
    def test_a_refused_login_is_said_without_the_password(self, locked_server: RedisServer, login: str) -> None:
        with (
            contextlib.closing(Client(self.address(locked_server, login))) as client,
            pytest.raises((RedisUnavailable, PushRefused)) as caught,
        ):
            client.push({"class": "x", "args": []})
        assert "wrong" not in str(caught.value)
        with locked_server.client() as redis:
            assert redis.exists("queue:default") == 0

    def test_a_login_that_fails_while_connecting_names_the_address(self, locked_server: RedisServer) -> None:
        connector = Connector(self.address(locked_server, "worker:wrong@"))
        with (
            pytest.raises(
                RedisUnavailable, match=rf"redis://worker:\*\*\*@127.0.0.1:{locked_server.port}/0: .*password"
            ),
            connector.connection(),
        ):
            pass


class TestUnavailable:
    def test_the_default_address_offers_the_embedded_store(self) -> None:
        error = Connector(defaults.REDIS_URL).unavailable(RedisConnectionError("refused"))
        assert str(error) == (
            f"Redis at {defaults.REDIS_URL}: refused; set REDIS_URL, or start one with `jobd --embedded`"
        )

    def test_another_address_does_not(self) -> None:
        error = Connector("redis://db.example").unavailable(RedisConnectionError("refused"))
        assert str(error) == "Redis at redis://db.example: refused"

    def test_an_embedded_store_that_does_not_run_says_how_to_start_it(self, tmp_path: Path) -> None:
        connector = Connector(f"embedded:{tmp_path}")
        with pytest.raises(StoreUnavailable, match=f"jobd --embedded {tmp_path}"), connector.connection():
            pass

    def test_nothing_connects_before_it_is_used(self) -> None:
        connector = Connector("redis://nowhere.invalid:1")
        connector.client()
        connector.dedicated()
        connector.dedicated(push=True)
        connector.close()


class TestSharing:
    def test_threads_share_one_connector(self, redis_url: str, redis: Redis) -> None:
        connector = Connector(redis_url)

        def count() -> None:
            for _ in range(50):
                connector.client().incr("n")

        threads = [threading.Thread(target=count) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        connector.close()
        assert redis.get("n") == b"400"

    def test_a_forked_child_has_connections_of_its_own(self, redis_url: str) -> None:
        code = f"""
import os
from jobd.client.connection import Connector
connector = Connector({redis_url!r})
own = lambda: int(connector.client().execute_command("CLIENT", "ID"))
before = own()
child = os.fork()
if not child:
    first = own()
    connector.close()
    os._exit(10 if first != before else 11)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 10
assert own() == before
connector.close()
"""
        subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=20)

    def test_each_event_loop_has_connections_of_its_own(self, redis_url: str) -> None:
        connector = Connector(redis_url)

        async def client_id() -> int:
            async with connector.aconnection() as connection:
                await connection.send_command("CLIENT", "ID")
                found: int = await connection.read_response()
            await connector.aclose()
            return found

        assert asyncio.run(client_id()) != asyncio.run(client_id())

    def test_a_connection_that_was_cut_while_idle_is_not_used_for_a_push(self, redis_url: str, redis: Redis) -> None:
        with contextlib.closing(Client(redis_url)) as client:
            for number in range(5):
                client.push({"class": "x", "args": [number]})
                redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert redis.llen("queue:default") == 5

    def test_a_push_after_a_restart_of_the_server_works(self) -> None:
        with RedisServer(appendonly=True) as server, contextlib.closing(Client(server.url)) as client:
            client.push({"class": "x", "args": [1]})
            server.restart()
            client.push({"class": "x", "args": [2]})
            with server.client() as redis:
                assert redis.llen("queue:default") == 2

    async def test_asyncio_does_not_use_a_cut_connection_either(self, redis_url: str, redis: Redis) -> None:
        client = Client(redis_url)
        for number in range(3):
            await client.apush({"class": "x", "args": [number]})
            redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await client.aclose()
        assert redis.llen("queue:default") == 3

    def test_a_connection_whose_reply_is_outstanding_is_not_used_again(self, redis_url: str, redis: Redis) -> None:
        connector = Connector(redis_url, socket_timeout=0.05)
        redis.set("later", "late")
        with pytest.raises(RedisError):
            answer(connector, "BLPOP", "nothing", 1)
        assert connector.client().get("later") == b"late"
        connector.close()

    def test_a_refused_command_keeps_the_connection(self, redis_url: str) -> None:
        connector = Connector(redis_url)
        before = connector.client().execute_command("CLIENT", "ID")
        with pytest.raises(RedisError):
            answer(connector, "NONSENSE")
        assert connector.client().execute_command("CLIENT", "ID") == before
        connector.close()

    def test_connections_are_named_and_speak_resp2_unless_messages_are_wanted(self, redis_url: str) -> None:
        connector = Connector(redis_url)
        facts = connector.client().client_info()
        assert (facts["name"], facts["resp"]) == ("jobd", "2")
        listener = connector.dedicated(push=True)
        listener.connect()
        listener.send_command("CLIENT", "INFO")
        assert b" resp=3 " in listener.read_response()
        listener.disconnect()
        connector.close()


class TestLoans:
    """Connections as pushes take them."""

    @pytest.fixture
    def connector(self, redis_url: str) -> Iterator[Connector]:
        with contextlib.closing(Connector(redis_url)) as made:
            yield made

    def test_one_borrower_after_the_other_has_the_same_connection(self, connector: Connector) -> None:
        assert len({ask(connector, "CLIENT", "ID") for _ in range(5)}) == 1

    def test_two_borrowers_at_once_have_connections_of_their_own(self, connector: Connector) -> None:
        first, second = connector.borrow(), connector.borrow()
        assert first.connection is not second.connection
        connector.give_back(first)
        connector.give_back(second)
        assert {connector.borrow().connection, connector.borrow().connection} == {first.connection, second.connection}

    def test_a_connection_that_the_server_has_closed_is_opened_anew(self, connector: Connector, redis: Redis) -> None:
        before = ask(connector, "CLIENT", "ID")
        redis.execute_command("CLIENT", "KILL", "ID", before)
        assert ask(connector, "CLIENT", "ID") > before
        wait_until(lambda: len(since(redis, before)) == 1, "the pool to have one connection only")

    def test_a_connection_on_which_something_came_in_is_opened_anew(self, connector: Connector, redis: Redis) -> None:
        before = ask(connector, "CLIENT", "ID")
        loan = connector.borrow()
        loan.connection.send_command("ECHO", "of no one")
        connector.give_back(loan)
        wait_until(lambda: not loan.is_fresh(), "the reply that nobody reads")
        assert ask(connector, "CLIENT", "ID") > before

    def test_a_refusal_keeps_the_connection_and_any_other_error_closes_it(self, connector: Connector) -> None:
        before = ask(connector, "CLIENT", "ID")
        loan = connector.borrow()
        connector.give_up(loan, ResponseError("no"))
        assert ask(connector, "CLIENT", "ID") == before
        loan = connector.borrow()
        loan.connection.send_command("ECHO", "late")
        connector.give_up(loan, KeyboardInterrupt())
        assert ask(connector, "CLIENT", "ID") > before

    def test_closing_closes_what_waits_for_the_next_push(self, connector: Connector, redis: Redis) -> None:
        number = ask(connector, "CLIENT", "ID")
        connector.close()
        wait_until(lambda: not since(redis, number), "the connection to be closed")
        assert ask(connector, "PING") == b"PONG"

    def test_a_loan_from_before_a_close_does_not_come_back(self, connector: Connector) -> None:
        loan = connector.borrow()
        connector.close()
        assert ask(connector, "PING") == b"PONG"
        connector.give_back(loan)
        assert loan.connection not in [connector.borrow().connection for _ in range(2)]

    def test_a_closed_connection_is_not_mistaken_for_what_has_its_descriptor_now(self, connector: Connector) -> None:
        before = ask(connector, "CLIENT", "ID")
        loan = connector.borrow()
        connector.give_back(loan)
        loan.connection.disconnect()
        for taken in socket.socketpair(), socket.socketpair():
            with taken[0], taken[1]:
                assert not loan.is_fresh()
        assert ask(connector, "CLIENT", "ID") > before

    def test_with_a_limit_every_connection_goes_back_to_the_pool(self, redis_url: str) -> None:
        with contextlib.closing(Connector(f"{redis_url}&max_connections=1")) as connector:
            assert ask(connector, "PING") == b"PONG"
            assert connector.client().ping()
            loan = connector.borrow()
            with pytest.raises(RedisUnavailable):
                connector.borrow()
            connector.give_back(loan)

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_a_child_borrows_nothing_of_its_parent(self, connector: Connector) -> None:
        before = ask(connector, "CLIENT", "ID")
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                os._exit(10 if ask(connector, "CLIENT", "ID") != before else 11)
            os._exit(12)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 10
        assert ask(connector, "CLIENT", "ID") == before

    def test_threads_never_share_a_connection(self, connector: Connector) -> None:
        def echo(mark: str) -> bool:
            return all(ask(connector, "ECHO", f"{mark}{n}") == f"{mark}{n}".encode() for n in range(200))

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(echo, "abcdefgh")) == [True] * 8

    def test_over_tls_too_the_connection_stays(self, tls_port: int, certificates: Path) -> None:
        with contextlib.closing(Connector(TestTls().address(tls_port, certificates))) as connector:
            assert len({ask(connector, "CLIENT", "ID") for _ in range(3)}) == 1
            loan = connector.borrow()
            loan.connection.send_command("ECHO", "of no one")
            connector.give_back(loan)
            wait_until(lambda: not loan.is_fresh(), "the reply that nobody reads")
            assert ask(connector, "PING") == b"PONG"


class TestTls:
    def address(self, port: int, certificates: Path, ca: str = "ca.pem") -> str:
        own = f"ssl_certfile={certificates}/client.pem&ssl_keyfile={certificates}/client.key"
        return f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificates}/{ca}&{own}"

    def test_jobs_travel_over_tls_with_a_ca_and_a_client_certificate(self, tls_port: int, certificates: Path) -> None:
        url = self.address(tls_port, certificates)
        ran = threading.Event()

        @jobd.job(name="over_tls")
        def over_tls() -> None:
            ran.set()

        jobd.configure(redis_url=url)
        with jobd.run(WorkerConfig(redis_url=url, concurrency=1)):
            over_tls.perform_async()
            assert ran.wait(5)

    async def test_asyncio_too(self, tls_port: int, certificates: Path) -> None:
        client = Client(self.address(tls_port, certificates))
        assert await client.apush({"class": "x", "args": [], "queue": "other"})
        await client.aclose()

    def test_a_server_that_the_ca_did_not_sign_is_refused(self, tls_port: int, certificates: Path) -> None:
        connector = Connector(self.address(tls_port, certificates, ca="other.pem"))
        with pytest.raises(RedisUnavailable, match="certificate verify failed"), connector.connection():
            pass


class TestSentinel:
    def test_the_master_is_found_and_a_worker_goes_on_after_a_failover(self) -> None:
        ran: list[int] = []

        @jobd.job(name="noted")
        def noted(number: int) -> None:
            ran.append(number)

        with Watched() as service, contextlib.ExitStack() as stack:
            url, replica = service.url, service.second
            jobd.configure(redis_url=url)
            worker = jobd.run(WorkerConfig(redis_url=url, concurrency=2, heartbeat_interval=0.2, timeout=2))
            stack.enter_context(worker)
            noted.perform_async(1)
            wait_until(lambda: ran == [1], "the first job")
            with service.first.client() as client:
                wait_until(lambda: client.get("stat:processed") == b"1", "the acknowledgement")
            service.wait_until_in_step()
            service.fail_over()
            service.first.kill()
            numbers = itertools.count(2)
            wait_until(lambda: push_is_taken(noted, next(numbers)), "a push to the new master", 15)
            wait_until(lambda: len(ran) > 1, "a job after the fail-over", 15)
            wait_until(
                lambda: asked(replica, lambda client: client.get("stat:processed")) == b"%d" % len(ran), "all counted"
            )

    def test_without_sentinels_the_address_names_them_all_and_the_remedy_follows(self) -> None:
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            place = f"127.0.0.1:{holder.getsockname()[1]}/mymaster"
            connector = Connector(f"redis+sentinel://:secret@{place}")
            with pytest.raises(RedisUnavailable) as caught, connector.connection():
                pass
        assert str(caught.value) == (
            f"Redis at redis+sentinel://{place}: no sentinel names a reachable master; "
            "start the sentinels, or mend their addresses or the name of the service"
        )


class TestServerFacts:
    good = ServerFacts("Valkey", "9.0.0", "abc", "master", "noeviction", 0.0)

    def facts(self, **changes: Any) -> ServerFacts:
        return ServerFacts(**{**vars(self.good), **changes})

    def test_a_real_server_tells_its_facts(self, redis: Redis) -> None:
        facts = read_facts(redis)
        assert facts.name in ("Valkey", "Redis")
        assert (facts.role, facts.policy) == ("master", "noeviction")
        assert abs(facts.skew) < 1
        assert warnings(facts) == []
        refuse_too_old(facts)

    @pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
    def test_a_policy_that_deletes_jobs_is_warned_about_with_the_command_that_mends_it(self, policy: str) -> None:
        (warning,) = warnings(self.facts(policy=policy))
        assert policy in warning
        assert "redis-cli CONFIG SET maxmemory-policy noeviction" in warning

    def test_a_replica_is_warned_about(self) -> None:
        (warning,) = warnings(self.facts(role="slave"))
        assert "refuses writes" in warning

    def test_a_cluster_is_warned_about(self) -> None:
        with RedisServer(cluster=True) as server, server.client() as redis:
            (warning,) = warnings(read_facts(redis))
        assert "a namespace with a hash tag, such as {jobd}:" in warning

    @pytest.mark.parametrize(("skew", "shown"), [(7.04, "-7.0 s"), (-90.0, "+90.0 s")])
    def test_a_clock_that_differs_is_warned_about(self, skew: float, shown: str) -> None:
        (warning,) = warnings(self.facts(skew=skew))
        assert f"differs by {shown}" in warning

    def test_a_small_difference_and_a_server_that_hides_its_settings_are_not(self) -> None:
        assert warnings(self.facts(skew=4.9, policy="", role="")) == []

    @pytest.mark.parametrize(
        ("name", "version", "fine"),
        [
            ("Redis", "6.2.0", True),
            ("Redis", "10.0.1", True),
            ("Valkey", "7.2.4", True),
            ("Redis", "6.0.16", False),
            ("Redis", "5.0", False),
            ("Redis", "?", False),
        ],
    )
    def test_old_servers_are_refused(self, name: str, version: str, fine: bool) -> None:
        refusal = contextlib.nullcontext() if fine else pytest.raises(RedisUnavailable, match="too old")
        with refusal:
            refuse_too_old(self.facts(name=name, version=version))


def answer(connector: Connector, *command: Any) -> Any:
    """Send a command on a borrowed connection; returns the reply."""
    with connector.connection() as connection:
        connection.send_command(*command)
        return connection.read_response()


def since(redis: Redis, number: int) -> list[int]:
    """The connections from that number on, without this client's; of earlier tests some may still be open."""
    own = redis.client_id()
    numbers = [int(each["id"]) for each in cast("list[dict[str, str]]", redis.client_list())]
    return [each for each in numbers if each >= number and each != own]


def ask(connector: Connector, *command: Any) -> Any:
    """Send a command on a loan; returns the reply."""
    loan = connector.borrow()
    loan.connection.send_command(*command)
    reply = loan.connection.read_response()
    connector.give_back(loan)
    return reply


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def make_certificates(openssl: str, directory: Path) -> None:
    """Two CAs (`ca.pem`, `other.pem`), and `server` and `client` signed by the first."""

    def run(*args: str) -> None:
        subprocess.run([openssl, *args], cwd=directory, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    ca_options = ["-days", "2", "-addext", "keyUsage=critical,keyCertSign"]
    for ca in ("ca", "other"):
        run("req", "-x509", *key, "-keyout", f"{ca}.key", "-out", f"{ca}.pem", "-subj", f"/CN={ca}", *ca_options)
    # Python 3.13 verifies strictly: it wants to see whose key signed, and what a key may be used for.
    extensions = "subjectAltName=IP:127.0.0.1\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    (directory / "names").write_text(extensions)
    for name in ("server", "client"):
        run("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signer = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names"]
        run("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signer)


def push_is_taken(job: Any, number: int) -> bool:
    """Push a job of this number; whether it is known to be in Redis."""
    try:
        return job.perform_async(number) is not None
    except (RedisUnavailable, PushRefused, PushOutcomeUnknown):
        return False


def asked(server: RedisServer, question: Callable[[Redis], Any]) -> Any:
    """The server's answer; None while it gives none, as a promoted one closes all its connections."""
    with contextlib.suppress(RedisError), server.client() as client:
        return question(client)
    return None
