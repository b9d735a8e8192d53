"""Pages that stay up to date: one reader for each view, shared by all who look at it, none when nobody does.

A view is a page with its query, in a language, for somebody with certain rights. What a page looks like, and who may
look, is told by `site.py`; how it gets into the page without losing what its user does there is in `static/live.js`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from jobd.client.errors import JobdError
from jobd.web.reach import Reach
from jobd.web.threads import Overloaded, Threads

logger = logging.getLogger("jobd")

PAUSE = 2.0
"""Seconds between two readings of a view."""
SHARE = 0.1
"""Of its time a reader reads at most: a page that takes a second is read every ten."""
RECHECK = 60.0
"""Seconds after which a stream asks again whether its user may look."""
MOST = 500
"""Streams at one time; who comes later asks by polling."""
MOST_KEPT = 100
"""Views whose last picture is kept for those who poll."""


@dataclass(frozen=True, slots=True)
class Look:
    """What somebody looks at: `page` is path and query of a page, and empty for the figures at the head alone."""

    page: str
    language: str
    allowed: frozenset[str]
    base: str
    reach: Reach = field(default_factory=Reach)


@dataclass(frozen=True)
class Picture:
    """A view at one moment: the figures at the head; the content, None for the head alone; what tells it apart.

    `at` is when its reading began, in epoch seconds [later than whatever was shown].
    """

    figures: dict[str, Any]
    html: str | None = None
    digest: str = ""
    at: float = math.inf

    @cached_property
    def content(self) -> str:
        """The event with the content, the same for all who listen."""
        return f"event: page\ndata: {json.dumps({'html': self.html, 'digest': self.digest})}\n\n"

    def document(self, seen: str) -> dict[str, Any]:
        """For those who poll, and have `seen` the content with that digest."""
        html = None if self.digest == seen else self.html
        return {"figures": self.figures, "digest": self.digest, "html": html}

    def tag(self) -> str:
        """The same for two pictures between which nothing happened but time."""
        lasting = {name: value for name, value in self.figures.items() if name not in ("now", "latency")}
        return hashlib.sha256(f"{self.digest} {json.dumps(lasting)}".encode()).hexdigest()[:16]


Draw: TypeAlias = Callable[[Look], Picture]
"""Reads and draws a view; raises `JobdError` when Redis does not answer."""
_Told: TypeAlias = "Picture | str | None"
"""A picture, an event as it is, or the end."""
_DOWN = "event: down\ndata: {}\n\n"


@dataclass
class _View:
    """One view: who listens, what was seen last and when (monotonic), seconds to the next, the readings under way."""

    listeners: set[asyncio.Queue[_Told]] = field(default_factory=set)
    reader: asyncio.Task[None] | None = None
    reading: asyncio.Task[Picture] | None = None
    picture: Picture | None = None
    taken: float = 0.0
    pause: float = PAUSE


class Live:
    """Has views drawn while somebody listens to them or asks for them. For one event loop."""

    def __init__(self, draw: Draw, threads: Threads | None = None) -> None:
        """`draw` is called in one of these `threads` [its own]."""
        self._draw, self._threads = draw, threads or Threads()
        self._views: OrderedDict[Look, _View] = OrderedDict()

    @property
    def full(self) -> bool:
        """Whether no more can listen."""
        return sum(len(view.listeners) for view in self._views.values()) >= MOST

    async def listen(
        self, look: Look, seen: str, may: Callable[[], Awaitable[bool]], since: float = 0.0
    ) -> AsyncIterator[str]:
        """The events for one listener, who has `seen` the content with that digest, while it `may` look.

        It was read at `since` (epoch seconds): what began to be read before that could take back what its user did.
        """
        view, queue = self._view(look), asyncio.Queue[_Told](maxsize=1)
        view.listeners.add(queue)
        if view.picture is not None and time.monotonic() - view.taken < PAUSE and view.picture.at >= since:
            queue.put_nowait(view.picture)
        if view.reader is None or view.reader.done():
            view.reader = asyncio.create_task(self._read(look, view))
        asked = time.monotonic()
        try:
            while True:
                try:
                    told = await asyncio.wait_for(queue.get(), max(asked + RECHECK - time.monotonic(), 0.001))
                except TimeoutError:
                    told = ""
                if time.monotonic() - asked >= RECHECK:
                    if not await may():
                        return
                    asked = time.monotonic()
                if told is None:
                    return
                if isinstance(told, Picture) and told.at < since:
                    continue
                text, seen = (told, seen) if isinstance(told, str) else (_events(told, seen, view.pause), told.digest)
                if text:
                    yield text
        finally:
            view.listeners.discard(queue)
            if not view.listeners and view.reader is not None:
                view.reader.cancel()
                view.reader = None

    async def picture(self, look: Look, age: float | None = None, since: float = 0.0) -> Picture:
        """A view as it is, or was `age` seconds ago at most [PAUSE], and not before `since` (epoch seconds).

        Raises what drawing it raises, or `Overloaded`.
        """
        view = self._view(look)
        newest = time.monotonic() - view.taken < (PAUSE if age is None else age)
        if view.picture is not None and newest and view.picture.at >= since:
            return view.picture
        picture = await self._reading(look, view)
        return picture if picture.at >= since else await self._reading(look, view)

    async def _reading(self, look: Look, view: _View) -> Picture:
        """What is read now; by the reading that is under way if there is one."""
        if view.reading is None or view.reading.done():
            view.reading = asyncio.create_task(self._threads.run(lambda: self._draw(look)))
            view.reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Who goes away leaves the reading to the others who wait for it.
        picture = await asyncio.shield(view.reading)
        if view.picture is not picture:
            view.picture, view.taken = picture, time.monotonic()
        return picture

    def close(self) -> None:
        """End all streams: a server that stops would wait for them."""
        for view in self._views.values():
            _tell(view, None)

    async def _read(self, look: Look, view: _View) -> None:
        while True:
            began = time.monotonic()
            try:
                told: _Told = await self.picture(look, PAUSE / 2)
            except (JobdError, Overloaded):
                # Pages go on to say how old their figures are.
                told = _DOWN
            except Exception:
                # A defect ends no reader: those who listen would wait for ever.
                logger.exception("web.failed %s", look.page.partition("?")[0])
                told = _DOWN
            view.pause = max(PAUSE, (time.monotonic() - began) / SHARE)
            _tell(view, told)
            await asyncio.sleep(view.pause)

    def _view(self, look: Look) -> _View:
        view = self._views.setdefault(look, _View())
        self._views.move_to_end(look)
        if len(self._views) > MOST_KEPT:
            idle = [each for each, known in self._views.items() if not known.listeners and known is not view]
            for each in idle[: len(self._views) - MOST_KEPT]:
                del self._views[each]
        return view


def _tell(view: _View, told: _Told) -> None:
    for queue in view.listeners:
        # Who is slow is told the newest only.
        if queue.full():
            queue.get_nowait()
        queue.put_nowait(told)


def _events(picture: Picture, seen: str, pause: float) -> str:
    """The figures, and the content when it is another than that which was seen; the next come after `pause` seconds."""
    text = f"event: head\ndata: {json.dumps({**picture.figures, 'pause': pause})}\n\n"
    if picture.html is None or picture.digest == seen:
        return text
    return text + picture.content
