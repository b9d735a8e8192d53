"""A cause that is muted: shown last and dimmed until it has more jobs, by those who may, and kept within bounds."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from redis import Redis

import jobd.web
from jobd.client import audit, defaults
from jobd.client.metric_keys import slot
from jobd.client.push import Client
from jobd.web.pages import failures
from tests.web.browser import Browser, Page
from tests.web.test_deploys import mark
from tests.web.test_failures import put


def causes(browser: Browser) -> list[dict[str, Any]]:
    """As the page orders them."""
    found: list[dict[str, Any]] = browser.data("/failures")["causes"]
    return found


def act(browser: Browser, action: str, name: str = "PayJob") -> Any:
    """Do it to the cause of a class, as a program."""
    told = browser.data("/failures")
    [cause] = [each for each in told["causes"] if each["class"] == name]
    return browser.act("/failures", action=action, group=cause["id"], until=told["until"])


def test_a_muted_cause_comes_last_and_is_told_with_who_muted_it(redis: Redis, client: Client) -> None:
    app = jobd.web.app(client, auth=lambda request: "ann")
    browser = Browser(app)
    put(redis, "retry", 5)
    put(redis, "dead", 2, "MailJob", "refused by {}")
    before = time.time()
    assert act(browser, "mute").json() == {"action": "mute"}
    told = browser.data("/failures")
    assert ([each["class"] for each in told["causes"]], told["muted"]) == (["MailJob", "PayJob"], 1)
    muted = told["causes"][1]
    assert (muted["muted"], muted["mute"]["by"], muted["mute"]["count"]) == (True, "ann", 5)
    assert muted["mute"]["at"] >= before - 1
    html = browser.get("/failures").text
    page = " ".join(Page.of(html).text.split())
    assert [text in page for text in ("Muted: 1, at the end.", "‖ Muted with 5 jobs", "by ann")] == [True] * 3
    assert html.count('class="card cause quiet"') == 1
    assert 0 < redis.ttl("jobd:muted") <= 30 * 24 * 3600
    assert act(browser, "unmute").json() == {"action": "unmute"}
    assert [(each["class"], each["mute"]) for each in causes(browser)] == [("PayJob", None), ("MailJob", None)]
    assert redis.exists("jobd:muted") == 0
    raws: Any = redis.xrange("jobd:audit")
    done = [audit.read(*raw) for raw in raws]
    assert [(each.action, each.user, each.target) for each in done] == [
        ("mute", "ann", "PayJob: LookupError: no account <n>"),
        ("unmute", "ann", "PayJob: LookupError"),
    ]


def test_it_is_told_again_when_it_has_more_jobs_and_can_be_muted_with_these(browser: Browser, redis: Redis) -> None:
    put(redis, "retry", 5)
    put(redis, "dead", 2, "MailJob", "refused by {}")
    act(browser, "mute")
    redis.zremrangebyrank("retry", 0, 2)
    assert [each["muted"] for each in causes(browser)] == [False, True]
    put(redis, "dead", 4)
    first = causes(browser)[0]
    assert (first["class"], first["count"], first["muted"], first["mute"]["count"]) == ("PayJob", 6, False, 5)
    page = Page.of(browser.get("/failures").text)
    assert "▲ Was muted with 5 jobs, and has changed since" in page.text
    assert [each.get("value") for each in page.all("button") if "mute" in str(each.get("value"))] == [
        "mute",
        "unmute",
        "mute",
    ]
    act(browser, "mute")
    assert [(each["muted"], each["count"]) for each in causes(browser)] == [(False, 2), (True, 6)]


def test_what_failed_after_the_page_was_drawn_is_not_muted_with_the_rest(browser: Browser, redis: Redis) -> None:
    put(redis, "retry", 3)
    told = browser.data("/failures")
    put(redis, "retry", 2, extra="later", failed_at=time.time() + 30)
    form = {"action": "mute", "group": told["causes"][0]["id"], "until": repr(told["until"])}
    assert browser.act("/failures", **form).json() == {"action": "mute"}
    assert [(each["count"], each["mute"]["count"], each["muted"]) for each in causes(browser)] == [(5, 3, False)]


def test_a_job_that_failed_again_after_the_page_was_drawn_is_muted_with_the_rest(
    browser: Browser, redis: Redis
) -> None:
    put(redis, "retry", 3)
    told = browser.data("/failures")
    [raw, *_] = redis.zrange("retry", 0, 0)
    redis.zrem("retry", raw)
    redis.zadd("retry", {json.dumps({**json.loads(raw), "retried_at": time.time() + 30}): time.time() + 60})
    form = {"action": "mute", "group": told["causes"][0]["id"], "until": repr(told["until"])}
    assert browser.act("/failures", **form).json() == {"action": "mute"}
    assert [(each["count"], each["mute"]["count"], each["muted"]) for each in causes(browser)] == [(3, 3, True)]


def test_where_only_a_part_is_looked_at_a_new_failure_ends_it(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MOST", 10)
    put(redis, "retry", 30)
    act(browser, "mute")
    put(redis, "dead", 1, "MailJob")
    told = browser.data("/failures")
    assert ([each["muted"] for each in told["causes"]], told["partly"]) == ([False, True], True)
    put(redis, "retry", 1, extra="new", failed_at=time.time() + 30)
    redis.zadd("retry", {redis.zrange("retry", 0, 0)[0]: 1.0})
    new = [raw for raw in redis.zrange("retry", 0, -1) if b'"new"' in raw]
    redis.zadd("retry", {new[0]: 0.5})
    assert [each["muted"] for each in causes(browser)] == [False, False]


def test_only_who_may_mute_sees_the_button(redis: Redis, client: Client) -> None:
    may = jobd.web.app(client, authorize=lambda user, action: action in ("view", "mute"))
    may_not = jobd.web.app(client, authorize=lambda user, action: action != "mute")
    put(redis, "retry", 3)
    assert Browser(may).data("/failures")["actions"] == ["mute"]
    assert act(Browser(may), "mute").status_code == 200
    for browser in (Browser(may_not), Browser(jobd.web.app(client, read_only=True))):
        assert "mute" not in browser.data("/failures")["actions"]
        assert 'value="unmute"' not in browser.get("/failures").text
        assert act(browser, "unmute").status_code in (403, 405)
    assert redis.hlen("jobd:muted") == 1


@pytest.mark.parametrize("group", ["", "0" * 16, "é", "x" * 5_000])
@pytest.mark.parametrize("action", ["mute", "unmute"])
def test_what_is_not_there_is_neither_muted_nor_unmuted(
    browser: Browser, redis: Redis, action: str, group: str
) -> None:
    put(redis, "retry", 1)
    assert browser.act("/failures", action=action, group=group).status_code == 404
    assert redis.exists("jobd:muted") == 0


def test_so_many_are_kept_and_those_that_are_over_make_room(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "MUTED_CAUSES", 2)
    for name in ("OneJob", "TwoJob", "ThreeJob"):
        put(redis, "dead", 1, name)
    assert [act(browser, "mute", name).status_code for name in ("OneJob", "TwoJob", "TwoJob")] == [200] * 3
    refused = act(browser, "mute", "ThreeJob")
    assert (refused.status_code, refused.json()) == (
        400,
        {"error": "2 causes are muted, and no more may be; unmute one first"},
    )
    [first, *_] = redis.hkeys("jobd:muted")
    told = json.loads(redis.hget("jobd:muted", first) or b"")
    redis.hset("jobd:muted", first, json.dumps({**told, "at": time.time() - defaults.MUTE_TTL - 1}))
    assert browser.data("/failures")["muted"] == 1
    assert act(browser, "mute", "ThreeJob").status_code == 200
    assert (redis.hlen("jobd:muted"), redis.hexists("jobd:muted", first)) == (2, False)


def test_damaged_mutes_are_passed_over(browser: Browser, redis: Redis) -> None:
    put(redis, "retry", 1)
    [cause] = causes(browser)
    wrong = ["", "{", "[]", '{"at": 1e999, "count": 1}', '{"at": NaN, "count": 1}', '{"at": 1}', "[" * 5_000, "7"]
    for raw in wrong:
        redis.hset("jobd:muted", mapping={cause["id"]: raw, b"\xff": raw})
        assert causes(browser)[0]["mute"] is None
        assert browser.get("/failures").status_code == browser.get("/").status_code == 200
    redis.delete("jobd:muted")
    redis.set("jobd:muted", "no hash")
    assert causes(browser)[0]["mute"] is None


def test_hostile_mutes_are_escaped(browser: Browser, redis: Redis) -> None:
    put(redis, "retry", 1)
    [cause] = causes(browser)
    told = {"at": time.time() - 1, "count": 7, "by": "<script>alert(1)</script>\u202e" * 100}
    redis.hset("jobd:muted", cause["id"], json.dumps(told))
    html = browser.get("/failures").text
    assert "<script>alert" not in html
    assert ("\u202e" in html, html.count("alert(1)") < 10) == (False, True)


def test_of_the_classes_that_fail_most_those_with_a_muted_cause_come_last(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.web.recent.SLOW_LASTS", 0.0)
    now = time.time()
    mapping = {"PayJob|p": 9, "PayJob|f": 9, "MailJob|p": 5, "MailJob|f": 5}
    redis.hset(f"j|{slot(now, 600)}", mapping=mapping)
    put(redis, "retry", 1)
    assert [(each["class"], each["muted"]) for each in browser.data("/overview")["failing"]] == [
        ("PayJob", False),
        ("MailJob", False),
    ]
    act(browser, "mute")
    assert [(each["class"], each["muted"]) for each in browser.data("/overview")["failing"]] == [
        ("MailJob", False),
        ("PayJob", True),
    ]
    assert "‖ a cause is muted" in Page.of(browser.get("/").text).text


def test_a_cause_tells_after_which_deploy_it_failed_first(browser: Browser, redis: Redis) -> None:
    now = time.time()
    put(redis, "retry", 3, failed_at=now - 700)
    put(redis, "dead", 2, "MailJob", failed_at=now - 7_300)
    put(redis, "dead", 1, "OldJob", failed_at=now - 90_000)
    late, early = mark(redis, now - 1200, "v2 <i>"), mark(redis, now - 9_000, "v1")
    told = {each["class"]: each["deploy"] for each in causes(browser)}
    assert told["OldJob"] is None
    assert (told["PayJob"]["at"], told["PayJob"]["label"], told["MailJob"]["at"]) == (late, "v2 <i>", early)
    assert told["PayJob"]["after"] == pytest.approx(now - 700 - late)
    page = Page.of(browser.get("/failures").text).text
    assert "The first failed" in page
    assert "after the deploy v2 <i>" in page


def test_where_only_a_part_is_looked_at_the_page_says_so_of_the_deploy(
    browser: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MOST", 10)
    put(redis, "retry", 30)
    mark(redis, time.time() - 1200, "v2")
    assert "Of those looked at the first failed" in browser.get("/failures").text
