"""One request on its way through a page: who asks, for what, in which language, and how Redis is asked for it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from jobd.client.access import Access
from jobd.client.push import Client
from jobd.client.scripts import raw_bytes
from jobd.web.auth import User
from jobd.web.masking import Masker
from jobd.web.questions import Question, answer
from jobd.web.text import translate
from jobd.web.totals import Totals, ask_totals

_PLAIN = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
MAX_AGE = 1.0
"""Seconds for which the totals of one request serve others."""
MOST_TEXT = 200
"""Characters of a search."""


class BadRequest(Exception):
    """What was asked for makes no sense; the message says what would."""


class NotFound(Exception):
    """What was asked for is not there."""


class Forbidden(Exception):
    """The user may not do it."""


@dataclass(frozen=True, slots=True)
class View:
    """What a page shows: a template for people, `data` for it and for programs."""

    template: str
    data: dict[str, Any]
    title: str
    status: int = 200


@dataclass(frozen=True, slots=True)
class Done:
    """What a change came to: the page to go back to, and counts that are said there."""

    action: str
    back: str
    counts: Mapping[str, int] = field(default_factory=dict)


class Shared:
    """What the requests of one site share: its Redis, masker and name, and the totals, which are read once a second."""

    def __init__(self, client: Client | None, masker: Masker, title: str = "jobd", environment: str = "") -> None:
        self.access, self.masker = Access(client), masker
        self.title, self.environment = title, environment
        self._lock = threading.Lock()
        self._totals: tuple[float, Totals] | None = None

    def totals(self) -> Totals | None:
        """Those of the last second, if they were read."""
        with self._lock:
            known = self._totals
        return known[1] if known and time.monotonic() - known[0] < MAX_AGE else None

    def keep(self, totals: Totals | None) -> None:
        """Remember what was read just now; None forgets it, after a change."""
        with self._lock:
            self._totals = None if totals is None else (time.monotonic(), totals)


@dataclass
class Context:
    """One request. `allowed` are the actions that its user may do, `fields` what was sent with a change.

    What is not `for_people` is answered as JSON. `page` is the path and query by which the page is asked for again;
    `wishes` are what the user has chosen of SETTINGS.
    """

    shared: Shared
    user: User
    allowed: frozenset[str]
    base: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)
    language: str = "en"
    for_people: bool = True
    address: str = ""
    totals: Totals | None = None
    page: str = "/"
    wishes: Mapping[str, str] = field(default_factory=dict)

    @property
    def looks_only(self) -> bool:
        """Whether the user may look, and change nothing."""
        return self.allowed == {"view"}

    @property
    def access(self) -> Access:
        """The Redis that is asked."""
        return self.shared.access

    @property
    def client(self) -> Client:
        """Its client."""
        return self.access.client

    @property
    def masker(self) -> Masker:
        """What hides secrets."""
        return self.shared.masker

    def ask(self, *questions: Question[Any]) -> list[Any]:
        """Answers to the questions of a page, those to the totals at its head with them."""
        self.totals = self.shared.totals()
        if self.totals is not None:
            return answer(self.access, *questions)
        *found, totals = answer(self.access, *questions, ask_totals(self.access))
        self.shared.keep(totals)
        self.totals = totals
        return found

    def read_totals(self) -> Totals:
        """The totals; those that came with the questions of the page, if it had any."""
        if self.totals is None:
            self.ask()
        assert self.totals is not None
        return self.totals

    def require(self, action: str) -> None:
        """Raise `Forbidden` unless the user may do this."""
        if action not in self.allowed:
            raise Forbidden(action)

    def one(self, name: str, default: str = "") -> str:
        """One field of what was sent."""
        values = self.fields.get(name) or [default]
        return values[0]

    def text(self, name: str = "q") -> str:
        """The text that is searched for; empty without any. Raises `BadRequest` when it is too long."""
        found = (self.one(name) or self.query.get(name, "")).strip()
        if len(found) > MOST_TEXT:
            raise BadRequest(f"the search has {len(found):,} characters; give at most {MOST_TEXT}")
        return found

    def number(self, name: str, most: int = 10**9) -> int:
        """A whole number from 0 up among the query's parameters, 0 without it. Raises `BadRequest`."""
        given = self.query.get(name, "") or "0"
        if not given.isascii() or not given.isdigit() or len(given) > 20 or int(given) > most:
            raise BadRequest(f"{name} is {given[:50]!r}; give a number from 0 to {most:,}")
        return int(given)

    def t(self, text: str, /, **values: Any) -> str:
        """A sentence of ours in the language of the user."""
        return translate(text, self.language, values)

    def url(self, path: str, **query: Any) -> str:
        """The address of a page of this site, wherever it is mounted."""
        kept = {name: value for name, value in query.items() if value not in ("", None)}
        return self.base + path + (f"?{urlencode(kept, errors='surrogateescape')}" if kept else "")

    def queue_url(self, name: str, **query: Any) -> str:
        """The page of a queue, whatever bytes its name has."""
        if _is_plain(name):
            return self.url(f"/queues/{name}", **query)
        return self.url("/queues/-", name=raw_bytes(name), **query)

    def job_url(self, jid: str, **query: Any) -> str:
        """The page of a job."""
        return self.url(f"/jobs/{quote(jid) if _is_plain(jid) else '-'}", **query)


def _is_plain(name: str) -> bool:
    """Whether a name stays as it is in the path of an address."""
    return _PLAIN.fullmatch(name) is not None and any(char.isalnum() for char in name)
