"""Cron entries made and changed in a form: what is checked, what stays, and that nothing hidden goes anywhere."""

from __future__ import annotations

import html
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from redis import Redis

import jobd.web
from jobd.client import registry
from jobd.client.cron_set import CronSet
from jobd.client.push import Client
from jobd.web.masking import HIDDEN
from jobd.web.pages import cron_edit
from jobd.web.vietnamese import VIETNAMESE
from tests.client.test_cron_edits import RUBY
from tests.web.browser import Browser, Page
from tests.web.test_cron import HOSTILE, made_by


def quoted(name: str) -> str:
    return quote(name, safe="")


def typed(browser: Browser, of: str = "", /, **fields: str) -> tuple[str, dict[str, str]]:
    """The address of the form of an entry, of a new one without a name, and what it sends with these fields typed."""
    told = browser.data(f"/cron-edit?name={quoted(of)}")
    sent = {key: text for key, text in told["typed"].items() if key not in told["locked"]}
    more = {"action": "edit", "revision": told["revision"]} if told["editing"] else {"action": "create"}
    return told["post"], {**sent, **more, "step": "save", **fields}


def save(browser: Browser, of: str = "", /, **fields: str) -> Any:
    """What is answered to the form of an entry with these fields typed."""
    return browser.post(*typed(browser, of, **fields))


def stored(client: Client, name: str) -> Any:
    entry = CronSet(client).find(name)
    assert entry is not None
    return entry


def problem(page: str) -> str:
    """Why a form was not saved."""
    return html.unescape(page.partition('role="alert">')[2].partition("</p>")[0])


@pytest.mark.parametrize("name", ["night", HOSTILE, "-", "ü new", "new"])
def test_an_entry_is_made_and_edited_whatever_its_name_is(
    name: str, browser: Browser, client: Client, redis: Redis
) -> None:
    form = {"name": name, "cron": "0 8 * * *", "timezone": "Asia/Ho_Chi_Minh", "class": "HardJob", "args": "[1, null]"}
    done = save(browser, **form, queue="low", overlap="skip", description="Daily")
    assert "The entry is made." in browser.get(done.headers["location"]).text
    entry = stored(client, name)
    assert (entry.cron, entry.job, entry.args, entry.queue) == (
        "0 8 * * * Asia/Ho_Chi_Minh",
        "HardJob",
        (1, None),
        "low",
    )
    assert (entry.overlap, entry.source, entry.enabled) == ("skip", "web", True)
    told = browser.data("/cron")["entries"][0]
    links = [str(each["href"]) for each in Page.of(browser.get(f"/cron/-?name={quoted(name)}").text).all("a")]
    [link] = [each for each in links if each.startswith("/cron-edit")]
    data = browser.data(link)
    sent = {**data["typed"], "action": "edit", "revision": data["revision"], "step": "save", "cron": "0 9 * * *"}
    done = browser.post(data["post"], sent)
    assert "The entry is saved." in browser.get(done.headers["location"]).text
    assert stored(client, name).cron == "0 9 * * * Asia/Ho_Chi_Minh"
    assert told["name"] == name
    made, edited = reversed(browser.data("/activity")["records"])
    assert (made["action"], made["target"]) == ("create_entry", f"{name}: 0 8 * * * Asia/Ho_Chi_Minh, HardJob")
    assert edited["target"] == f"{name}: 0 8 * * * Asia/Ho_Chi_Minh → 0 9 * * * Asia/Ho_Chi_Minh"


def test_a_check_says_what_it_would_do_and_saves_nothing(browser: Browser, client: Client) -> None:
    form = {
        "name": "night",
        "cron": "30 2 * * *",
        "timezone": "Europe/Berlin",
        "class": "HardJob",
        "status": "disabled",
    }
    answer = save(browser, **form, step="check")
    text = Page.of(answer.text).text
    assert answer.status_code == 200
    for said in (
        "At 02:30 every day",
        "It is disabled",
        "No process takes jobs from the queue default now.",
        "is its name right?",
        "Its own options, such as retries, are not known here",
    ):
        assert said in text
    path, fields = typed(browser, **form)
    told = browser.act(path, **fields, check="yes").json()["preview"]
    assert (len(told["next"]), told["next"][0]["local"][-8:-3]) == (5, "02:30")
    assert len(told["warnings"]) == 4
    # Enter in a field presses nothing that saves.
    assert browser.post(path, {name: text for name, text in fields.items() if name != "step"}).status_code == 200
    assert "night" not in CronSet(client)
    page = browser.post(path, {**fields, "step": "check"}, **{"accept-language": "vi"}).text
    assert VIETNAMESE["It is disabled: it does not run until it is enabled."] in page


def test_the_words_come_while_the_rest_is_still_to_be_typed(browser: Browser) -> None:
    path, fields = typed(browser, cron="30 2 * * *")
    del fields["step"]
    typing = browser.post(path, fields)
    assert (typing.status_code, "At 02:30 every day" in typing.text, problem(typing.text)) == (200, True, "")
    asked = browser.post(path, {**fields, "step": "check"})
    assert ("At 02:30 every day" in asked.text, "give a name of up to" in problem(asked.text)) == (True, True)
    wrong = browser.post(path, {**fields, "name": "night", "class": "HardJob", "cron": "61 * * * *"})
    assert (wrong.status_code, "give 0 to 59" in problem(wrong.text)) == (200, True)


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("name", "", "give a name of up to 200"),
        ("name", "x" * 201, "give a name of up to 200"),
        ("name", "a\x00b", "without control characters"),
        ("cron", "61 * * * *", "the minutes field is '61'; give 0 to 59"),
        ("cron", "", "is no expression; give"),
        ("timezone", "Mars/Base", "give a name of the tz database"),
        ("class", "", "give the name of a job"),
        ("args", "[1,", "args is no JSON at line 1, character 4"),
        ("args", '{"a": 1}', "give an array"),
        ("kwargs", "[]", "give an object"),
        ("queue", "a b\n\x00", "queue is"),
        ("overlap", "never", "overlap is 'never'; give allow or skip"),
        ("catch_up", "", "catch_up is ''; give skip or once or all"),
        ("date_as_argument", "maybe", "give true or false"),
        ("status", "off", "status is 'off'; give enabled or disabled"),
    ],
)
def test_what_cannot_be_used_is_said_and_stays_typed(
    field: str, text: str, said: str, browser: Browser, redis: Redis
) -> None:
    form = {"name": "night", "cron": "@daily", "class": "HardJob", "description": "</textarea><b>", field: text}
    path, fields = typed(browser, **form)
    answer = browser.post(path, fields)
    assert (answer.status_code, said in problem(answer.text)) == (400, True), problem(answer.text)
    assert "&lt;/textarea&gt;&lt;b&gt;</textarea>" in answer.text
    told = browser.act(path, **fields)
    assert (told.status_code, said in told.json()["error"]) == (400, True)
    assert redis.keys("cron_job*") == []


def test_an_existing_name_is_not_written_over(browser: Browser, client: Client) -> None:
    CronSet(client).create("night", "@daily", "HardJob")
    form = {"name": "night", "cron": "@hourly", "class": "Other"}
    for step, status in (("check", 200), ("save", 409)):
        answer = save(browser, **form, step=step)
        assert (answer.status_code, "of which there is an entry already" in problem(answer.text)) == (status, True)
    path, fields = typed(browser, **form)
    assert browser.act(path, **fields).status_code == 409
    assert stored(client, "night").job == "HardJob"


def test_arguments_fit_the_job_where_this_process_knows_it(
    browser: Browser, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_handlers", dict(registry._handlers))

    @jobd.job(name="cron_edit.greet", queue="low", retry=3)
    def greet(name: str) -> None: ...

    form = {"name": "night", "cron": "@daily", "class": "cron_edit.greet"}
    assert "missing a required argument" in problem(save(browser, **form).text)
    assert "cron_edit.greet" in browser.data("/cron-edit")["classes"]
    checked = save(browser, **form, args='["ann"]', queue="", step="check")
    assert "Its own options" not in checked.text
    assert save(browser, **form, args='["ann"]', queue="").status_code == 303
    assert json.loads(stored(client, "night").stored["message"])["retry"] == 3
    assert stored(client, "night").queue == "low"


@pytest.mark.parametrize("source", ["code", "config"])
def test_what_is_set_back_is_saved_by_who_knows_it(source: str, browser: Browser, client: Client) -> None:
    made_by(client, "night", source)
    page = browser.get("/cron-edit?name=night").text
    assert cron_edit.SET_BACK[source] in page
    assert 'name="known"' in page
    refused = save(browser, "night", cron="0 5 * * *")
    assert (refused.status_code, cron_edit.TICK in problem(refused.text)) == (400, True)
    assert 'value="0 5 * * *"' in refused.text
    path, fields = typed(browser, "night", cron="0 5 * * *")
    assert 'Send "known": "yes"' in browser.act(path, **fields).json()["error"]
    assert stored(client, "night").cron == "0 0 * * *"
    assert save(browser, "night", cron="0 5 * * *", known="yes").status_code == 303
    assert (stored(client, "night").cron, stored(client, "night").source) == ("0 5 * * *", source)


def test_an_entry_of_run_time_is_saved_without_that(browser: Browser, client: Client) -> None:
    CronSet(client).create("night", "@daily", "HardJob", args=[1], status="disabled")
    assert 'name="known"' not in browser.get("/cron-edit?name=night").text
    assert save(browser, "night", args="[true]", catch_up="once").status_code == 303
    entry = stored(client, "night")
    assert (repr(entry.args), entry.catch_up, entry.enabled) == ("(True,)", "once", False)
    assert browser.data("/activity")["records"][0]["target"] == "night: 0 0 * * *; args, catch_up"


def test_what_somebody_else_has_changed_is_shown_and_not_lost(browser: Browser, client: Client) -> None:
    entry = CronSet(client).create("night", "@daily", "HardJob")
    path, fields = typed(browser, "night", cron="0 5 * * *")
    CronSet(client).save(replace(entry, description="theirs"))
    told = browser.act(path, **fields)
    assert (told.status_code, told.json()["error"]) == (409, cron_edit.CHANGED)
    answer = browser.post(path, fields)
    assert (answer.status_code, problem(answer.text).endswith(cron_edit.CHANGED)) == (409, True)
    assert 'value="0 5 * * *"' in answer.text
    assert "<code>theirs</code>" in answer.text
    assert (stored(client, "night").cron, stored(client, "night").description) == ("0 0 * * *", "theirs")
    again = Page.of(answer.text)
    [token] = [each["value"] for each in again.all("input") if each.get("name") == "revision"]
    assert browser.post(path, {**fields, "revision": str(token), "description": "theirs"}).status_code == 303
    assert stored(client, "night").description == "theirs"


def test_a_change_in_the_last_moment_is_not_lost_either(
    browser: Browser, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = CronSet(client).create("night", "@daily", "HardJob")
    path, fields = typed(browser, "night", cron="0 5 * * *")
    real, others = cron_edit.cron_edits.change, iter([lambda: CronSet(client).save(replace(entry, description="x"))])

    def change(*given: Any) -> bool:
        for other in others:
            other()
        return real(*given)

    monkeypatch.setattr(cron_edit.cron_edits, "change", change)
    assert browser.act(path, **fields).status_code == 409
    assert (stored(client, "night").cron, stored(client, "night").description) == ("0 0 * * *", "x")


def test_of_two_who_make_one_name_at_a_time_one_is_refused(browser: Browser, client: Client) -> None:
    path, fields = typed(browser, cron="@daily", **{"class": "HardJob"})
    told: list[int] = []

    def make(number: int) -> None:
        told.append(browser.act(path, **{**fields, "name": "night", "description": str(number)}).status_code)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [200, 409, 409, 409]


def test_a_program_that_loads_its_entries_anew_leaves_one_of_the_dashboard_alone(
    browser: Browser, client: Client
) -> None:
    CronSet(client).create("old", "@daily", "HardJob")
    save(browser, name="night", cron="@daily", **{"class": "HardJob"})
    CronSet(client).load({}, replace=True)
    assert [entry.name for entry in CronSet(client)] == ["night"]
    assert "<dd>the dashboard</dd>" in browser.get("/cron/night").text


def test_an_entry_that_is_gone_is_not_found(browser: Browser, client: Client) -> None:
    CronSet(client).create("night", "@daily", "HardJob")
    path, fields = typed(browser, "night")
    CronSet(client).destroy("night")
    assert browser.post(path, fields).status_code == browser.act(path, **fields).status_code == 404
    assert browser.get("/cron-edit?name=night").status_code == 404
    assert "night" not in CronSet(client)


SECRET: dict[str, Any] = {"args": [{"password": "hunter2"}], "description": "token=hunter2"}


def test_secrets_stay_where_they_are(browser: Browser, client: Client, redis: Redis) -> None:
    CronSet(client).create("night", "@daily", "HardJob", **SECRET)
    told = browser.data("/cron-edit?name=night")
    assert told["locked"].keys() == {"class", "args", "kwargs", "queue", "description"}
    for path in ("/cron-edit?name=night", "/api/v1/cron-edit?name=night"):
        assert "hunter2" not in browser.get(path).text
    before: Any = redis.hmget("cron_job:night", "args", "message", "description")
    assert save(browser, "night", cron="0 5 * * *").status_code == 303
    assert redis.hmget("cron_job:night", "args", "message", "description") == before
    assert stored(client, "night").cron == "0 5 * * *"
    for field, text in (
        ("args", '[{"password": "x"}]'),
        ("args", f'[{{"password":"{HIDDEN}"}}]'),
        ("class", "Leak"),
        ("queue", "mine"),
        ("kwargs", '{"to": "me"}'),
        ("description", "mine"),
    ):
        answer = save(browser, "night", **{field: text})
        assert (answer.status_code, "hunter2" in answer.text) == (400, False)
        assert f"{field} cannot be changed here: It holds secrets" in problem(answer.text)
    assert redis.hmget("cron_job:night", "args", "message", "description") == before


def test_a_secret_elsewhere_in_the_job_is_not_sent_along_either(browser: Browser, client: Client, redis: Redis) -> None:
    CronSet(client).create("night", "@daily", "HardJob", args=[1])
    message = {"class": "HardJob", "args": [1], "queue": "default", "cattr": {"api_token": "hunter2"}}
    redis.hset("cron_job:night", "message", json.dumps(message))
    assert "args" in browser.data("/cron-edit?name=night")["locked"]
    assert save(browser, "night", queue="mine").status_code == 400


def test_the_revision_of_an_entry_tells_nothing_of_its_secrets(browser: Browser, client: Client) -> None:
    revisions = set()
    for password in ("hunter2", "hunter3"):
        CronSet(client).create("night", "@daily", "HardJob", args=[{"password": password}])
        revisions.add(browser.data("/cron-edit?name=night")["revision"])
    assert len(revisions) == 1


def test_an_entry_of_ruby_is_edited_as_far_as_ruby_reads_it(browser: Browser, redis: Redis) -> None:
    redis.sadd("cron_jobs", "cron_job:night")
    redis.hset("cron_job:night", mapping=RUBY)
    page = browser.get("/cron-edit?name=night").text
    assert cron_edit.SET_BACK[""] in page
    assert cron_edit.LOCKS["ruby"] in page
    for wrong in ({"cron": "@every 30s"}, {"class": "Other"}, {"overlap": "skip"}):
        assert "sidekiq-cron" in problem(save(browser, "night", **wrong).text)
    assert save(browser, "night", cron="0 5 * * *", args="[2]", description="d").status_code == 303
    now: Any = redis.hgetall("cron_job:night")
    assert now[b"message"] == b'{"retry":3,"queue":"low","class":"RubyJob","args":[2]}'
    assert (now[b"cron"], now[b"description"]) == (b"0 5 * * *", b"d")
    assert now.keys() - {b"since"} == {name.encode() for name in RUBY}


def test_words_that_only_ruby_reads_can_be_replaced(browser: Browser, redis: Redis) -> None:
    redis.sadd("cron_jobs", "cron_job:night")
    redis.hset("cron_job:night", mapping={**RUBY, "cron": "every monday at 9"})
    assert "every monday at 9" in browser.get("/cron-edit?name=night").text
    assert save(browser, "night", description="d").status_code == 400
    assert save(browser, "night", cron="0 9 * * mon").status_code == 303


def test_text_that_a_page_cannot_show_stays_unless_it_is_edited(browser: Browser, client: Client) -> None:
    given = "two\nlines\u200b \u202e"
    CronSet(client).create("night", "@daily", "HardJob", args=["\u200b", 10**30], description=given)
    path, fields = typed(browser, "night", cron="0 5 * * *")
    fields["description"] = fields["description"].replace("\n", "\r\n")
    assert browser.post(path, fields).status_code == 303
    entry = stored(client, "night")
    assert (entry.description, entry.args, entry.cron) == (given, ("\u200b", 10**30), "0 5 * * *")


def test_a_right_of_its_own_is_needed(client: Client, redis: Redis) -> None:
    CronSet(client).create("night", "@daily", "HardJob")
    rights = set(jobd.web.ACTIONS) - {"cron_edit"}
    browser = Browser(jobd.web.app(client, auth=lambda request: "ann", authorize=lambda user, action: action in rights))
    before = redis.dump("cron_job:night")
    for name in ("", "night"):
        path, fields = typed(browser, name, cron="0 5 * * *", **({} if name else {"name": "b", "class": "HardJob"}))
        assert browser.post(path, fields).status_code == browser.act(path, **fields, check="yes").status_code == 403
        page = browser.get(f"/cron-edit?name={name}").text
        assert ('method="post"' in page, "<fieldset" in page) == (False, True)
    assert "cron-edit" not in browser.get("/cron").text + browser.get("/cron/night").text
    assert (redis.dump("cron_job:night"), "b" in CronSet(client)) == (before, False)
    rights = {"view", "cron_edit"}
    assert save(browser, "night", cron="0 5 * * *").status_code == 303
    assert browser.post("/cron/night", {"action": "disable"}).status_code == 403


def test_programs_send_only_what_they_change(browser: Browser, client: Client) -> None:
    made = browser.act("/cron", action="create", name="night", cron="@daily", **{"class": "HardJob", "queue": None})
    assert (made.status_code, made.json()) == (200, {"action": "create_entry", "moved": 1})
    assert browser.act("/cron/night", action="edit", cron="@hourly").status_code == 400
    seen = browser.data("/cron-edit?name=night")["revision"]
    assert browser.act("/cron/night", action="edit", revision=seen, date_as_argument=True).status_code == 200
    assert (stored(client, "night").date_as_argument, stored(client, "night").cron) == (True, "0 0 * * *")
    seen = browser.data("/cron-edit?name=night")["revision"]
    for wrong in ([], [1, 2], [[1]], {"a": 1}):
        assert browser.act("/cron/night", action="edit", revision=seen, args=wrong).status_code == 400, wrong


def test_the_form_suggests_what_is_known(browser: Browser, client: Client, redis: Redis) -> None:
    CronSet(client).load({f"entry {i}": {"cron": "@daily", "class": f"Job{i}"} for i in range(3)})
    CronSet(client).create("odd", "@daily", "A?secret=hunter2")
    redis.sadd("queues", "low")
    redis.lpush("queue:low", "{}")
    told = browser.data("/cron-edit")
    assert set(told["classes"]) == {"Job0", "Job1", "Job2"} | set(registry.names())
    assert told["queues"] == ["low"]
    assert 'value="Asia/Ho_Chi_Minh"' in browser.get("/cron-edit").text
    assert len(browser.get("/cron-edit").content) < 60_000


def test_the_form_is_never_replaced_while_somebody_types(browser: Browser, client: Client) -> None:
    [stream] = [
        each["data-stream"] for each in Page.of(browser.get("/cron-edit").text).all("button") if "data-stream" in each
    ]
    assert Page.query(str(stream)) in ({}, {"page": ""})


def test_all_that_the_form_says_is_said_in_vietnamese_too() -> None:
    said = {*cron_edit.LOCKS.values(), *cron_edit.SET_BACK.values(), cron_edit.STAYS, cron_edit.TICK, cron_edit.CHANGED}
    source = Path(cron_edit.__file__).read_text()
    said |= {part.partition('"')[0] for part in source.split('yield "')[1:]}
    assert said - VIETNAMESE.keys() == set()
