"""The mailer example, followed from its README."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jobd.client import payload, scripts
from jobd.client.connection import Connector
from jobd.client.keys import Keys
from jobd.client.scripts import DeadLimits
from tests.examples.terminals import Desk, Terminal
from tests.waiting import wait_until

KEYS = Keys()
GONE = {f"gone{number}@example.com" for number in range(100, 501, 100)}
BUSY = {f"busy{number}@example.com" for number in range(25, 501, 25) if number % 100}
GOOD = {f"user{number}@example.com" for number in range(1, 501) if number % 25}


class Postbox:
    """What the mail server has said so far."""

    def __init__(self, server: Terminal) -> None:
        self._server = server

    def delivered(self) -> Counter[str]:
        """Mails by address."""
        return Counter(re.findall(r"delivered: (\S+)\n", self._server.text))

    def refused(self, code: int) -> Counter[str]:
        """Refusals with an SMTP code, by address."""
        return Counter(re.findall(rf"refused: (\S+): {code} ", self._server.text))


class Sets:
    """The retry set and the dead set of the example's own store."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    def retry_now(self) -> int:
        """Push what waits for a retry, of which the first would be due in 15 seconds; returns how many."""
        entries = [(member, payload.decode(member)["queue"], member) for member in self._members(KEYS.retry)]
        due = time.time() + 3600
        with self._connector.connection() as connection:
            return scripts.send(connection, scripts.promote(KEYS, KEYS.retry, due, entries, DeadLimits())).promoted

    def retries(self) -> int:
        """Jobs that wait for a retry."""
        return len(self._members(KEYS.retry))

    def dead(self) -> list[dict[str, Any]]:
        """The dead jobs."""
        return [payload.decode(member) for member in self._members(KEYS.dead)]

    def _members(self, key: str) -> list[bytes]:
        found: list[bytes] = self._connector.client().zrange(key, 0, 99)  # type: ignore[assignment] # without scores
        return found


@pytest.fixture
def mailer(desk: Callable[..., Desk]) -> Desk:
    """The example's folder; the kernel chooses the port."""
    return desk("mailer", SMTP_PORT="0")


@pytest.fixture
def sets(mailer: Desk) -> Iterator[Sets]:
    """The sets of the example's own store."""
    connector = Connector(f"embedded:{mailer.directory / 'var/jobd'}")
    yield Sets(connector)
    connector.close()


def test_every_user_gets_one_mail_and_who_is_gone_ends_in_the_dead_set(mailer: Desk, sets: Sets) -> None:
    mail_server, workers, send = mailer.steps
    server = mailer.type(mail_server)
    mailer.environment["SMTP_PORT"] = server.wait_for(r"listening on port (\d+)")[1]
    postbox, jobd = Postbox(server), mailer.type(workers)
    jobd.wait_for("process.ready")
    mailer.type(send).wait()

    wait_until(lambda: sets.retries() == len(BUSY | GONE), "each failed mail waits for its retry")
    wait_until(lambda: postbox.delivered().total() == len(GOOD), "mails to those who take them")
    assert postbox.delivered() == Counter(GOOD)
    assert postbox.refused(451) == Counter(BUSY)

    assert sets.retry_now() == len(BUSY | GONE)
    wait_until(lambda: postbox.delivered().total() == len(GOOD | BUSY), "mails to those who were busy")
    wait_until(lambda: sets.retries() == len(GONE), "each mail refused twice waits for its last retry")
    assert sets.retry_now() == len(GONE)
    wait_until(lambda: len(sets.dead()) == len(GONE), "the jobs of those who are gone are dead")
    assert sets.retries() == 0
    assert postbox.delivered() == Counter(GOOD | BUSY)
    assert postbox.refused(550) == Counter(dict.fromkeys(GONE, 3))
    for address in GONE:
        told = [job for job in sets.dead() if address in job["error_message"] and "550" in job["error_message"]]
        assert [(job["class"], job["error_class"]) for job in told] == [
            ("jobs.send_mail", "smtplib.SMTPRecipientsRefused")
        ]

    assert jobd.stop() == 0
    assert server.stop() == 0
    server.wait_for("495 mails to 495 addresses, 30 refusals")
    assert mailer.processes() == []
