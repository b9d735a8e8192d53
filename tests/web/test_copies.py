"""A job as text to be taken elsewhere, and the links of the host application on its page."""

from __future__ import annotations

import json
import shlex
import time
from typing import Any

import pytest
from markupsafe import Markup
from redis import Redis

import jobd.web
from jobd.client.entry import JobEntry
from jobd.client.push import Client
from jobd.web import links
from jobd.web.masking import HIDDEN
from tests.client.api import fill_queue, payload
from tests.web.browser import Browser, Page
from tests.web.test_jobs import address

INCOMPLETE = "these copies are not complete"


def test_a_job_is_copied_as_python_json_and_curl_and_all_of_it_can_be_selected(browser: Browser, redis: Redis) -> None:
    redis.zadd("retry", {payload("r1", **{"class": "app.jobs.Hard"}, args=[1, "a'b"]): time.time() + 60})
    where = address(browser, "/retries")
    text, told = browser.get(where).text, browser.data(where)
    assert told["python"] == """app.jobs.Hard.perform_async(1, "a'b")"""
    assert json.loads(told["raw_json"])["args"] == [1, "a'b"]
    page = Page.of(text)
    for copy in (told["python"], told["raw_json"], told["curl"]):
        assert copy in page.text
    assert [each.get("hidden", "shown") for each in page.all("button") if "data-copy" in each] == [None] * 3
    assert INCOMPLETE not in text


def test_the_copied_request_runs_the_job(browser: Browser, redis: Redis) -> None:
    redis.zadd("retry", {payload("r1", queue="low"): time.time() + 60})
    words = shlex.split(browser.data(address(browser, "/retries"))["curl"])
    assert words[:3] == ["curl", "-H", "Authorization: Bearer $TOKEN"]
    path = words[-1].removeprefix("$DASHBOARD")
    document: dict[str, Any] = json.loads(words[words.index("-d") + 1])
    assert browser.act(path.removeprefix("/api/v1"), **document).json() == {"action": "retry", "moved": 1}
    assert redis.llen("queue:low") == 1


def test_who_may_not_run_a_job_gets_no_request_for_it(client: Client, redis: Redis) -> None:
    redis.zadd("retry", {payload("r1"): time.time() + 60})
    fill_queue(redis, 1)
    looker = Browser(jobd.web.app(client, authorize=lambda user, action: action in ("view", "delete")))
    for path in ("/retries", "/queues/default"):
        told = looker.data(address(looker, path))
        assert (told["curl"], told["complete"], bool(told["python"])) == ("", True, True)


def test_a_scheduled_job_is_copied_with_the_delay_that_it_had(browser: Browser, redis: Redis) -> None:
    now = time.time()
    redis.zadd("schedule", {payload("s1", args=[7], created_at=now): now + 90.5})
    told = browser.data(address(browser, "/scheduled"))
    assert told["python"] == "HardJob.perform_in(90.5, 7)"
    assert '"enqueue"' in told["curl"]


@pytest.mark.parametrize(
    "fields",
    [
        {"args": [{"password": "hunter2"}]},
        {"args": ["Bearer hunter2"]},
        {"kwargs": {"api_key": "hunter2"}},
        {"note": {"token": "hunter2"}},
    ],
)
def test_a_copy_without_its_secrets_says_that_it_is_not_complete(
    browser: Browser, redis: Redis, fields: dict[str, Any]
) -> None:
    redis.zadd("dead", {payload("d1", **fields): time.time()})
    where = address(browser, "/dead")
    told, text = browser.data(where), browser.get(where).text
    assert told["complete"] is False
    assert INCOMPLETE in text
    assert HIDDEN in told["raw_json"]
    assert "hunter2" not in text + json.dumps(told)


def test_a_job_of_rails_is_not_pushed_from_python(browser: Browser, redis: Redis) -> None:
    inner = {"job_class": "Mail", "arguments": [7]}
    fields = {"class": "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper", "wrapped": "Mail", "args": [inner]}
    redis.zadd("dead", {payload("d1", **fields): time.time()})
    told = browser.data(address(browser, "/dead"))
    assert told["python"] == ""
    assert told["curl"]


def of_host(job: JobEntry) -> list[tuple[str, str]]:
    """Links as a host application would make them, good and bad ones."""
    return [
        ("Logs <b>", f"https://logs.test/?q={job.jid}&a={job.args[0]}"),
        ("Script", "javascript:alert(1)"),
        ("Data", "data:text/html,x"),
        ("Elsewhere", "//evil.test/"),
        ("Password", "https://me:hunter2@logs.test/"),
        ("Tracing", Markup(f'https://logs.test/"><img/src=x>{job.jid}')),
    ]


def test_links_of_the_host_lead_to_http_alone(client: Client, redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    redis.zadd("dead", {payload("d1", args=[7]): time.time()})
    browser = Browser(jobd.web.app(client, read_only=False, job_links=of_host))
    where = address(browser, "/dead")
    assert browser.data(where)["links"] == [
        {"label": "Logs <b>", "url": "https://logs.test/?q=d1&a=7"},
        {"label": "Tracing", "url": 'https://logs.test/"><img/src=x>d1'},
    ]
    page = browser.get(where).text
    assert 'href="https://logs.test/?q=d1&amp;a=7" rel="noreferrer">Logs &lt;b&gt;' in page
    assert "javascript:" not in page
    assert "<img" not in page
    assert "'Script' leads to no address of http or https" in caplog.text
    assert "hunter2" not in page + caplog.text


def test_a_hook_that_fails_is_logged_and_shown_as_nothing(
    client: Client, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(job: JobEntry) -> list[tuple[str, str]]:
        raise KeyError("no such order")

    redis.zadd("dead", {payload("d1"): time.time()})
    browser = Browser(jobd.web.app(client, read_only=False, job_links=broken))
    where = address(browser, "/dead")
    assert [browser.data(where)["links"] for _ in range(3)] == [[], [], []]
    assert [each.getMessage() for each in caplog.records if "job_links" in each.getMessage()] == [
        "web.job_links_failed KeyError: 'no such order'"
    ]


@pytest.mark.parametrize("url", ["", "https://", "ftp://a", "https://a b", "https://a\n", "HTTP:", 7, None, "x" * 5000])
def test_what_is_no_address_is_no_link(url: object) -> None:
    assert not links.is_link(url)
