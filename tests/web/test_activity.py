"""Who did what: each change is recorded, done, refused or failed, and shown to those who may see it."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from redis import Redis

import jobd.web
from jobd.client import audit
from jobd.client.access import Access
from jobd.client.audit import Record
from jobd.client.push import Client
from jobd.web.pages import activity
from jobd.web.seldom import MOST, Seldom
from tests.client.api import fill_queue, fill_set
from tests.web.browser import Browser, Page

HOSTILE = "<script>alert(1)</script>\u202e"


def app(client: Client, **options: Any) -> Browser:
    """A dashboard whose user is ann."""
    return Browser(jobd.web.app(client, **{"auth": lambda request: "ann", **options}))


def told(browser: Browser, query: str = "") -> list[dict[str, Any]]:
    """The records that the page shows."""
    found: list[dict[str, Any]] = browser.data(f"/activity{query}")["records"]
    return found


def test_what_was_done_is_shown_with_who_where_and_how_many(redis: Redis, client: Client) -> None:
    browser = app(client)
    fill_set(redis, "dead", 3)
    fill_queue(redis, 2, "low")
    browser.post("/dead", {"action": "delete", "all": "yes", "q": "HardJob password=hunter2"})
    browser.post("/dead", {"action": "delete", "all": "yes", "q": "HardJob", "confirmed": "yes"})
    browser.act("/queues/low", action="pause")
    paused, deleted = told(browser)
    assert (deleted["user"], deleted["address"], deleted["result"]) == ("ann", "127.0.0.1", "done")
    assert (deleted["page"], deleted["filter"], deleted["counts"]) == ("/dead", "HardJob", {"moved": 3})
    assert (paused["action"], paused["target"], paused["page"]) == ("pause", "low", "/queues/low")
    page = Page.of(browser.get("/activity").text).text
    assert "moved: 3" in page
    assert "✓ done" in page


def test_the_group_of_a_failure_is_the_target(redis: Redis, client: Client) -> None:
    browser = app(client)
    fill_set(redis, "dead", 2, error_class="KeyError", error_message="'x'")
    group = browser.data("/failures")["causes"][0]["id"]
    asked = browser.act("/failures", action="delete", group=group).json()
    browser.act("/failures", **dict(asked["fields"]), confirmed="yes")
    [record] = told(browser)
    assert (record["target"], record["counts"]) == ("HardJob: KeyError: <text>", {"moved": 2})


def test_what_is_refused_is_recorded_as_refused(redis: Redis, client: Client) -> None:
    refused = app(client, authorize=lambda user, action: action in ("view", "audit"))
    assert refused.post("/queues/low", {"action": "pause"}).status_code == 403
    assert refused.act("/retries", action="delete", all="yes", q="password=hunter2").status_code == 403
    deleted, paused = told(refused)
    assert (paused["user"], paused["action"], paused["result"], paused["error"]) == ("ann", "pause", "refused", "pause")
    assert (deleted["result"], deleted["filter"]) == ("refused", "password=••••••")
    assert b"hunter2" not in str(redis.xrange("jobd:audit")).encode()


def test_no_field_that_a_page_does_not_go_by_is_told_as_its_target(redis: Redis, client: Client) -> None:
    fill_queue(redis, 2, "low")
    fill_set(redis, "dead", 1)
    browser = app(client)
    false = {"name": "high", "identity": "web-1:1:a"}
    assert browser.post("/queues/low", {"action": "pause", **false}).status_code == 303
    key = browser.data("/dead")["jobs"][0]["key"]
    form = {"action": "delete", "key": key, "page": "", "confirmed": "yes", **false}
    assert browser.post("/dead", form).status_code == 303
    deleted, paused = told(browser)
    assert (paused["target"], deleted["target"]) == ("low", key)


def test_a_refusal_tells_the_action_of_the_button_for_a_page(client: Client) -> None:
    refused = app(client, authorize=lambda user, action: action in ("view", "audit"))
    for path in ("/retries", "/queues/low"):
        form = {"action": "retry", "page": "delete", "shown": "x", "name": "high"}
        assert refused.post(path, form).status_code == 403
    [record] = told(refused)
    assert (record["action"], record["result"], record["page"]) == ("delete", "refused", "/retries")


def test_who_may_only_look_cannot_wash_the_record_out(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = app(client, authorize=lambda user, action: action in ("view", "audit"))
    with caplog.at_level(logging.INFO, "jobd.web.audit"):
        for number in range(3):
            assert refused.post(f"/queues/low{number}", {"action": "pause"}).status_code == 403
            assert refused.post("/queues/low", {"action": f"nonsense{number}"}).status_code == 400
    assert [(each["result"], each["target"]) for each in told(refused)] == [("failed", "low"), ("refused", "low0")]
    assert caplog.text.count('"result": "refused"') == caplog.text.count('"result": "failed"') == 3


def test_the_first_of_a_kind_is_told_once_a_minute() -> None:
    now = [0.0]
    seldom = Seldom(lambda: now[0])
    assert [seldom.is_first(kind) for kind in ("a", "a", "b")] == [True, False, True]
    now[0] = 60.0
    assert seldom.is_first("a")
    for number in range(MOST):
        seldom.is_first(number)
    assert seldom.is_first("a"), "few are remembered"


def test_what_fails_is_recorded_as_failed(redis: Redis, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = app(client)
    assert browser.post("/cron", {"action": "run", "name": "none"}).status_code == 404

    def broken(*_: Any) -> None:
        raise ZeroDivisionError("hunter2")

    monkeypatch.setattr("jobd.client.queues.Queue.pause", broken)
    assert browser.post("/queues/low", {"action": "pause"}).status_code == 500
    broke, missing = told(browser)
    assert (missing["result"], "there is no cron entry none" in missing["error"]) == ("failed", True)
    assert (broke["result"], broke["error"]) == ("failed", "ZeroDivisionError")


def test_a_page_of_another_site_cannot_fill_the_record(
    redis: Redis, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "jobd.web.audit"):
        answer = app(client).post("/queues/low", {"action": "pause"}, **{"sec-fetch-site": "cross-site"})
    assert (answer.status_code, redis.exists("jobd:audit")) == (403, 0)
    assert "web.refused" in caplog.text
    assert "another site" in caplog.text


def test_a_record_that_cannot_be_written_stops_nobody(
    redis: Redis, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    redis.set("jobd:audit", "x")
    fill_queue(redis, 1, "low")
    with caplog.at_level(logging.WARNING, "jobd"):
        assert app(client).post("/queues/low", {"action": "pause"}).status_code == 303
    assert redis.sismember("paused", "low")
    assert "audit.not_written" in caplog.text
    assert app(client).get("/activity").status_code == 200


def test_a_redis_that_is_away_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client("redis://127.0.0.1:1/0")
    monkeypatch.setattr(audit, "write", lambda *_: pytest.fail("nothing can be written"))
    assert app(client).post("/queues/low", {"action": "pause"}).status_code == 503
    client.close()


def test_who_only_looks_leaves_nothing_and_may_read_the_record(redis: Redis, client: Client) -> None:
    looker = app(client, read_only=True)
    for path in ("/queues/low", "/failures", "/retries"):
        assert looker.post(path, {"action": "pause"}).status_code == 405
    assert looker.post("/activity", {}).status_code == 405
    assert not redis.exists("jobd:audit")
    assert "Nobody has changed anything yet." in looker.get("/activity").text


def test_it_is_a_right_of_its_own(client: Client) -> None:
    browser = app(client, authorize=lambda user, action: action != "audit")
    assert browser.get("/activity").status_code == browser.get("/api/v1/activity").status_code == 403
    assert "/activity" not in browser.get("/").text
    assert "/activity" in app(client).get("/").text


def fill(redis: Redis, count: int) -> None:
    """Records of two users in turn."""
    with redis.pipeline() as pipeline:
        for i in range(count):
            record = Record(("ann", "bob")[i % 2], "::1", ("pause", "retry", "kill")[i % 3], target=str(i))
            pipeline.xadd("jobd:audit", record.fields())  # type: ignore[arg-type]
        pipeline.execute()


def test_records_are_read_by_pages_the_last_first(redis: Redis, client: Client) -> None:
    fill(redis, 120)
    browser, seen, before = app(client), list[str](), ""
    while True:
        page = browser.data(f"/activity?before={before}")
        seen += [each["target"] for each in page["records"]]
        before = page["next"]
        if not before:
            break
        assert len(page["records"]) == 50
    assert seen == [str(i) for i in reversed(range(120))]
    for before in ("x", "99999999999999999999-1", "1-99999999999999999999", "\u0661-1"):
        assert browser.get(f"/activity?before={before}").status_code == 400
    offered = {each["value"] for each in Page.of(browser.get("/activity").text).all("option")}
    assert offered >= {"reschedule", "stacks", "delete_entry", "enable_all", "disable_all", "stop_bulk"}


def test_records_of_one_user_or_action_are_found_within_bounds(
    redis: Redis, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "LOOKED_AT", 40)
    fill(redis, 100)
    browser = app(client)
    page = browser.data("/activity?user=bob&action=kill")
    assert page["seen"] == 40
    found, before = [each["target"] for each in page["records"]], page["next"]
    while before:
        page = browser.data(f"/activity?user=bob&action=kill&before={before}")
        found, before = found + [each["target"] for each in page["records"]], page["next"]
    assert found == [str(i) for i in reversed(range(100)) if i % 2 and i % 3 == 2]
    assert "Looked at 40, found here: 6" in browser.get("/activity?user=bob&action=kill").text


def test_when_more_match_than_a_page_shows_the_next_page_begins_behind_it(redis: Redis, client: Client) -> None:
    fill(redis, 240)
    browser = app(client)
    first = browser.data("/activity?user=ann")
    second = browser.data(f"/activity?user=ann&before={first['next']}")
    third = browser.data(f"/activity?user=ann&before={second['next']}")
    targets = [each["target"] for page in (first, second, third) for each in page["records"]]
    assert targets == [str(i) for i in reversed(range(0, 240, 2))]
    assert third["next"] == ""


def test_what_is_recorded_stays_text(client: Client, redis: Redis) -> None:
    access = Access(client)
    texts = dict.fromkeys(("user", "address", "action", "page", "target", "filter", "error"), HOSTILE)
    audit.write(access, Record(**texts, result="failed"))
    answer = app(client).get("/activity")
    page = Page.of(answer.text)
    assert len(page.all("script")) == len(Page.of(app(client).get("/queues").text).all("script"))
    assert page.text.count("<script>alert(1)</script>\\u202e") == 7
    assert "\u202e" not in answer.text
