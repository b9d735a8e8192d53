"""What is clicked on the page of the failures happens, to all jobs of a cause, and stands in the activity."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.acts import follow, told
from tests.browser.dashboards import Dashboard
from tests.client.api import payload

COUNT = 6


@pytest.fixture(autouse=True)
def failures_of_its_own(dashboard: Dashboard) -> None:
    """Six jobs of one cause, half of them dead, and one of another; nothing else in the sets."""
    now = time.time()
    dashboard.redis.delete("queue:idle", "retry", "dead")
    for i in range(COUNT):
        error = {"error_class": "TimeoutError", "error_message": f"no answer after {i} s", "failed_at": now - 60 + i}
        raw = payload(f"cause{i}", **{"class": "CallBank", "queue": "idle", "retry_count": 1, **error})
        dashboard.redis.zadd(*(("retry", {raw: now + 600}) if i % 2 else ("dead", {raw: now - 60})))
    dashboard.redis.zadd("dead", {payload("other", **{"class": "OtherJob", "queue": "idle"}): now - 60})


def times(dashboard: Dashboard) -> list[float]:
    """When the retries run."""
    found: Any = dashboard.redis.zrange("retry", 0, -1, withscores=True)
    return [score for _, score in found]


def press(page: Page, name: str) -> None:
    """Click a button of the cause of most jobs, and be on the page that answers."""
    follow(page.locator(".cause").first.get_by_role("button", name=name))


def test_a_cause_is_retried(dashboard: Dashboard, page: Page) -> None:
    page.goto("/failures")
    expect(page.locator(".cause").first).to_contain_text("6 × CallBank ✕ TimeoutError")
    press(page, "Retry now")
    expect(page.locator("main")).to_contain_text("6 jobs")
    assert dashboard.redis.llen("queue:idle") == 0
    follow(page.get_by_role("button", name="Retry now: 6"))
    expect(told(page)).to_contain_text("Put into their queues: 6.")
    waiting: Any = dashboard.redis.lrange("queue:idle", 0, -1)
    assert {json.loads(raw)["jid"] for raw in waiting} == {f"cause{i}" for i in range(COUNT)}


def test_a_cause_is_retried_in_waves_as_it_was_said(dashboard: Dashboard, page: Page) -> None:
    page.goto("/failures")
    press(page, "Retry in waves …")
    page.get_by_label("Jobs of a wave").fill("2")
    page.get_by_label("Seconds from wave to wave").fill("3600")
    follow(page.get_by_role("button", name="Calculate again"))
    expect(page.locator("main")).to_contain_text("2 jobs every 1 h: the last runs in 2 h. Waves: 3.")
    follow(page.get_by_role("button", name="Retry in waves: 6"))
    expect(told(page)).to_contain_text("Put into waves: 6.")
    # Those of the first wave may run at once.
    later = [at - time.time() for at in times(dashboard) if at > time.time() + 1800]
    assert [round(seconds / 3600) for seconds in later] == [1, 1, 2, 2]
    page.goto("/activity")
    first = page.locator("main tbody tr").first
    expect(first).to_contain_text("waves")
    expect(first).to_contain_text("CallBank: TimeoutError: no answer after <n> s")
    expect(first).to_contain_text("moved: 6")


def test_only_the_retries_of_a_cause_are_moved_to_the_dead(dashboard: Dashboard, page: Page) -> None:
    page.goto("/failures")
    press(page, "Move to dead")
    follow(page.get_by_role("button", name="Move to dead: 3"))
    expect(told(page)).to_contain_text("Moved to the dead set: 3.")
    assert (dashboard.redis.zcard("retry"), dashboard.redis.zcard("dead")) == (0, COUNT + 1)


def test_a_cause_is_deleted_and_the_others_stay(dashboard: Dashboard, page: Page) -> None:
    page.goto("/failures")
    press(page, "Delete")
    follow(page.get_by_role("link", name="Cancel"))
    press(page, "Delete")
    follow(page.get_by_role("button", name="Delete: 6"))
    expect(told(page)).to_contain_text("Deleted: 6.")
    expect(page.locator(".cause")).to_have_count(1)
    assert (dashboard.redis.zcard("retry"), dashboard.redis.zcard("dead")) == (0, 1)


def test_a_cause_is_muted_and_unmuted(dashboard: Dashboard, page: Page) -> None:
    page.goto("/failures")
    press(page, "Mute until it grows")
    expect(page.get_by_role("status").first).to_contain_text("The cause is muted until it has more jobs.")
    last = page.locator(".cause").last
    expect(last).to_contain_text("6 × CallBank")
    expect(last).to_contain_text("‖ Muted with 6 jobs")
    last.get_by_role("button", name="Unmute").click()
    expect(page.get_by_role("status").first).to_contain_text("The cause is not muted any more.")
    expect(page.locator(".cause").first).to_contain_text("6 × CallBank")
    assert dashboard.redis.exists("jobd:muted") == 0
    page.goto("/activity")
    expect(page.locator("main tbody tr").first).to_contain_text("unmute")
