"""The snippets example, followed from its README."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

import pytest

from jobd.client import scripts
from jobd.client.connection import Connector
from jobd.client.keys import Keys
from tests.examples.terminals import Desk, Terminal
from tests.waiting import wait_until

CODE = 'def f():\n    return "<script>alert(1)</script>"\n'
WAITING = "being highlighted"
DONE = re.compile(r'<div class="highlight"><pre>.*<span class="k">def</span>', re.DOTALL)
# What Flask's development server does with TERM: it has no handler.
ENDED_BY_TERM = -signal.SIGTERM

browser = build_opener(ProxyHandler({}))


class Site:
    """The application's pages."""

    def __init__(self, flask: Terminal) -> None:
        self._root = flask.wait_for(r"Running on (http://127\.0\.0\.1:\d+)")[1]

    def get(self, path: str) -> str:
        """A page's text."""
        with browser.open(self._root + path) as page:
            return str(page.read().decode())

    def save(self, code: str, language: str = "python") -> tuple[int, str, str]:
        """Fill in the form; returns status, path and text of the page that comes."""
        filled = urlencode({"code": code, "language": language}).encode()
        page: HTTPResponse | HTTPError
        try:
            page = browser.open(f"{self._root}/", filled)
        except HTTPError as refused:
            page = refused
        with page:
            return int(page.status or 0), page.geturl().removeprefix(self._root), page.read().decode()


@pytest.fixture
def snippets(desk: Callable[..., Desk]) -> Desk:
    """The example's folder; the kernel chooses the port."""
    return desk("snippets", FLASK_RUN_PORT="0")


@pytest.fixture
def store(snippets: Desk) -> Iterator[Connector]:
    """The example's own store."""
    connector = Connector(f"embedded:{snippets.directory / 'var/jobd'}")
    yield connector
    connector.close()


def stop(snippets: Desk, jobd: Terminal, flask: Terminal) -> None:
    assert flask.stop() == ENDED_BY_TERM
    assert jobd.stop() == 0
    assert snippets.processes() == []


def test_a_saved_snippet_is_highlighted_a_moment_later(snippets: Desk, store: Connector) -> None:
    worker, application, _ = snippets.steps
    jobd, flask = snippets.type(worker), snippets.type(application)
    site = Site(flask)
    jobd.wait_for("process.ready")
    with store.connection() as connection:
        scripts.send(connection, scripts.pause(Keys(), "highlight", "to see the page that waits"))
        status, path, page = site.save(CODE)
        assert (status, WAITING in page, 'http-equiv="refresh"' in page) == (200, True, True)
        assert "<script>" not in page
        scripts.send(connection, scripts.resume(Keys(), "highlight"))
    wait_until(lambda: DONE.search(site.get(path)), "the highlighted page")
    page = site.get(path)
    assert WAITING not in page
    assert 'http-equiv="refresh"' not in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert ".highlight .k " in site.get("/style.css")
    stop(snippets, jobd, flask)


def test_a_snippet_saved_without_jobd_is_highlighted_after_catching_up(snippets: Desk) -> None:
    worker, application, catch_up = snippets.steps
    flask = snippets.type(application)
    site = Site(flask)
    status, _, page = site.save(CODE)
    assert (status, "is saved" in page) == (503, True)
    assert WAITING in site.get("/snippets/1")
    jobd = snippets.type(worker)
    jobd.wait_for("process.ready")
    snippets.type(catch_up).wait()
    wait_until(lambda: DONE.search(site.get("/snippets/1")), "the highlighted page")
    stop(snippets, jobd, flask)


@pytest.mark.parametrize(("code", "language"), [("  ", "python"), ("x", "brainfuck")])
def test_a_form_that_is_not_filled_in_is_refused(snippets: Desk, code: str, language: str) -> None:
    flask = snippets.type(snippets.steps[1])
    status, _, page = Site(flask).save(code, language)
    assert (status, "Give some code" in page) == (400, True)
