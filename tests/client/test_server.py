"""What a server is asked before a worker starts: whether its user may do all that keeps jobs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from redis import Redis

from jobd.client import scripts
from jobd.client.connection import Connector
from jobd.client.errors import RedisUnavailable
from jobd.client.keys import Keys
from jobd.client.server import needed_rights, refuse_without_rights

KEYS = Keys()
NEEDED = needed_rights(KEYS, ["mail"])
MOVING = ("fetch", "ack", "settle", "promote", "take", "recover", "unbatch", "leave", "register", "beat", "absolve")
"""The scripts by which a worker takes jobs and lets go of them."""


@pytest.fixture
def refuse(redis: Redis, redis_url: str) -> Iterator[Callable[..., None]]:
    """Ask as a user who may do everything but what is given."""
    address = urlsplit(redis_url)
    connectors = list[Connector]()

    def ask(*rules: str) -> None:
        redis.execute_command("ACL", "SETUSER", "worker", "reset", "on", ">word", "+@all", *rules)
        connectors.append(Connector(address._replace(netloc=f"worker:word@{address.netloc}").geturl()))
        refuse_without_rights(connectors[-1], KEYS, ["mail"])

    yield ask
    for connector in connectors:
        connector.close()
    redis.execute_command("ACL", "DELUSER", "worker")


def test_a_user_who_may_do_everything_may_start(refuse: Callable[..., None]) -> None:
    refuse("~*")
    refuse(*(f"~{key}" for key in NEEDED))


@pytest.mark.parametrize("command", sorted(set(" ".join(NEEDED.values()).split())))
def test_each_command_that_is_missing_is_named(command: str, refuse: Callable[..., None]) -> None:
    with pytest.raises(RedisUnavailable, match=rf"may not run {command} .*ACL SETUSER"):
        refuse("~*", f"-{command}")


@pytest.mark.parametrize("missing", sorted(NEEDED))
def test_each_key_that_is_missing_is_named(missing: str, refuse: Callable[..., None]) -> None:
    with pytest.raises(RedisUnavailable, match=re.escape(missing)):
        refuse(*(f"~{key}" for key in NEEDED if key != missing))


def test_what_the_scripts_of_workers_call_is_asked_for() -> None:
    asked = set(" ".join(NEEDED.values()).split())
    for name in MOVING:
        called = set(re.findall(r'redis\.p?call\("([A-Z]+)"', scripts.load(name).source))
        called |= set(re.findall(r'remember\("([A-Z]+)"', scripts.load(name).source))
        assert called <= asked, name
