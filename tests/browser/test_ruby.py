"""The same pages over what Ruby's Sidekiq has written, and their buttons for its processes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Page, expect

from tests.browser.acts import confirm, follow, go_until, press, row_of, told
from tests.browser.dashboards import Dashboard, dashboard_of
from tests.browser.places import PATTERNS, data_of, path_of
from tests.interop.needed import missing
from tests.interop.ruby_process import Console, Sidekiq
from tests.servers import RedisServer
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(bool(missing()), reason="needs Ruby's sidekiq: run `make interop`, which says how")
FILL = """
Sidekiq::Client.push('class' => 'RubyHold', 'queue' => 'ruby', 'args' => ['held'], 'jid' => 'held')
RubyBreaks.perform_async('first')
BothBreak.set(retry: 0).perform_async('at last')
RubySeen.perform_in(3600, 'later')
60.times { |number| RubySeen.set(queue: 'idle').perform_async(number) }
Sidekiq::Cron::Job.create(name: 'nightly', cron: '0 3 * * *', class: 'RubySeen', args: ['night'])
nil
"""


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """A dashboard of jobs that Ruby has pushed, run, failed and scheduled; one of them runs."""
    directory = tmp_path_factory.mktemp("ruby")
    with ExitStack() as stack:
        server = stack.enter_context(RedisServer(tcp=True))
        found = stack.enter_context(dashboard_of(server))
        ruby = stack.enter_context(Console(server.url, directory / "console.log"))
        stack.enter_context(Sidekiq(server.url, directory / "sidekiq.log", queues=("ruby",), poll=3600))
        ruby(FILL)
        sizes = {"retry": 1, "dead": 1, "schedule": 1}
        wait_until(lambda: {key: found.redis.zcard(key) for key in sizes} == sizes, "every fate", 60)
        wait_until(lambda: _heard_of(found), "a heartbeat that tells of the job", 60)
        yield found
        found.redis.set("release", "1")


def _heard_of(found: Dashboard) -> bool:
    return any(found.redis.hget(name, "busy") == b"1" for name in found.redis.smembers("processes"))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_page_is_there(pattern: str, dashboard: Dashboard, page: Page) -> None:
    path = path_of(pattern, dashboard)
    answer = page.goto(path)
    assert answer is not None
    assert answer.status == 200
    assert data_of(dashboard, path)


def test_its_jobs_its_process_and_its_cron_are_shown(page: Page) -> None:
    shown = {
        "/": ("2", "60"),
        "/queues": ("idle", "60"),
        "/queues/idle": ("RubySeen",),
        "/busy": ("RubyHold", "held", "ruby"),
        "/retries": ("RubyBreaks", "ArgumentError", "boom é first"),
        "/dead": ("BothBreak", "RuntimeError", "at last"),
        "/scheduled": ("RubySeen", "later"),
        "/cron": ("nightly", "0 3 * * *", "RubySeen"),
    }
    for path, texts in shown.items():
        page.goto(path)
        for text in texts:
            expect(page.locator("main")).to_contain_text(text)


def test_the_page_of_a_job_has_its_backtrace(page: Page) -> None:
    page.goto("/retries")
    follow(row_of(page, "RubyBreaks").locator("a[href*='/jobs/']").first)
    expect(page.locator("main")).to_contain_text("jobs.rb")


def test_what_is_clicked_happens_to_rubys_jobs_and_process(dashboard: Dashboard, page: Page) -> None:
    page.goto("/dead")
    page.locator("main tbody").get_by_role("checkbox").first.check()
    press(page, "delete")
    confirm(page)
    expect(told(page)).to_contain_text("1")
    assert dashboard.redis.zcard("dead") == 0
    page.goto("/retries")
    page.locator("main tbody").get_by_role("checkbox").first.check()
    press(page, "retry")
    wait_until(lambda: dashboard.redis.llen("queue:python") == 1, "it is in the queue of its retries")
    page.goto("/scheduled")
    page.locator("main tbody").get_by_role("checkbox").first.check()
    press(page, "enqueue")
    wait_until(lambda: dashboard.redis.llen("seen") == 3, "Ruby ran it", 60)
    [identity] = dashboard.redis.smembers("processes")
    page.goto("/busy")
    press(page.locator("main"), "quiet")
    wait_until(lambda: dashboard.redis.hget(identity, "quiet") == b"true", "it takes no more jobs", 60)
    go_until(page, "/busy", "‖ quiet")
    assert time.time() - float(dashboard.redis.hget(identity, "beat") or 0) < 60
