"""What is clicked happens, in Redis and in the processes that run jobs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from jobd.client.cron_set import CronSet
from jobd.client.queues import Queue
from tests.browser.acts import confirm, enter, follow, go_until, of_all, press, row_of, told
from tests.browser.dashboards import Dashboard
from tests.client.api import fill_queue, fill_set, payload
from tests.waiting import wait_until

SETS = {"/retries": "retry", "/scheduled": "schedule", "/dead": "dead"}
OFFERED = {
    "/retries": ("retry", "kill", "delete"),
    "/scheduled": ("enqueue", "kill", "delete"),
    "/dead": ("retry", "delete"),
}
each_action = pytest.mark.parametrize(("path", "action"), [(path, each) for path in OFFERED for each in OFFERED[path]])


@pytest.fixture(autouse=True)
def jobs_of_its_own(dashboard: Dashboard) -> None:
    """Ten jobs in each set, which go to a queue that nobody takes from; nothing else in them."""
    now = time.time()
    dashboard.redis.delete("queue:idle", *SETS.values())
    for key, at in (("retry", now + 600), ("schedule", now + 3600), ("dead", now - 3600)):
        jobs = {payload(f"{key}{i}", queue="idle", args=[f"n{i}"], retry_count=1): at + i for i in range(10)}
        dashboard.redis.zadd(key, jobs)


def left(dashboard: Dashboard, key: str) -> set[str]:
    """The ids of the jobs in a set."""
    found: Any = dashboard.redis.zrange(key, 0, -1)
    return {json.loads(raw)["jid"] for raw in found}


def waiting(dashboard: Dashboard) -> set[str]:
    """The ids of the jobs that were put into their queue."""
    found: Any = dashboard.redis.lrange("queue:idle", 0, -1)
    return {json.loads(raw)["jid"] for raw in found}


def check_moved(dashboard: Dashboard, key: str, action: str, moved: set[str]) -> None:
    """That exactly these jobs went where the action has them go."""
    every = {f"{key}{i}" for i in range(10)}
    assert left(dashboard, key) == every - moved
    assert waiting(dashboard) == (moved if action in ("retry", "enqueue") else set())
    if key != "dead":
        assert left(dashboard, "dead") - {f"dead{i}" for i in range(10)} == (moved if action == "kill" else set())


@each_action
def test_ticked_jobs(path: str, action: str, dashboard: Dashboard, page: Page) -> None:
    key = SETS[path]
    page.goto(path)
    for number in (2, 5):
        row_of(page, f"n{number}").get_by_role("checkbox").check()
    press(page, action)
    if action in ("kill", "delete"):
        assert len(left(dashboard, key)) == 10, "it asks first"
        confirm(page)
    expect(told(page)).to_contain_text("2")
    check_moved(dashboard, key, action, {f"{key}2", f"{key}5"})


@pytest.mark.parametrize("path", SETS)
def test_deleted_jobs_come_back_by_a_click(path: str, dashboard: Dashboard, page: Page) -> None:
    key = SETS[path]
    before: Any = dashboard.redis.zrange(key, 0, -1, withscores=True)
    page.goto(path)
    for number in (2, 5):
        row_of(page, f"n{number}").get_by_role("checkbox").check()
    press(page, "delete")
    confirm(page)
    check_moved(dashboard, key, "delete", {f"{key}2", f"{key}5"})
    told(page).get_by_role("button", name="Undo").click()
    expect(told(page)).to_contain_text("Put back: 2.")
    assert dashboard.redis.zrange(key, 0, -1, withscores=True) == before


@each_action
def test_one_job_from_its_own_page(path: str, action: str, dashboard: Dashboard, page: Page) -> None:
    key = SETS[path]
    page.goto(path)
    follow(row_of(page, "n7").locator("a[href*='/jobs/']").first)
    expect(page.locator("main")).to_contain_text(f"{key}7")
    press(page.locator("main"), action)
    if action in ("kill", "delete"):
        confirm(page)
    expect(told(page)).to_contain_text("1")
    check_moved(dashboard, key, action, {f"{key}7"})


@each_action
def test_all_that_match_a_search_after_their_number_was_said(
    path: str, action: str, dashboard: Dashboard, page: Page
) -> None:
    key = SETS[path]
    page.goto(path)
    enter(page.locator("main input[name=q]:visible"), "n3")
    expect(page.locator("main tbody tr")).to_have_count(1)
    press(of_all(page), action)
    expect(page.locator("main")).to_contain_text("1")
    assert len(left(dashboard, key)) == 10, "it asks first"
    confirm(page)
    expect(told(page)).to_contain_text("1")
    check_moved(dashboard, key, action, {f"{key}3"})


@each_action
def test_all_that_were_there_when_they_were_counted(path: str, action: str, dashboard: Dashboard, page: Page) -> None:
    key = SETS[path]
    page.goto(path)
    press(of_all(page), action)
    expect(page.locator("main")).to_contain_text("10")
    confirm(page)
    expect(told(page)).to_contain_text("10")
    check_moved(dashboard, key, action, {f"{key}{i}" for i in range(10)})


def test_deleting_all_of_many_asks_for_the_name_of_the_set(dashboard: Dashboard, page: Page) -> None:
    fill_set(dashboard.redis, "dead", 1_500, queue="idle")
    page.goto("/dead")
    press(of_all(page), "delete")
    expect(page.locator("main")).to_contain_text("1,510")
    confirm(page, typed="something else")
    expect(page.locator("input[name=typed]")).to_be_visible()
    assert dashboard.redis.zcard("dead") == 1_510
    confirm(page, typed="dead")
    expect(page.locator("main")).to_contain_text("Done.")
    expect(page.locator("main")).to_contain_text("1,510 of 1,510")
    assert dashboard.redis.zcard("dead") == 0


def test_a_question_that_is_not_answered_changes_nothing(dashboard: Dashboard, page: Page) -> None:
    page.goto("/retries")
    row_of(page, "n1").get_by_role("checkbox").check()
    press(page, "delete")
    follow(page.get_by_role("link", name="Cancel"))
    expect(page.locator("main tbody tr")).to_have_count(10)
    assert len(left(dashboard, "retry")) == 10


def test_a_job_is_run_again_by_a_worker(dashboard: Dashboard, page: Page) -> None:
    raw = payload("again", **{"class": "ResizeImage", "args": [1, 2], "queue": "default", "retry_count": 0})
    dashboard.redis.zadd("retry", {raw: time.time() + 600})
    before, _ = dashboard.jobd.statistics()
    page.goto("/retries?q=again")
    page.locator("main tbody").get_by_role("checkbox").first.check()
    press(page, "retry")
    wait_until(lambda: dashboard.jobd.statistics()[0] == before + 1, "a worker ran it")
    assert "again" not in left(dashboard, "retry")


class TestQueues:
    def test_one_is_paused_and_resumed(self, dashboard: Dashboard, page: Page) -> None:
        fill_queue(dashboard.redis, 2, "idle")
        go_until(page, "/queues", "idle")
        press(row_of(page, "idle"), "pause")
        expect(row_of(page, "idle")).to_contain_text("paused")
        assert Queue("idle", dashboard.client).paused
        press(row_of(page, "idle"), "resume")
        expect(row_of(page, "idle")).not_to_contain_text("paused")
        assert not Queue("idle", dashboard.client).paused

    def test_jobs_of_a_resumed_queue_are_run(self, dashboard: Dashboard, page: Page) -> None:
        before, _ = dashboard.jobd.statistics()
        page.goto("/queues")
        press(row_of(page, "reports"), "resume")
        wait_until(lambda: dashboard.jobd.statistics()[0] == before + 3, "its jobs are done")
        Queue("reports", dashboard.client).pause("ann")

    def test_one_is_cleared_after_a_question_and_a_full_one_by_its_name(self, dashboard: Dashboard, page: Page) -> None:
        for count, typed in ((3, None), (1_200, "idle")):
            fill_queue(dashboard.redis, count, "idle")
            go_until(page, "/queues", "idle")
            press(row_of(page, "idle"), "clear")
            expect(page.locator("main")).to_contain_text(f"{count:,}")
            assert dashboard.redis.llen("queue:idle") == count
            confirm(page, typed)
            expect(told(page)).to_contain_text(str(count))
            assert dashboard.redis.llen("queue:idle") == 0

    def test_one_of_its_jobs_is_deleted(self, dashboard: Dashboard, page: Page) -> None:
        fill_queue(dashboard.redis, 3, "idle", args=["only", "these"])
        page.goto("/queues/idle")
        page.locator("main .rows tbody tr").nth(1).get_by_role("checkbox").check()
        press(page, "delete")
        confirm(page)
        expect(page.locator("main .rows tbody tr")).to_have_count(2)
        assert waiting(dashboard) == {"j0", "j2"}


def enabled(entries: CronSet) -> bool:
    """Whether the entry that is clicked runs by itself."""
    entry = entries.find("nightly_report")
    assert entry is not None
    return entry.enabled


class TestCron:
    def test_an_entry_is_disabled_and_enabled(self, dashboard: Dashboard, page: Page) -> None:
        entries = CronSet(dashboard.client)
        page.goto("/cron")
        press(row_of(page, "nightly_report"), "disable")
        expect(told(page)).to_be_visible()
        assert not enabled(entries)
        expect(row_of(page, "nightly_report")).to_contain_text("disabled")
        press(row_of(page, "nightly_report"), "enable")
        assert enabled(entries)
        expect(row_of(page, "nightly_report")).to_contain_text("enabled")

    def test_all_are_disabled_and_enabled_after_a_question(self, dashboard: Dashboard, page: Page) -> None:
        entries = CronSet(dashboard.client)
        for action, wanted in (("disable_all", False), ("enable_all", True)):
            page.goto("/cron")
            press(page.locator("main"), action)
            confirm(page)
            expect(told(page)).to_be_visible()
            assert {entry.enabled for entry in entries} == {wanted}

    def test_one_of_run_time_is_deleted_from_its_page(self, dashboard: Dashboard, page: Page) -> None:
        entries = CronSet(dashboard.client)
        entries.create("by hand", "@daily", "SyncStock", args=[1])
        page.goto("/cron")
        follow(page.get_by_role("link", name="by hand").first)
        press(page.locator("main"), "delete")
        confirm(page)
        expect(told(page)).to_be_visible()
        assert "by hand" not in entries

    def test_the_next_run_is_skipped_and_taken_back(self, dashboard: Dashboard, page: Page) -> None:
        entries = CronSet(dashboard.client)
        page.goto("/cron")
        press(row_of(page, "nightly_report"), "skip")
        expect(told(page)).to_be_visible()
        expect(row_of(page, "nightly_report")).to_contain_text("skipped")
        entry = entries.find("nightly_report")
        assert entry is not None
        assert entry.skips is not None
        page.get_by_role("link", name="nightly_report").first.click()
        press(page.locator("main"), "unskip")
        expect(told(page)).to_be_visible()
        assert not entries.unskip("nightly_report")

    def test_one_runs_now(self, dashboard: Dashboard, page: Page) -> None:
        before, _ = dashboard.jobd.statistics()
        page.goto("/cron")
        press(row_of(page, "stock_sync"), "run")
        expect(told(page)).to_be_visible()
        wait_until(lambda: dashboard.jobd.statistics()[0] > before, "a worker took it")


class TestProcesses:
    """The last of this file: what comes later would not be run."""

    def test_its_threads_are_logged(self, dashboard: Dashboard, page: Page) -> None:
        page.goto("/busy")
        press(page.locator("main"), "dump")
        expect(told(page)).to_be_visible()
        wait_until(lambda: "import_catalogue" in dashboard.jobd.text(), "its stacks are in the log")

    def test_one_shows_what_its_threads_do(self, dashboard: Dashboard, page: Page) -> None:
        [identity] = dashboard.jobd.identities
        page.goto("/busy")
        follow(page.locator("main tbody").first.get_by_role("link").first)
        press(page.locator("main"), "stacks")
        expect(told(page)).to_be_visible()
        go_until(page, f"/busy/{identity}", "import_catalogue")

    def test_all_are_told_after_a_question(self, dashboard: Dashboard, page: Page) -> None:
        page.goto("/busy")
        press(page.locator("main form.all"), "dump")
        expect(page.locator("main")).to_contain_text("1 processes, which run 1 jobs")
        confirm(page)
        expect(told(page)).to_be_visible()

    def test_one_is_quieted_and_resumed(self, dashboard: Dashboard, page: Page) -> None:
        [identity] = dashboard.jobd.identities
        page.goto("/busy")
        press(page.locator("main"), "quiet")
        wait_until(lambda: dashboard.redis.hget(identity, "quiet") == b"true", "it takes no more jobs")
        go_until(page, "/busy", "Resume")
        press(page.locator("main"), "resume")
        expect(told(page)).to_be_visible()
        wait_until(lambda: dashboard.redis.hget(identity, "quiet") == b"false", "it takes jobs again")

    def test_one_is_given_more_threads(self, dashboard: Dashboard, page: Page) -> None:
        [identity] = dashboard.jobd.identities
        for threads in ("6", "4"):
            go_until(page, f"/busy/{identity}", "Change the number of threads")
            form = page.locator("#threads")
            form.locator("summary").click()
            form.get_by_label("Threads of default").fill(threads)
            press(form, "concurrency")
            expect(told(page)).to_contain_text("Told to have so many threads")
            wait_until(lambda: dashboard.redis.hget(identity, "concurrency") == threads.encode(), "it has them")  # noqa: B023

    def test_a_job_that_runs_is_cancelled(self, dashboard: Dashboard, page: Page) -> None:
        before = dashboard.redis.zcard("dead")
        page.goto("/busy")
        row_of(page, "ImportCatalogue").locator("details[name=more] summary").click()
        row_of(page, "ImportCatalogue").get_by_role("button").click()
        expect(page.locator("main")).to_contain_text("A call that waits")
        confirm(page)
        expect(told(page)).to_be_visible()
        wait_until(lambda: dashboard.redis.zcard("dead") == before + 1, "it is dead")
        go_until(page, "/dead", "jobd.JobCancelled")

    def test_one_is_quieted_and_then_stopped_and_replaced(self, dashboard: Dashboard, page: Page) -> None:
        [identity] = dashboard.jobd.identities
        page.goto("/busy")
        press(page.locator("main"), "quiet")
        wait_until(lambda: dashboard.redis.hget(identity, "quiet") == b"true", "it takes no more jobs")
        go_until(page, "/busy", "‖ quiet")
        dashboard.jobd.release()
        press(page.locator("main"), "stop")
        if page.locator("input[name=confirmed]").count():
            confirm(page)
        dashboard.jobd.wait_for("process.ready", count=2, seconds=30)
        wait_until(lambda: dashboard.redis.smembers("processes") != {identity.encode()}, "another took its place")


def test_jobs_are_given_another_time(dashboard: Dashboard, page: Page) -> None:
    page.goto("/scheduled")
    row_of(page, "n4").get_by_role("checkbox").check()
    page.locator("input[name=at]:visible").first.fill("2030-01-02T03:04")
    press(page, "reschedule")
    expect(told(page)).to_contain_text("1")
    assert dashboard.redis.zrange("schedule", -1, -1, withscores=True)[0][1] == 1_893_553_440


def test_a_class_of_a_row_and_a_field_narrow_the_list(dashboard: Dashboard, page: Page) -> None:
    other = payload("other", queue="idle", **{"class": "Other", "tags": ["vip"]})
    dashboard.redis.zadd("retry", {other: time.time() + 600})
    page.goto("/retries")
    follow(row_of(page, "other").get_by_role("link", name="Other", exact=True))
    expect(page.locator("main tbody tr")).to_have_count(1)
    expect(page.locator("main input[name=q]:visible")).to_have_value("class:Other")
    page.goto("/retries")
    page.locator("summary", has_text="Filter by field").click()
    page.locator("input[name=tag]").fill("vip")
    follow(page.get_by_role("button", name="Add to the search"))
    expect(page.locator("main tbody tr")).to_have_count(1)
    expect(page.locator("main input[name=q]:visible")).to_have_value("tag:vip")
