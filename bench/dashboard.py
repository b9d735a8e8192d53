"""The dashboard on a Redis with a million jobs: what its pages, a search and open tabs cost, and an outage."""

from __future__ import annotations

import gzip
import html
import math
import os
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import quote

from redis import Redis

from bench import crowd, site
from bench.load import Watch
from bench.results import Cases, Figures, Measure
from bench.server import Server
from bench.site import Site
from bench.stage import Theatre
from bench.systems import System
from bench.tabs import Tabs

FIRST = 3
"""Requests that are not counted: the first ones make connections and compile templates."""
REQUESTS = {True: 10, False: 100}
"""In a quick run and else."""
LONGEST = 10.0
"""Seconds after which a slow page is asked no more."""
VARIANTS = (
    *("/?days=180", "/?range=24h", "/?range=3d"),
    *("/queues?offset=400", "/busy?offset=950", "/metrics?period=8h", "/metrics?period=90d"),
)
SEARCHED = ("/retries", f"/queues/{crowd.LARGEST}")
TEXTS = {"a few": crowd.RARE, "a third": crowd.BROAD, "none": crowd.NOWHERE}
SIDEKIQS = ("/", "/queues", f"/queues/{crowd.LARGEST}", "/retries", "/scheduled", "/morgue", "/busy", "/cron")
"""The pages of its Web UI that are like ours."""
TABS = (1, 100)
EVENTS = {True: 1, False: 15}
"""That each tab is to get while it is watched."""
_FIELD = re.compile(r"\{(\w+)(?::\w+)?\}")


def filled(theatre: Theatre) -> Redis:
    """The server of the run with all that there is."""
    crowd.fill(theatre.server.client, theatre.server.url, crowd.QUICK if theatre.quick else crowd.FULL)
    return theatre.server.client


@dataclass
class Sites:
    """The dashboards of one measure by the name of their system; each starts when it is needed."""

    theatre: Theatre
    totals_age: float | None = None
    _open: dict[str, Site] = field(default_factory=dict)

    def __call__(self, name: str) -> Site:
        """That of `jobd` or of `Sidekiq`; it ends with the measure."""
        if name not in self._open:
            url = self.theatre.server.url
            opened = site.jobds(url, totals_age=self.totals_age) if name == "jobd" else site.sidekiqs(url)
            self._open[name] = self.theatre.guests.enter_context(opened)
        return self._open[name]


def patterns() -> list[str]:
    """The address of every page, names in braces where it has such."""
    from jobd.web.site import PAGES

    return [path for path, *_ in PAGES]


def address(served: Site, pattern: str) -> str:
    """The page itself, or the first link to such a page on any other."""
    if "{" not in pattern:
        return pattern
    wanted = re.compile(_FIELD.sub("[^?]+", pattern.replace(".", r"\.")) + r"(\?.*)?")
    plain = [each for each in patterns() if "{" not in each]
    for page in sorted(plain, key=lambda each: not pattern.startswith(each + "/")):
        links = re.findall(r'href="([^"]+)"', served.page(page).body.decode())
        if found := next((link for link in map(html.unescape, links) if wanted.fullmatch(link)), None):
            return found
    raise RuntimeError(f"no page has a link to {pattern}")


def asked(theatre: Theatre, sites: Sites, name: str, pattern: str, prefix: str = "") -> Figures:
    """Ask for one page again and again, one request after the other."""
    client, served = filled(theatre), sites(name)
    path = prefix + address(served, pattern)
    for _ in range(FIRST):
        answer = served.page(path)
    took = list[float]()
    watch, cpu, redis = Watch(), served.cpu(), worked(client)
    while len(took) < REQUESTS[theatre.quick] and sum(took) < LONGEST * 1_000:
        answer = served.page(path)
        took.append(answer.seconds * 1_000)
    used = {"CPU ms": served.cpu() - cpu, "Redis ms": worked(client) - redis}
    return {
        **spread(took),
        **{what: seconds * 1_000 / len(took) for what, seconds in used.items()},
        "kB": len(answer.body) / 1_000,
        "gzip kB": len(gzip.compress(answer.body)) / 1_000,
        "others": watch.others(),
    }


def spread(took: Sequence[float]) -> Figures:
    """Median, 95th percentile and maximum."""
    ordered, places = sorted(took), {"p50 ms": 0.5, "p95 ms": 0.95, "max ms": 1.0}
    return {name: ordered[max(math.ceil(len(ordered) * share) - 1, 0)] for name, share in places.items()}


def _stats(client: Redis) -> Mapping[str, Any]:
    """What Redis counts of each command; what it takes to ask for that is left out."""
    found: Mapping[str, Any] = client.info("commandstats")
    return {name: each for name, each in found.items() if name != "cmdstat_info"}


def worked(client: Redis) -> float:
    """Seconds that Redis has worked on commands."""
    return float(sum(each["usec"] for each in _stats(client).values())) / 1e6


def carried_out(client: Redis) -> int:
    """Commands that Redis has carried out."""
    return int(sum(each["calls"] for each in _stats(client).values()))


def _names(systems: Sequence[System]) -> set[str]:
    return {system.name for system in systems if system.is_plain}


def pages(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """Every page, for people and for programs; those of Sidekiq's Web UI beside them."""
    found, sites = dict[str, Callable[[], Figures]](), Sites(theatre, totals_age=0.0)
    if "jobd" in _names(systems):
        for pattern in (*patterns(), *VARIANTS):
            label = _FIELD.sub(lambda name: name[1].upper(), pattern)
            found[label] = partial(asked, theatre, sites, "jobd", pattern)
        for pattern in patterns():
            given = "/overview" if pattern == "/" else pattern
            label = _FIELD.sub(lambda name: name[1].upper(), f"/api/v1{given}")
            found[label] = partial(asked, theatre, sites, "jobd", given, "/api/v1")
    if "Sidekiq" in _names(systems):
        found |= {f"Sidekiq {path}": partial(asked, theatre, sites, "Sidekiq", path) for path in SIDEKIQS}
    return found


def searches(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """The first answer to texts that few jobs, many, and none hold."""
    sites = Sites(theatre, totals_age=0.0)
    return {
        f"{path}, held by {who}": partial(asked, theatre, sites, "jobd", f"{path}?q={quote(text)}")
        for path in (SEARCHED if "jobd" in _names(systems) else ())
        for who, text in TEXTS.items()
    }


def watched(theatre: Theatre, sites: Sites, tabs: int) -> Figures:
    """Keep so many tabs open on the first page, from one event to another."""
    client, served = filled(theatre), sites("jobd")
    with Tabs(served.port, tabs, "/live?page=%2F") as opened:
        opened.wait(FIRST)
        watch, cpu, redis, commands, started = (
            Watch(),
            served.cpu(),
            worked(client),
            carried_out(client),
            time.monotonic(),
        )
        opened.wait(EVENTS[theatre.quick])
        seconds = time.monotonic() - started
        return {
            "commands/s": (carried_out(client) - commands) / seconds,
            "Redis %": (worked(client) - redis) / seconds * 100,
            "CPU %": (served.cpu() - cpu) / seconds * 100,
            "events/s and tab": EVENTS[theatre.quick] / seconds,
            "others": watch.others(),
        }


def live(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """One tab, and many."""
    sites = Sites(theatre)
    return {_counted(tabs): partial(watched, theatre, sites, tabs) for tabs in TABS if "jobd" in _names(systems)}


def _counted(tabs: int) -> str:
    return "1 tab" if tabs == 1 else f"{tabs} tabs"


def without_redis(theatre: Theatre, number: signal.Signals) -> Figures:
    """Ask for each page that needs no name, with a Redis of its own that was signalled before."""
    with Server() as server:
        crowd.fill(server.client, server.url, crowd.QUICK)
        with site.jobds(server.url) as served:
            served.page("/")
            os.kill(server.pid, number)
            took = [served.ask(path).seconds * 1_000 for path in patterns() if "{" not in path]
    return spread(took)


def outage(theatre: Theatre, systems: Sequence[System]) -> Cases:
    """A Redis that ended, and one that does not answer."""
    told = {"it has ended": signal.SIGKILL, "it keeps silent": signal.SIGSTOP}
    return {what: partial(without_redis, theatre, number) for what, number in told.items() if "jobd" in _names(systems)}


_FULL = crowd.FULL
_WHAT = (
    f"Redis holds {_FULL.queued:,} jobs in {_FULL.queues} queues, {_FULL.retries:,} retries, {_FULL.scheduled:,} "
    f"scheduled and {_FULL.dead:,} dead jobs, {_FULL.processes:,} processes of {_FULL.threads} threads that all run a "
    f"job, figures of {_FULL.classes} classes for 90 days, {_FULL.cron} cron entries."
)
PAGES_MEASURE = Measure(
    "dashboard-pages",
    "Pages of the dashboard",
    f"{_WHAT} {REQUESTS[False]} requests, one after the other, to `jobd web` in a process of its own; from the request "
    "to the last byte. The totals at the head of each page, which serve other pages for a second, are read anew for "
    "each of them here. CPU time of the web process, and time that Redis worked, for each page. Sidekiq's Web UI shows "
    "the same data, in WEBrick.",
    pages,
    ("p50 ms", "p95 ms", "max ms", "CPU ms", "Redis ms", "kB", "gzip kB"),
    wanted={"p95 ms": 25.0, "max ms": 100.0},
    rows="page",
    most_rounds=3,
    fixed=3.0,
    lengths=0.0,
)
MEASURES = (
    PAGES_MEASURE,
    replace(
        PAGES_MEASURE,
        name="dashboard-search",
        title="First answer of a search",
        text=f"The same data; a text is looked for that {_FULL.retries // crowd.RARE_EVERY} of the retries, a third, "
        "and none of them hold. It looks for a limited time, shows what it has found, and goes on when asked to.",
        cases=searches,
        wanted={"max ms": 100.0},
    ),
    Measure(
        "dashboard-live",
        "Open tabs",
        "The same data; tabs that are kept up to date, each by a stream of its own. Time that Redis worked and CPU "
        "time of the web process as shares of one core.",
        live,
        ("commands/s", "Redis %", "CPU %", "events/s and tab"),
        base="1 tab",
        compare="× 1 tab",
        rows="open",
        most_rounds=3,
        fixed=38.0,
        lengths=0.0,
    ),
    Measure(
        "dashboard-outage",
        "The dashboard without Redis",
        f"A Redis with {crowd.QUICK.queued:,} jobs, which is of no account here: it is not read. Each page once, after "
        "it was killed, and after it was stopped in the middle of its work.",
        outage,
        ("p50 ms", "max ms"),
        wanted={"max ms": 1_000.0},
        rows="Redis",
        most_rounds=2,
        fixed=15.0,
        lengths=0.0,
    ),
)
