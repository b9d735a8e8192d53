"""What is hidden of a job, and to whom it is shown."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest
from redis import Redis

import jobd.web
from jobd.client.push import Client
from jobd.web import documents
from jobd.web.masking import HIDDEN
from tests.client.api import fill_queue, fill_set, payload
from tests.web.browser import Browser, Page
from tests.web.test_jobs import address

SECRET = "hunter2"
HELD: dict[str, Any] = {
    "class": "app.Pay",
    "args": [7, {"password": SECRET}],
    "kwargs": {"token": SECRET},
    "tags": [f"token={SECRET}"],
    "custom": {"secret": SECRET},
    "error_class": "Refused",
    "error_message": f"password={SECRET}",
}


def site(client: Client, *without: str, read_only: bool | None = None) -> Browser:
    """A browser whose user, Ann, may do all but this."""
    app = jobd.web.app(
        client, auth=lambda _: "ann", authorize=lambda _, asked: asked not in without, read_only=read_only
    )
    return Browser(app)


@pytest.fixture
def where(redis: Redis, client: Client) -> str:
    """The page of a job that holds secrets everywhere."""
    redis.zadd("retry", {payload("r1", **HELD): time.time() + 60})
    return address(site(client), "/retries")


def test_who_may_see_hidden_values_gets_the_page_of_one_job_with_all_of_them(where: str, client: Client) -> None:
    browser = site(client)
    before = browser.get(where)
    assert SECRET not in before.text
    [form] = [each for each in Page.of(before.text).all("form") if str(each.get("action", "")).startswith("/jobs/")]
    answer = browser.post(str(form["action"]), {"action": "reveal"})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "private, no-store")
    shown = Page.of(answer.text)
    # Arguments, keywords, tags, other fields and the error, each on the page and again in a copy.
    assert shown.text.count(SECRET) >= 10
    assert HIDDEN not in answer.text
    assert "these copies are not complete" not in answer.text
    assert f"app.Pay.perform_async(7, {{'password': '{SECRET}'}}, token='{SECRET}')" in shown.text
    assert "Show hidden values" not in answer.text
    assert SECRET not in "".join(str(value) for _, attributes in shown.elements for value in attributes.values())


def test_programs_ask_for_hidden_values_by_the_same_right(where: str, client: Client) -> None:
    told = site(client).act(where, action="reveal").json()
    assert (told["job"]["arguments"], told["job"]["kwargs"]) == (HELD["args"], HELD["kwargs"])
    assert (told["revealed"], told["complete"], json.loads(told["raw_json"])["custom"]) == (True, True, HELD["custom"])
    assert site(client).act("/jobs/r1", action="reveal").json()["job"]["kwargs"] == HELD["kwargs"]
    assert site(client, "reveal").act(where, action="reveal").status_code == 403
    assert site(client).act(where, action="show").status_code == 400
    post = site(client).data("/openapi.json")["paths"]["/jobs/{jid}"]["post"]
    assert {"in", "key", "name"} <= {each["name"] for each in post["parameters"]}


def test_nothing_that_was_shown_stays_in_lists_exports_and_later_looks(
    where: str, client: Client, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = site(client)
    known: dict[Any, dict[bytes, Any]] = {}  # one that lets nothing go by itself
    monkeypatch.setattr(documents, "_known", known)
    assert SECRET in browser.post(where, {"action": "reveal"}).text
    assert SECRET not in str([list(rows.values()) for rows in known.values()])
    paths = ["/retries", where, "/export?in=retries", "/failures", "/activity", "/live?once=1&page=/retries"]
    for path in [*paths, *(f"/api/v1{each}" for each in paths[:-1])]:
        answer = browser.get(path)
        assert (answer.status_code, SECRET in answer.text) == (200, False), path
    assert browser.data(f"/retries?q={SECRET}")["jobs"] == []
    assert SECRET.encode() not in b"".join(map(redis.dump, ["jobd:audit"]))  # type: ignore[arg-type]


def test_it_is_recorded_who_looked_and_who_was_refused(
    where: str, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "jobd"):
        site(client).post(where, {"action": "reveal"})
        assert site(client, "reveal").post(where, {"action": "reveal"}).status_code == 403
    records = site(client).data("/activity")["records"]
    kept = [(each["user"], each["action"], each["target"], each["result"]) for each in records]
    assert kept == [("ann", "reveal", "r1", "refused"), ("ann", "reveal", "r1", "done")]
    lines = [each.getMessage() for each in caplog.records if each.getMessage().startswith("web.action ")]
    told = [json.loads(line.removeprefix("web.action ")) for line in lines]
    assert [(each["user"], each["target"], each["result"]) for each in told] == [
        ("ann", "r1", "done"),
        ("ann", "r1", "refused"),
    ]
    assert SECRET not in caplog.text


def test_nobody_sees_hidden_values_unless_authorize_gives_the_right(where: str, client: Client) -> None:
    others = (
        (Browser(jobd.web.app(client, read_only=False)), 403),
        (Browser(jobd.web.app(client, auth=lambda _: "ann")), 403),
        (site(client, "reveal"), 403),
        (site(client, read_only=True), 405),
    )
    for browser, status in others:
        assert "Show hidden values" not in browser.get(where).text
        answer = browser.post(where, {"action": "reveal"})
        assert (answer.status_code, SECRET in answer.text) == (status, False)
    assert site(client).send("POST", where, b"action=reveal", {"sec-fetch-site": "cross-site"}).status_code == 403


def test_a_job_without_hidden_values_has_no_button_for_them(client: Client, redis: Redis) -> None:
    fill_set(redis, "retry", 1)
    browser = site(client)
    assert "Show hidden values" not in browser.get(address(browser, "/retries")).text


def test_hidden_values_of_jobs_in_queues_and_of_damaged_entries_are_shown_too(client: Client, redis: Redis) -> None:
    fill_queue(redis, 1, args=[{"password": SECRET}])
    redis.zadd("dead", {b'{"password": "hunter2", broken': 5.0})
    browser = site(client)
    for path in ("/queues/default", "/dead"):
        told = browser.data(address(browser, path))
        assert SECRET not in json.dumps(told)
        assert SECRET in json.dumps(browser.act(told["reveal"], action="reveal").json())
