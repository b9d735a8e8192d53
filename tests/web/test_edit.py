"""A job with other arguments: what may be edited and by whom, and that what was typed is never lost."""

from __future__ import annotations

import html
import json
import time
from typing import Any

import pytest
from redis import Redis

import jobd.web
from jobd.client.push import Client
from jobd.web.masking import HIDDEN
from jobd.web.pages import edit
from jobd.web.vietnamese import VIETNAMESE
from tests.client.api import fill_queue, payload
from tests.web.browser import Browser, Page
from tests.web.test_jobs import address


def edited(browser: Browser, path: str, **fields: Any) -> tuple[str, dict[str, str]]:
    """The address of the form of the first job of a list, and what it sends when these fields are typed."""
    page = Page.of(browser.get(address(browser, path)).text)
    [link] = [str(each["href"]) for each in page.all("a") if str(each["href"]).startswith("/edit?")]
    form = Page.of(browser.get(link).text)
    sent = {str(each["name"]): str(each["value"]) for each in form.all("input") if each.get("type") == "hidden"}
    if any(each.get("type") == "checkbox" and "checked" in each for each in form.all("input")):
        sent["delete"] = "yes"
    post = next(str(each["action"]) for each in form.all("form") if each.get("method") == "post")
    return post, {**{name: sent[name] for name in sent if name != "here"}, "args": "[]", **fields}


def put(redis: Redis, key: str, **fields: Any) -> None:
    """One job in a set, of the queue `low`."""
    redis.zadd(key, {payload("old", **{"queue": "low", **fields}): time.time() + 600})


@pytest.mark.parametrize(("path", "key"), [("/retries", "retry"), ("/scheduled", "schedule"), ("/dead", "dead")])
def test_a_job_of_a_set_runs_again_with_other_arguments(browser: Browser, redis: Redis, path: str, key: str) -> None:
    put(redis, key, args=["été\u200b", 10**30], kwargs={"to": "ann"}, retry_count=2)
    post, form = edited(browser, path, args='["x", 1000000000000000000000000000001]', kwargs='{"to": "bob"}')
    done = browser.post(post, form)
    [made] = [json.loads(raw) for raw in redis.lrange("queue:low", 0, -1)]
    assert (made["args"], made["kwargs"], made["edited_from"]) == (["x", 10**30 + 1], {"to": "bob"}, "old")
    assert redis.zcard(key) == 0
    assert done.status_code == 303
    said = Page.of(browser.get(done.headers["location"]).text)
    assert f"Pushed as a new job: {made['jid']}" in said.text
    assert f"/jobs/{made['jid']}" in [each["href"] for each in said.all("a")]
    [record] = browser.data("/activity")["records"]
    assert (record["action"], record["target"], record["counts"]) == (
        "edit",
        f"old into {made['jid']}, and deleted",
        {"moved": 1},
    )


def test_the_form_holds_the_arguments_as_they_are(browser: Browser, redis: Redis) -> None:
    given = ["été\u200b</textarea>", 10**30, {"a": [None, 1.5]}]
    put(redis, "dead", args=given)
    told = browser.data(address(browser, "/dead"))["edit"]
    page = browser.get(told).text
    shown = html.unescape(page.partition('name="args"')[2].partition(">")[2].partition("</textarea>")[0])
    assert json.loads(shown) == json.loads(browser.data(told)["args"]) == given


def test_both_jobs_name_each_other_when_the_former_stays(browser: Browser, redis: Redis) -> None:
    put(redis, "retry")
    post, form = edited(browser, "/retries", args="[2]")
    del form["delete"]
    browser.post(post, form)
    [made] = browser.data("/queues/low")["jobs"]
    old = Page.of(browser.get(address(browser, "/retries")).text)
    new = Page.of(browser.get(address(browser, "/queues/low")).text)
    assert f"/jobs/{made['jid']}" in [each["href"] for each in old.all("a")]
    assert "/jobs/old" in [each["href"] for each in new.all("a")]
    assert ("Edited into" in old.text, "Edited from" in new.text) == (True, True)


def test_a_job_of_a_queue_is_edited_whatever_its_name_is(browser: Browser, redis: Redis) -> None:
    for name in (b"default", b"raw\xff/ q"):
        redis.sadd("queues", name)
        redis.lpush(b"queue:" + name, payload("old", queue="low"))
        listed = "/queues/-?name=raw%FF/%20q" if name != b"default" else "/queues/default"
        assert browser.post(*edited(browser, listed, args="[2]")).status_code == 303
        assert redis.llen(b"queue:" + name) == 0
    assert redis.llen("queue:low") == 2


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("args", "[1,", "args is no JSON at line 1, character 4"),
        ("args", '{"a": 1}', "give an array such as [1, &#34;two&#34;]"),
        ("args", "[NaN]", "NaN"),
        ("args", "", "args is no JSON at line 1, character 1"),
        ("args", "[" * 5000 + "]" * 5000, "too deep"),
        ("args", '["' + "x" * 300_000 + '"]', "give at most 256,000"),
        ("kwargs", "[]", "give an object such as"),
    ],
)
def test_what_cannot_be_pushed_is_said_and_stays_typed(
    browser: Browser, redis: Redis, field: str, typed: str, said: str
) -> None:
    put(redis, "retry")
    post, form = edited(browser, "/retries", **{field: typed})
    answer = browser.post(post, form)
    assert (answer.status_code, said.lower() in answer.text.lower()) == (400, True)
    assert html.escape(typed, quote=False) in answer.text.replace("&#34;", '"')
    again = browser.act("/edit", **form)
    assert (again.status_code, bool(again.json()["error"])) == (400, True)
    assert (redis.zcard("retry"), redis.llen("queue:low")) == (1, 0)


def test_of_a_job_that_is_gone_nothing_is_pushed_and_the_text_stays(browser: Browser, redis: Redis) -> None:
    put(redis, "retry")
    post, form = edited(browser, "/retries", args='["typed"]')
    redis.delete("retry")
    answer = browser.post(post, form)
    assert (answer.status_code, edit.GONE in answer.text) == (404, True)
    assert "[&#34;typed&#34;]" in answer.text
    assert browser.act("/edit", **form).json() == {"error": edit.GONE}
    assert redis.llen("queue:low") == 0


WRAPPER = "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"args": [{"password": "hunter2"}]}, "secret"),
        ({"args": ["redis://:hunter2@host/0"]}, "secret"),
        ({"kwargs": {"token": "hunter2"}}, "secret"),
        ({"cattr": {"api_token": "hunter2"}}, "secret"),
        ({"args": ["x" * 300_000]}, "large"),
        ({"class": WRAPPER, "args": [{"job_class": "A", "arguments": []}]}, "rails"),
        ({"args": "none"}, "damaged"),
    ],
)
def test_a_job_with_secrets_and_what_is_not_to_be_typed_is_not_edited(
    browser: Browser, redis: Redis, fields: dict[str, Any], why: str
) -> None:
    put(redis, "retry", **fields)
    where = address(browser, "/retries")
    told = browser.data(where)
    assert (told["edit"], told["not_edited"]) == ("", edit.REFUSALS[why])
    assert edit.REFUSALS[why] in browser.get(where).text
    key = told["job"]["key"]
    for answer in (
        browser.get(f"/edit?in=retries&key={key}"),
        browser.post("/edit?in=retries", {"action": "edit", "key": key, "args": f'["{HIDDEN}"]'}),
    ):
        assert (answer.status_code, "hunter2" in answer.text) == (409, False)
    assert redis.llen("queue:low") == 0


def test_it_takes_the_right_to_retry_and_to_remove_the_former_that_to_delete(client: Client, redis: Redis) -> None:
    put(redis, "retry")
    rights = {"view", "retry"}
    browser = Browser(jobd.web.app(client, authorize=lambda user, action: action in rights))
    post, form = edited(browser, "/retries", args="[2]")
    assert "delete" not in form
    assert browser.post(post, {**form, "delete": "yes"}).status_code == 403
    assert browser.post(post, form).status_code == 303
    assert (redis.zcard("retry"), redis.llen("queue:low")) == (1, 1)
    rights.remove("retry")
    assert browser.data(address(browser, "/retries"))["edit"] == ""
    reader = Browser(jobd.web.app(client, read_only=True))
    for each, status in ((browser, 403), (reader, 405)):
        assert 'method="post"' not in each.get(post).text
        assert each.post(post, form).status_code == status
    assert redis.llen("queue:low") == 1


def test_programs_are_told_the_id_and_only_what_they_ask_for_is_removed(browser: Browser, redis: Redis) -> None:
    put(redis, "dead")
    key = browser.data("/dead")["jobs"][0]["key"]
    told = browser.act("/edit", **{"action": "edit", "in": "dead", "key": key, "args": "[5]"}).json()
    assert json.loads(redis.lindex("queue:low", 0))["jid"] == told["jid"]
    assert redis.zcard("dead") == 1
    for wrong in ({"action": "delete"}, {"in": "busy"}, {"in": "queue"}, {"key": "x"}):
        sent = {"action": "edit", "in": "dead", "key": key, "args": "[5]", **wrong}
        assert browser.act("/edit", **sent).status_code == 400, wrong


def test_the_form_is_never_replaced_while_somebody_types(browser: Browser, redis: Redis) -> None:
    put(redis, "dead")
    link = browser.data(address(browser, "/dead"))["edit"]
    [stream] = [each["data-stream"] for each in Page.of(browser.get(link).text).all("button") if "data-stream" in each]
    assert Page.query(str(stream)) in ({}, {"page": ""})


def test_why_a_job_is_not_edited_is_said_in_vietnamese_too(browser: Browser, redis: Redis) -> None:
    assert {*edit.REFUSALS.values(), edit.GONE} <= VIETNAMESE.keys()
    fill_queue(redis, 1, args=[{"password": "x"}])
    page = browser.get(address(browser, "/queues/default"), **{"accept-language": "vi"}).text
    assert VIETNAMESE[edit.REFUSALS["secret"]] in page
