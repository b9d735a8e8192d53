"""Who may do what, and that nothing which comes from Redis or from elsewhere gets further than it should."""

from __future__ import annotations

import base64
import json
import logging
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
from redis import Redis
from starlette.requests import Request

import jobd.web
from jobd.client.cron_set import CronSet
from jobd.client.errors import ConfigError
from jobd.client.push import Client
from jobd.web import assets, csrf, headers, preview
from jobd.web.masking import HIDDEN, Masker
from tests.client.api import fill_queue, fill_set, payload
from tests.web.browser import FORM, GET_PAGES, PROCESS, Browser, Page, fill

SCRIPTS = ("vendor/htmx.min.js", "live.js", "keys.js", "charts.js")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></textarea></pre></script><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 81239*3 }}{% raw %}",
    "\u202egnp.exe",
    "../../etc/passwd?x=1&y=2#z",
)
CHANGES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("pause", "/queues/default", {"action": "pause"}),
    ("clear", "/queues/default", {"action": "clear", "confirmed": "yes"}),
    ("delete", "/queues/default", {"action": "delete", "key": "0~0123456789abcdef", "confirmed": "yes"}),
    ("retry", "/retries", {"action": "retry", "all": "yes", "confirmed": "yes"}),
    ("kill", "/retries", {"action": "kill", "all": "yes", "confirmed": "yes"}),
    ("delete", "/dead", {"action": "delete", "all": "yes", "confirmed": "yes"}),
    ("enqueue", "/scheduled", {"action": "enqueue", "all": "yes", "confirmed": "yes"}),
    ("quiet", "/busy", {"action": "quiet", "identity": PROCESS}),
    ("stop", "/busy", {"action": "stop", "identity": PROCESS}),
    ("dump", "/busy", {"action": "dump", "identity": PROCESS}),
    ("cancel", "/busy", {"action": "cancel", "jid": "bplain", "confirmed": "yes"}),
    ("cron", "/cron", {"action": "disable", "name": "plain"}),
    ("cron_edit", "/cron", {"action": "create", "name": "new", "cron": "@daily", "class": "A", "step": "save"}),
)


def basic(name: str, password: str) -> str:
    """The header of basic authentication."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("passes", "sent"),
    [
        (True, {"sec-fetch-site": "same-origin"}),
        (True, {"sec-fetch-site": "none"}),
        (False, {"sec-fetch-site": "same-site"}),
        (False, {"sec-fetch-site": "cross-site"}),
        (False, {"sec-fetch-site": "cross-site", "origin": "http://jobs.test"}),
        (True, {"origin": "http://jobs.test"}),
        (False, {"origin": "http://jobs.test:8080"}),
        (False, {"origin": "http://evil.test"}),
        (False, {"origin": "null"}),
        (False, {"origin": "http://["}),
        (True, {"origin": "http://Jobs.Test"}),
        (True, {"origin": "https://ops.example.com", "sec-fetch-site": "cross-site"}),
        (False, {"origin": "http://evil.test", "x-forwarded-host": "evil.test"}),
        (False, {}),
    ],
)
def test_a_change_passes_only_from_a_page_of_this_site(passes: bool, sent: dict[str, str], client: Client) -> None:
    app = jobd.web.app(client, read_only=False, trusted_origins=["https://Ops.example.com"])
    answer = Browser(app, headers={}).post("/queues/default", {"action": "pause"}, **sent)
    assert (answer.status_code == 303) is passes
    assert passes or answer.status_code == 403
    assert Browser(app, headers={}).get("/queues", **sent).status_code == 200


def test_a_program_with_a_token_needs_no_header_of_a_browser(client: Client) -> None:
    app = jobd.web.app(client, auth=[jobd.web.Tokens({"ci": "t0ken"}), jobd.web.Basic({"ann": "pw"})])
    token, password = {"authorization": "Bearer t0ken"}, {"authorization": basic("ann", "pw")}
    assert Browser(app, headers=token).act("/queues/default", action="pause").status_code == 200
    assert Browser(app, headers={**token, "cookie": "a=b"}).act("/queues/default", action="pause").status_code == 403
    assert Browser(app, headers=password).act("/queues/default", action="pause").status_code == 403
    assert csrf.problem("DELETE", {}, by_token=False) is not None


def test_every_answer_has_the_headers_that_keep_browsers_in_bounds(browser: Browser, redis: Redis) -> None:
    wanted = headers.policy_headers()
    for path in (*GET_PAGES, "/stats", "/api/v1/totals", "/nothing", "/static/app.css", "/static/none"):
        answer = browser.get(path)
        assert {name: answer.headers[name] for name in wanted} == wanted
        assert ("no-store" in answer.headers["cache-control"]) is (path != "/static/app.css")
    assert wanted["x-frame-options"] == "DENY"
    policy = policy_of(wanted)
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["form-action"] == "'self'"
    assert "unsafe" not in wanted["content-security-policy"]


def policy_of(found: Mapping[str, str]) -> dict[str, str]:
    return dict(part.strip().split(" ", 1) for part in found["content-security-policy"].split(";"))


def test_pages_that_are_named_may_show_it_in_a_frame(client: Client) -> None:
    origins = ["https://portal.example.com", "http://[::1]:8080", "'self'"]
    answer = Browser(jobd.web.app(client, read_only=True, frame_ancestors=origins)).get("/queues")
    assert policy_of(answer.headers)["frame-ancestors"] == " ".join(origins)
    assert policy_of(answer.headers)["default-src"] == "'none'"
    assert "x-frame-options" not in answer.headers  # which would refuse them all


@pytest.mark.parametrize(
    "wrong", ["portal.example.com", "*", "https://a b", "https://a; script-src *", "https://a/b", ""]
)
def test_no_other_text_gets_into_the_policy(wrong: str, client: Client) -> None:
    with pytest.raises(ConfigError, match=re.escape(repr(wrong))):
        jobd.web.app(client, frame_ancestors=[wrong])
    with pytest.raises(ConfigError, match="list"):
        jobd.web.app(client, frame_ancestors="https://portal.example.com")


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_redis_stays_text_on_every_page(text: str, browser: Browser, redis: Redis, client: Client) -> None:
    fill(redis, client, text)
    jobs = [
        f"/jobs/-?in={place}&key={job['key']}".replace("+", "%2B")
        for place in ("retries", "scheduled", "dead")
        for job in browser.data(f"/{place}")["jobs"]
    ]
    assert len(jobs) == 5
    entry = "".join(char for char in text if char.isprintable())
    named = [f"/cron/-?{urlencode({'name': entry})}", f"/cron-edit?{urlencode({'name': entry})}"]
    named += [f"/metrics/-?{urlencode({'name': f'Hard{text}'})}"]
    for path in (*GET_PAGES, *jobs, *named, "/queues/-?name=raw%FF%FE", "/retries?q=%3Cscript%3Ealert(1)"):
        answer = browser.get(path)
        assert answer.status_code == 200, (path, answer.text)
        page = Page.of(answer.text)
        sources = [each["src"] for each in page.all("script")]
        assert sources[: len(SCRIPTS)] == [assets.address(name) for name in SCRIPTS]
        assert sources[len(SCRIPTS) :] in ([], [assets.address("lists.js")])
        assert not page.all("img") + page.all("style") + page.all("iframe")
        for tag, attributes in page.elements:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], (
                path,
                tag,
                attributes,
            )
            assert not str(attributes.get("href", "")).startswith("javascript"), path
        assert "243717" not in page.text, path
        assert "\u202e" not in answer.text
    assert text.replace("\u202e", "\\u202e") in Page.of(browser.get("/retries").text).text


def test_no_template_switches_escaping_off() -> None:
    templates = (assets.FOLDER.parent / "templates").glob("*.html")
    assert [
        path.name
        for path in templates
        if "|safe" in path.read_text().replace(" ", "") or "autoescape" in path.read_text()
    ] == []


@pytest.mark.parametrize(("action", "path", "form"), CHANGES, ids=[f"{a} {p}" for a, p, _ in CHANGES])
def test_who_may_do_all_else_may_not_do_this(
    action: str, path: str, form: dict[str, str], redis: Redis, client: Client
) -> None:
    fill(redis, client)
    fill_queue(redis, 2)
    before = state(redis)
    app = jobd.web.app(client, auth=lambda request: "ann", authorize=lambda user, asked: asked != action)
    refused = Browser(app).post(path, form)
    assert (refused.status_code, action in refused.text) == (403, True)
    assert Browser(app).act(path, **form).status_code == 403
    assert state(redis) == before
    assert f'value="{action}"' not in Browser(app).get(path).text
    allowed = jobd.web.app(client, auth=lambda request: "ann", authorize=lambda user, asked: user == "ann")
    assert Browser(allowed).post(path, form).status_code == 303


def state(redis: Redis) -> dict[bytes, Any]:
    """All that is in Redis but the record of who asked for what."""
    found: Any = redis.keys("*")
    return {key: held(redis, key) for key in found if key != b"jobd:audit"}


def held(redis: Redis, key: bytes) -> Any:
    """What a key holds, the same for the same: Redis has no order of its own in hashes and sets."""
    match redis.type(key):
        case b"hash":
            return redis.hgetall(key)
        case b"set":
            return redis.smembers(key)
    return redis.dump(key)


@pytest.mark.parametrize(("action", "path", "form"), CHANGES, ids=[f"{a} {p}" for a, p, _ in CHANGES])
def test_a_read_only_dashboard_has_no_address_that_changes_anything(
    action: str, path: str, form: dict[str, str], redis: Redis, client: Client
) -> None:
    fill(redis, client)
    browser = Browser(jobd.web.app(client, read_only=True, auth=lambda request: "ann"))
    before = state(redis)
    assert browser.post(path, form).status_code == browser.act(path, **form).status_code == 405
    assert state(redis) == before
    page = browser.get(path).text
    assert "Read only" in page
    assert 'method="post"' not in page
    assert not [each for each in browser.data("/openapi.json")["paths"].values() if "post" in each]


def test_looking_changes_nothing(browser: Browser, redis: Redis, client: Client) -> None:
    fill(redis, client)
    before = state(redis)
    for path in (*GET_PAGES, "/jobs/rplain", "/jobs/bplain", "/retries?action=delete&all=yes&confirmed=yes"):
        browser.get(path)
    assert state(redis) == before


def test_without_anybody_who_tells_users_apart_nothing_can_be_changed(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "jobd"):
        app = jobd.web.app(client)
    assert "web.read_only" in caplog.text
    assert Browser(app).post("/queues/default", {"action": "pause"}).status_code == 405


def test_only_who_is_known_may_look(client: Client) -> None:
    app = jobd.web.app(client, auth=jobd.web.Basic({"ann": "pässword", "bob": "b"}))
    for shown in ("", basic("ann", "b"), basic("eve", "b"), "Basic !!!", "Basic", "Bearer b", basic("ann", "")):
        for path in ("/", "/api/v1/totals", "/stats", "/nothing", "/live", "/language?to=vi"):
            answer = Browser(app).get(path, authorization=shown)
            assert (answer.status_code, "Basic" in answer.headers["www-authenticate"]) == (401, True)
    page = Browser(app).get("/", authorization=basic("ann", "pässword"))
    assert page.status_code == 200
    assert "ann" in page.text


def test_below_the_interface_for_programs_every_refusal_is_json(client: Client) -> None:
    stranger = Browser(jobd.web.app(client, auth=jobd.web.Basic({"ann": "pw"})))
    looker = Browser(jobd.web.app(client, read_only=True))
    told = {
        401: stranger.get("/api/v1/retries"),
        403: Browser(jobd.web.app(client, authorize=lambda user, action: False)).get("/api/v1/retries"),
        404: looker.get("/api/v1/nothing"),
        405: looker.act("/retries", action="retry"),
    }
    for status, answer in told.items():
        assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert "Basic" in told[401].headers["www-authenticate"]
    assert "GET" in told[405].headers["allow"]
    assert stranger.get("/retries").headers["content-type"].startswith("text/plain")
    described = looker.data("/openapi.json")["paths"]["/overview"]["get"]
    assert {"401", "405", "429", "500"} <= described["responses"].keys()
    assert "range" in [each["name"] for each in described["parameters"]]


def test_the_function_of_a_host_application_may_be_async_and_says_who_may_look(client: Client) -> None:
    async def user_of(request: Any) -> str | None:
        return request.headers.get("x-user")

    async def authorize(user: str, action: str) -> bool:
        return user == "ann" or (user == "bob" and action == "view")

    app = jobd.web.app(client, auth=user_of, authorize=authorize)
    told = {user: Browser(app).get("/queues", **{"x-user": user}).status_code for user in ("ann", "bob", "eve")}
    assert told == {"ann": 200, "bob": 200, "eve": 403}
    assert Browser(app).get("/queues").status_code == 401
    post = Browser(app).post("/queues/x", {"action": "pause"}, **{"x-user": "bob"})
    assert post.status_code == 403


def test_users_without_a_password_and_origins_that_are_none_are_refused_at_once() -> None:
    for wrong in ({"ann": ""}, {"": "x"}, {"a:b": "x"}):
        with pytest.raises(ConfigError, match="auth: user"):
            jobd.web.Basic(wrong)
    with pytest.raises(ConfigError, match=r"'ops\.example\.com' is no origin"):
        jobd.web.app(trusted_origins=["ops.example.com"], read_only=True)


def test_under_other_names_than_its_own_it_does_not_answer(client: Client) -> None:
    app = jobd.web.app(client, read_only=True, hosts=["LocalHost", "::1"])
    told = {
        host: Browser(app).get("/", host=host).status_code
        for host in ("localhost:7", "[::1]:7", "[::1]", "evil.test", "[")
    }
    assert told == {"localhost:7": 200, "[::1]:7": 200, "[::1]": 200, "evil.test": 403, "[": 403}


JWT = "eyJhbGciOiJI." + "hunter2" * 60 + ".hunter2"
SECRETS = {
    "password": "hunter2",
    "apiKey": "hunter2",
    "X-Auth-Token": ["hunter2", {"deep": "hunter2"}],
    "nested": {"client_secret": "hunter2"},
    "url": "redis://user:hunter2@host/0",
    "text": "it failed with password = hunter2, token='hunter2' and api-key: hunter2",
    "json": '{"db_password": "hunter2"}',
    "header": "Authorization: Bearer hunter2hunter2",
    "jwt": "eyJhbGciOiJI.hunter2hunter2.hunter2",
    "stripe": "sk_live_hunter2",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
}


def test_secrets_leave_the_server_in_no_form(browser: Browser, redis: Redis, client: Client) -> None:
    now = time.time()
    fields = {
        "args": [SECRETS],
        "kwargs": SECRETS,
        "error_message": SECRETS["text"],
        "custom": SECRETS,
        "failed_at": now,
    }
    redis.zadd("retry", {payload("r1", **fields): now})
    redis.zadd("dead", {json.dumps(SECRETS): 6.0, b'{"password": "hunter2", broken': 5.0})
    fill_queue(redis, 1, **fields)
    hidden = {"jid": {"password": "hunter2"}, "queue": {"password": "hunter2"}}
    redis.zadd("dead", {json.dumps({"class": "HardJob", "args": [], "error_class": "E", **hidden}): now})
    info = {"hostname": "a", "pid": 1, "tag": SECRETS["text"], "labels": [SECRETS["url"]], "concurrency": 1}
    redis.sadd("processes", PROCESS)
    redis.hset(PROCESS, mapping={"info": json.dumps(info), "busy": 0, "beat": now, "quiet": "false"})
    CronSet(client).create("good", "@daily", "HardJob", description=SECRETS["text"])
    CronSet(client).create("bad", "@daily", "HardJob")
    redis.hset("cron_job:bad", "cron", "* * * * * token=hunter2")
    key = browser.data("/retries")["jobs"][0]["key"]
    paths = ["/retries", "/dead", "/queues/default", f"/jobs/r1?in=retries&key={key}", "/jobs/j0"]
    paths += ["/failures", "/busy", f"/busy/{PROCESS}", "/cron", "/cron/good", "/cron/bad"]
    live = [f"/live?{urlencode({'once': 1, 'page': path})}" for path in paths]
    paths += ["/cron-edit?name=good", "/cron-edit?name=bad"]
    for path in [*paths, *(f"/api/v1{path}" for path in paths), *live]:
        answer = browser.get(path)
        assert answer.status_code == 200
        assert "hunter2" not in answer.text, path
    shown = browser.data(paths[3])["job"]
    assert shown["arguments"][0]["password"] == HIDDEN
    assert shown["arguments"][0]["text"] == f"it failed with password = {HIDDEN}, token={HIDDEN} and api-key: {HIDDEN}"


def test_a_search_does_not_tell_what_is_hidden(browser: Browser, redis: Redis) -> None:
    fill_set(redis, "retry", 1, args=[{"password": "hunter2"}])
    for text, found in (("hunter2", 0), ("password", 1)):
        assert len(browser.data(f"/retries?q={text}")["jobs"]) == found
        assert browser.act("/retries", action="delete", all="yes", q=text).json()["count"] == found


def test_some_words_tell_a_secret_only_as_a_whole() -> None:
    keys = ("auth", "x_auth", "userAuth", "Auth", "AUTH", "http-auth", "card", "card_no", "creditCard", "CARD_1")
    keys += ("creditcard", "cards", "cardno", "cardholder", "oauth", "oauth2_id", "authcode", "AUTHKEY")
    for key in keys:
        assert Masker().value({key: "hunter2"}) == {key: HIDDEN}
        assert "hunter2" not in Masker().text(f'{{"{key}": "hunter2"}} {key}=hunter2')
    for key in ("author", "authorize", "discard", "cardinal", "Author", "DISCARD", "AUTHOR", "discardAll"):
        assert Masker().value({key: "plain"}) == {key: "plain"}
        assert Masker().text(f"{key}=plain") == f"{key}=plain"


def test_class_id_and_queue_are_shown_without_secrets_and_still_lead_to_the_job(browser: Browser, redis: Redis) -> None:
    raw = payload("token=hunter2", **{"class": "A?secret=hunter2", "queue": "q?password=hunter2"})
    redis.zadd("retry", {raw: 5.0, payload("y"): 6.0})
    page = browser.get("/retries").text
    assert "hunter2" not in page
    links = [str(each["href"]) for each in Page.of(page).all("a")]
    link = next(each for each in links if each.startswith("/jobs/") and "5.0~" in each.replace("%7E", "~"))
    shown = browser.get(link)
    assert (shown.status_code, "hunter2" in shown.text) == (200, False)
    for field in ("class", "queue"):
        link = next(each for each in links if Page.query(each).get("q", "").startswith(f"{field}:") and "%E2" in each)
        assert len(browser.data(f"/retries{link}")["jobs"]) == 1
    assert browser.data("/retries?q=class:*hunter2")["jobs"] == []


@pytest.mark.parametrize(
    "text",
    [
        "Password::ResetJob",
        "uninitialized constant Auth::Token::Refresh",
        "Auth::TokenError: expired",
        "TokenExpiredError: jwt expired at noon",
        "app.errors.CredentialsInvalid: no such user",
        "undefined method `rotate' for Secrets::Store:Class",
        "RefreshTokensJob: 3 tries, PasswordMailer: sent",
        "Private::Card::ChargeWorker: no route to host",
    ],
)
def test_names_of_classes_are_no_secrets(text: str) -> None:
    assert Masker().text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "Password: hunter2",
        "password:hunter2",
        "Auth::TokenError: token: hunter2",
        "Auth::Token=hunter2",
        "Secrets::API_KEY => 'hunter2'",
        "token_error: hunter2",
        "tokenError=hunter2",
        '{"TokenError": "hunter2"}',
        "MyJob(password: 'hunter2')",
        "Password::ResetJob password_hash: hunter2",
        "PÀSSWORD ü token: hunter2",
        "a-p_i-k e_y: hunter2",
        "BEARER hunter2",
        "Authorization: Token hunter2",
        'headers={"Authorization": "ApiKey hunter2"}',
        "Cookie: sid=abc; b=hunter2",
        "password=a,hunter2",
        "password=a;hunter2 is wrong",
        "iban=DE89 3704 hunter2".replace("hunter2", "0044 0532 0130 00"),
        "mysql --password hunter2 -e x",
        "?token%5B%5D=hunter2&x=1",
        "token%3Dhunter2",
        "access_key: hunter2",
        "PWD=hunter2",
    ],
)
def test_secrets_beside_names_of_classes_are_hidden(text: str) -> None:
    shown = Masker().text(text)
    assert "hunter2" not in shown
    assert "0532" not in shown


def test_what_stands_beside_a_secret_stays() -> None:
    hidden = f"f(password={HIDDEN}, user='bob'), token={HIDDEN},path=/x and https://user@host --pass-through"
    assert (
        Masker().text("f(password='x', user='bob'), token=abc,path=/x and https://user@host --pass-through") == hidden
    )


@pytest.mark.parametrize("secret", ["redis://user:hunter2@host", "AKIAHUNTER2HUNTER2HU", f"ghp_{'hunter2' * 5}", JWT])
@pytest.mark.parametrize("most", [preview.MOST_CHARACTERS, preview.MOST_WHOLE])
def test_where_a_text_is_cut_no_part_of_a_secret_is_left(secret: str, most: int) -> None:
    for shift in range(1, len(secret), len(secret) // 3):
        text = ("lorem " * most)[: most - shift - 2] + "x " + secret + " end"
        assert text[:most].endswith(secret[:shift])
        shown = Masker().text(preview.untorn(text, most))
        assert shown.endswith("x…")
        assert len(shown) > most - 6_200


def test_a_text_without_spaces_is_cut_between_values() -> None:
    for place in range(preview.MOST_WHOLE - 6_030, preview.MOST_WHOLE - 5_970):
        text = '{"a":"' + "x" * (place - 20) + '","db":"redis://user:hunter2@host","b":"' + "y" * 9_000 + '"}'
        assert "hunter" not in Masker().text(text)


def test_the_words_that_tell_secrets_can_be_chosen() -> None:
    masker = Masker(["pin"])
    assert masker.value({"PIN": 1, "password": 2}) == {"PIN": HIDDEN, "password": 2}
    assert masker.text("pin=1234 password=x") == f"pin={HIDDEN} password=x"
    assert Masker([]).value({"password": "x"}) == {"password": "x"}
    plain = {"author": "ann", "passenger_count": 3, "n": 10**30, "list": [None, True, 1.5]}
    assert Masker().value(plain) == {**plain, "passenger_count": HIDDEN}


@pytest.mark.parametrize("part", ["pass", "://a:", "eyJ", "-eyJaaaaa.", "token ", '"', "\\", "-----BEGIN ", "a", "://"])
def test_hiding_takes_no_longer_for_text_made_to_be_slow(part: str) -> None:
    text = part * (90_000 // len(part))
    began = time.process_time()
    Masker().text(text)
    assert time.process_time() - began < 1.0


def test_a_change_leaves_a_line_in_the_log_that_says_who_did_what(
    client: Client, redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    fill_set(redis, "dead", 3)
    browser = Browser(jobd.web.app(client, auth=lambda request: "ann\nweb.action {}"))
    with caplog.at_level(logging.INFO, "jobd"):
        browser.post("/dead", {"action": "delete", "all": "yes", "q": "HardJob", "confirmed": "yes"})
        browser.post("/queues/low", {"action": "pause"})
    lines = [record.getMessage() for record in caplog.records]  # a change of another test may just have ended
    deleted, paused = [line for line in lines if line.startswith("web.action ") and '"ann' in line]
    assert "\n" not in deleted
    told = json.loads(deleted.removeprefix("web.action "))
    assert (told["user"], told["action"], told["filter"]) == ("ann\nweb.action {}", "delete", "HardJob")
    assert (told["moved"], told["page"], told["result"]) == (3, "/dead", "done")
    assert json.loads(paused.removeprefix("web.action "))["target"] == "low"


@pytest.mark.parametrize(
    ("path", "form", "status"),
    [
        ("/retries", {"action": "explode", "key": "1.0~0123456789abcdef"}, 400),
        ("/retries", {"action": "retry"}, 400),
        ("/retries", {"action": "retry", "key": "nonsense"}, 400),
        ("/retries", {"action": "retry", "all": "yes", "until": "x"}, 400),
        ("/retries", {"action": "retry", "all": "yes", "q": "x" * 1_001}, 400),
        ("/retries", [("action", "retry"), *[("key", "1.0~0123456789abcdef")] * 201], 400),
        ("/retries", [("key", "x")] * 501, 400),
        ("/retries", {"action": "x" * 1_100_000}, 400),
        ("/busy", {"action": "quiet"}, 400),
        ("/queues/-?name=" + "x" * 1001, {"action": "pause"}, 400),
        ("/metrics", {}, 405),
    ],
)
def test_what_makes_no_sense_is_refused(path: str, form: Any, status: int, browser: Browser) -> None:
    answer = browser.post(path, form)
    assert answer.status_code == status


def test_requests_of_another_type_than_the_address_takes_are_refused(browser: Browser) -> None:
    assert browser.send("POST", "/api/v1/retries", b"action=retry", FORM).status_code == 400
    assert browser.send("POST", "/retries", b"{}", {"content-type": "application/json"}).status_code == 400
    assert browser.send("POST", "/api/v1/retries", b"[1]", {"content-type": "application/json"}).status_code == 400
    for path in ("/retries?after=nan~1", "/retries?q=x&cursor=-1", "/queues/default?offset=1e9", "/jobs/x?in=a&key=b"):
        assert browser.get(path).status_code in (400, 404)


@pytest.mark.parametrize("path", ["/", "/none", "/api/v1/totals", "/find", "/live"])
def test_an_address_with_too_many_parameters_is_refused(path: str, browser: Browser) -> None:
    answer = browser.get(f"{path}?{'a&' * 101}")
    assert (answer.status_code, "more than 100 parameters" in answer.text) == (400, True)
    assert answer.headers["content-security-policy"] == headers.policy_headers()["content-security-policy"]
    assert browser.get(f"/live?{urlencode({'once': 1, 'page': '/?' + 'a&' * 101})}").status_code == 400


@pytest.mark.parametrize("document", [b'{"q": "\\ud800"}', b'{"key": ["\\ud800"]}', b'{"\\ud800": 1}'])
def test_what_is_no_text_is_refused(document: bytes, browser: Browser) -> None:
    sent = document[:-1] + b', "action": "retry", "all": "yes"}'
    answer = browser.send("POST", "/api/v1/retries", sent, {"content-type": "application/json"})
    assert (answer.status_code, "surrogate" in answer.text) == (400, True)


def test_what_came_of_a_change_is_said_in_words_of_ours_alone(browser: Browser) -> None:
    page = browser.get("/queues?did=retry&moved=12&gone=<b>&text=evil").text
    assert "Put into their queues: 12." in page
    assert "evil" not in Page.of(page).text
    assert 'role="status"' not in browser.get("/queues?did=evil&moved=1").text


def test_a_dead_redis_is_said_at_once_and_no_password_with_it() -> None:
    client = Client("redis://user:hunter2@127.0.0.1:1/0")
    browser = Browser(jobd.web.app(client, read_only=True))
    for path in ("/", "/api/v1/totals", "/jobs/x"):
        answer = browser.get(path)
        assert answer.status_code == 503
        assert "hunter2" not in answer.text
        assert "127.0.0.1:1" in answer.text
    client.close()


def test_a_defect_shows_no_details_and_is_logged(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("jobd.web.pages.overview.health", lambda *totals: 1 / 0)
    answer = browser.get("/")
    assert (answer.status_code, "ZeroDivisionError" in answer.text) == (500, False)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("peer", "headers", "user"),
    [
        ("127.0.0.1", [("x-forwarded-user", "ann")], "ann"),
        ("10.1.2.3", [("x-forwarded-user", "ann")], "ann"),
        ("::ffff:10.1.2.3", [("x-forwarded-user", "ann")], "ann"),
        ("11.1.2.3", [("x-forwarded-user", "ann")], None),
        ("testclient", [("x-forwarded-user", "ann")], None),
        ("", [("x-forwarded-user", "ann")], None),
        ("127.0.0.1", [("x-forwarded-user", "eve"), ("x-forwarded-user", "ann")], None),
        ("127.0.0.1", [("x-forwarded-user", " ")], None),
        ("127.0.0.1", [], None),
    ],
)
def test_a_header_of_a_proxy_is_believed_only_of_the_proxy_and_only_once(
    peer: str, headers: list[tuple[str, str]], user: str | None
) -> None:
    trusted = jobd.web.TrustedHeader("X-Forwarded-User", peers=["127.0.0.1", "10.0.0.0/8"])
    raw = [(name.encode(), value.encode()) for name, value in headers]
    told = trusted(Request({"type": "http", "headers": raw, "client": (peer, 1) if peer else None}))
    assert (told.name if told else None) == user
    assert told is None or not told.by_token, "a browser adds it by itself"


def test_by_a_unix_socket_a_header_is_believed_if_that_is_said() -> None:
    request = Request({"type": "http", "headers": [(b"remote-user", b"ann")], "client": None})
    assert jobd.web.TrustedHeader("Remote-User", peers=["unix"])(request) == jobd.web.User("ann")
    for peers in ([], ["proxy.example.com"]):
        with pytest.raises(ConfigError, match="peers: "):
            jobd.web.TrustedHeader("Remote-User", peers=peers)


@pytest.mark.parametrize(
    "secret",
    [
        "redis://me:pass@host",
        "Bearer abc.def",
        "basic dXNlcjpwYXNz",
        "eyJhbGciOi.eyJzdWIi.sig",
        "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
        "sk_live_abc",
        "rk_test_9",
        "AKIAABCDEFGHIJKLMNOP",
        "ghp_abcdefghijklmnopqrstuvwxyz",
        "xoxb-1234567890-abc",
        "Bearer\tabc.def",
        "https://0123456789abcdef@sentry.io/1",
        "ASIAABCDEFGHIJKLMNOP",
        "glpat-abcdefghijklmnopqrst",
        "AIzaSyAbcdefghijklmnopqrstuvwxyz0123456",
        "sk-proj-abcdefghijklmnop",
        "sk-ant-abcdefghijklmnop",
        "whsec_abcdefghijklmnop",
    ],
)
def test_a_secret_of_each_shape_is_hidden_wherever_it_stands(secret: str) -> None:
    for text in (secret, f"a {secret}", f"({secret})", f"ă {secret}"):
        assert HIDDEN in Masker(()).text(text)
