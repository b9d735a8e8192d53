"""One request on its way through a page: who asks, for what, in which language, and how Redis is asked for it."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from jobd.client.access import Access
from jobd.client.entry import JobEntry
from jobd.client.errors import JobdError, RedisRefused
from jobd.client.push import Client, default_client
from jobd.client.scripts import raw_bytes
from jobd.client.source_links import SourceLinks
from jobd.web.auth import LOOKING, User
from jobd.web.figures import Figures
from jobd.web.links import Links
from jobd.web.masking import Masker
from jobd.web.outage import Outage, Views
from jobd.web.questions import Question, answer
from jobd.web.reach import Reach, queues_of
from jobd.web.seldom import Seldom
from jobd.web.server import Watch
from jobd.web.text import translate
from jobd.web.threads import MOST_CHANGES, Threads
from jobd.web.totals import Totals, ask_totals, attention

T = TypeVar("T")

_PLAIN = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_unquoted = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch
LOOK_SECONDS = 0.45
"""For a connection and for an answer, of which a page needs two: it is there within a second, whatever Redis does."""
READ_SECONDS = 2.0
"""For which others are content with older totals while one request reads them."""
MAX_AGE = 1.0
"""Seconds for which the totals of one request serve others."""
TRENDS_LAST = 10.0
"""Seconds for which what the first page found to need attention is told by the other pages too."""
MOST_TEXT = 1_000
"""Characters of a search."""


class BadRequest(Exception):
    """What was asked for makes no sense; the message says what would."""


class NotFound(Exception):
    """What was asked for is not there."""


class MustSearch(NotFound):
    """Only a search can tell, which waits for the one before it of the same user: see `Context.may_search`."""


class Forbidden(Exception):
    """The user may not do it."""


class OutOfReach(Forbidden):
    """The user may do it, but only to what is of certain queues."""

    def __init__(self, action: str, reach: Reach) -> None:
        super().__init__(f"{action} outside of {reach.shown}")
        self.action, self.reach = action, reach


@dataclass(frozen=True, slots=True)
class View:
    """What a page shows: a template for people, `data` for it and for programs.

    One that shows what else is hidden names in `revealed` of what: that is recorded as a change is.
    """

    template: str
    data: dict[str, Any]
    title: str
    status: int = 200
    revealed: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """What a change came to: the page to go back to, and counts that are said there.

    One that still goes on was `started` under this id; a job that was pushed has this `jid`;
    what was deleted can be put back by `undo`.
    """

    action: str
    back: str
    counts: Mapping[str, int] = field(default_factory=dict)
    target: str = ""
    started: str = ""
    jid: str = ""
    undo: str = ""


@dataclass(frozen=True, slots=True)
class Download:
    """What is sent as a file: its name, and its lines as they come."""

    name: str
    lines: Iterator[bytes]
    media_type: str = "application/x-ndjson"


class _Looking(Access):
    """Tells the outage whenever Redis has answered, be it with a refusal."""

    def __init__(self, client: Client, outage: Outage) -> None:
        super().__init__(client)
        self._outage = outage

    def read(self, ask: Callable[[Any], T]) -> T:
        try:
            found = super().read(ask)
        except RedisRefused:
            self._outage.answered()
            raise
        self._outage.answered()
        return found


class Shared:
    """What the requests of one site share: its Redis, masker, name and threads, and what was read last.

    The totals are read once a second, by one of those who ask for them. Pages look with `access`, which waits no longer
    than LOOK_SECONDS for an answer; changes have the client itself, as they are not to be given up half way.
    """

    def __init__(
        self,
        client: Client | None,
        masker: Masker,
        title: str = "jobd",
        environment: str = "",
        links: Links | None = None,
        sources: SourceLinks | None = None,
        undo: bool = True,
    ) -> None:
        self._client, self.masker = client, masker
        self.title, self.environment, self.undo = title, environment, undo
        self.threads, self.changing = Threads(), Threads(MOST_CHANGES)
        self.outage, self.views = Outage(), Views()
        self.refusals, self.links, self.sources = Seldom(), links or Links(), sources or SourceLinks()
        self.figures, self.watch = Figures(), Watch()
        self._lock = threading.Lock()
        self._totals: tuple[float, Totals] | None = None
        self._needs: tuple[Totals, int] | None = None
        self._trends = (-math.inf, 0)
        self._read_until = self._answers_until = self._forgotten_at = 0.0
        self._last: Totals | None = None
        self._access: tuple[Client, Access] | None = None

    @property
    def client(self) -> Client:
        """For changes."""
        return self._client or default_client()

    @property
    def address(self) -> str:
        """Of its Redis, without a password; empty while none is configured that makes sense. Never raises."""
        try:
            return self.client.connector.address.shown
        except JobdError:
            return ""

    @property
    def access(self) -> Access:
        """How pages look; the same one as long as the client is."""
        with self._lock:
            if self._access is None or self._access[0] is not self.client:
                self._access = self.client, _Looking(self.client.for_looking(LOOK_SECONDS), self.outage)
            return self._access[1]

    def check(self) -> None:
        """Find out whether Redis answers, unless it did within the last second. Raises `RedisUnavailable`."""
        with self._lock:
            if time.monotonic() < self._answers_until:
                return
        with self.outage.noticed():
            self.access.read(lambda redis: redis.exists(self.access.keys.retry))
        with self._lock:
            self._answers_until = time.monotonic() + MAX_AGE

    @property
    def last(self) -> Totals | None:
        """The totals that were read last, however long ago."""
        with self._lock:
            return self._last

    def totals(self) -> Totals | None:
        """Those of the last second, or a little older while somebody reads them; None says that the caller is to."""
        now, answers = time.monotonic(), not self.outage.lasts
        with self._lock:
            age = now - self._totals[0] if self._totals else math.inf
            is_read = answers and age < MAX_AGE + READ_SECONDS and now < self._read_until
            if self._totals and (age < MAX_AGE or is_read):
                return self._totals[1]
            self._read_until = now + READ_SECONDS
        return None

    def keep(self, totals: Totals, began: float) -> None:
        """Remember what was read, from `began` (monotonic) on, unless something was changed meanwhile."""
        with self._lock:
            self._last = totals
            if began >= self._forgotten_at:
                self._totals, self._read_until = (time.monotonic(), totals), 0.0

    def forget(self) -> None:
        """After a change: what was read before is older than that, and so is what is being read."""
        with self._lock:
            self._totals, self._read_until, self._forgotten_at = None, 0.0, time.monotonic()

    def attention(self, totals: Totals) -> int:
        """How many things need attention, those with them that the first page found within TRENDS_LAST.

        Counted once for the same totals, as there may be a thousand processes.
        """
        known = self._needs
        if known is None or known[0] is not totals:
            self._needs = known = (totals, len(attention(totals)))
        found_at, trends = self._trends
        return known[1] + (trends if time.monotonic() - found_at < TRENDS_LAST else 0)

    def keep_trends(self, count: int) -> None:
        """Remember how many things need attention that the totals do not tell."""
        self._trends = (time.monotonic(), count)


@dataclass
class Context:
    """One request. `allowed` are the actions that its user may do, within `reach`; `fields` was sent with a change.

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
    reach: Reach = field(default_factory=Reach)
    may_search: bool = False
    """Whether a job may be looked for everywhere."""
    changes: bool = False
    """Whether something is to be changed."""
    stale_since: float | None = None
    """When what is shown was read, in epoch seconds, if Redis does not answer now."""

    @property
    def looks_only(self) -> bool:
        """Whether the user may look, and change nothing."""
        return self.allowed <= set(LOOKING)

    @property
    def access(self) -> Access:
        """The Redis that is asked."""
        return Access(self.shared.client) if self.changes else self.shared.access

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
        began = time.monotonic()
        *found, totals = answer(self.access, *questions, ask_totals(self.access, self.shared.watch))
        self.shared.keep(totals, began)
        self.totals = totals
        return found

    def read_totals(self) -> Totals:
        """The totals; those that came with the questions of the page, if it had any."""
        if self.totals is None:
            self.ask()
        assert self.totals is not None
        return self.totals

    def require(self, action: str, *queues: str) -> None:
        """Raise `Forbidden` unless the user may do this to what is of these queues; without any, to everything."""
        self.require_somewhere(action)
        if action not in LOOKING and not self.reach.takes(*queues):
            raise OutOfReach(action, self.reach)

    def require_somewhere(self, action: str) -> None:
        """Raise `Forbidden` unless the user may do this to something; to what, is then asked of `reach`."""
        if action not in self.allowed:
            raise Forbidden(action)

    def require_job(self, action: str, entry: JobEntry) -> None:
        """Raise `Forbidden` unless the user may do this to this job, by the queues that its bytes in Redis tell."""
        self.require(action, *queues_of(entry))

    def may(self, action: str, *queues: str) -> bool:
        """Whether the user may do this to what is of these queues."""
        return action in self.allowed and self.reach.takes(*queues)

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

    def until(self, latest: float) -> float:
        """The moment of a list or a question that a form sends back, `latest` at most, and without one.

        Raises `BadRequest`.
        """
        text = self.one("until")
        try:
            found = float(text) if text else latest
        except ValueError:
            found = math.nan
        if math.isnan(found):  # nothing is later than that, so that it would let everything pass
            raise BadRequest("until is no time; begin at the list again")
        return min(found, latest)

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
        kept = [_parameter(name, value) for name, value in query.items() if value not in ("", None)]
        return self.base + path + (f"?{'&'.join(kept)}" if kept else "")

    def queue_url(self, name: str, **query: Any) -> str:
        """The page of a queue, whatever bytes its name has."""
        if _is_plain(name):
            return self.url(f"/queues/{name}", **query)
        return self.url("/queues/-", name=raw_bytes(name), **query)

    def process_url(self, identity: str, **query: Any) -> str:
        """The page of a worker process."""
        return self._named_url("/busy", identity, query)

    def class_url(self, name: str, **query: Any) -> str:
        """The page of the figures of a class, whatever its name is."""
        return self._named_url("/metrics", name, query)

    def cron_url(self, name: str, **query: Any) -> str:
        """The page of an entry of the cron."""
        return self._named_url("/cron", name, query)

    def _named_url(self, page: str, name: str, query: Mapping[str, Any]) -> str:
        if _is_plain(name):
            return self.url(f"{page}/{name}", **query)
        return self.url(f"{page}/-", **{"name": raw_bytes(name), **query})

    def about_url(self, found: Mapping[str, Any]) -> str:
        """The page of the one thing that needs attention, or the page of all of its kind."""
        page, values = found["page"], found["values"]
        match page, values:
            case "/queues", {"queue": name}:
                return self.queue_url(name)
            case "/busy", {"process": name}:
                return self.process_url(name)
            case "/cron", {"name": name}:
                return self.cron_url(name)
        return self.url(page)

    def job_url(self, jid: str, **query: Any) -> str:
        """The page of a job."""
        return self.url(f"/jobs/{quote(jid) if _is_plain(jid) else '-'}", **query)


def _parameter(name: str, value: Any) -> str:
    """One parameter of an address, as `urlencode` writes it; most hold nothing that has to be quoted."""
    if type(value) is str and _unquoted(value):
        return f"{name}={value}"
    return urlencode({name: value}, errors="surrogateescape")


def _is_plain(name: str) -> bool:
    """Whether a name stays as it is in the path of an address."""
    return _PLAIN.fullmatch(name) is not None and any(char.isalnum() for char in name)
