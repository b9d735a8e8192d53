"""What comes from Redis is text on every page, and no secret gets into a page, an answer or an event."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from jobd.client import metric_keys
from jobd.client.cron_set import CronSet
from jobd.client.keys import Keys
from jobd.web.masking import HIDDEN
from tests.browser.acts import enter, of_all, press
from tests.browser.conftest import OpenPage
from tests.browser.dashboards import Dashboard, dashboard_of
from tests.browser.places import PATTERNS, path_of
from tests.client.api import payload
from tests.servers import RedisServer
from tests.web.browser import PROCESS, fill

HOSTILE = (
    "<script>window.planted=1;alert(1)</script><b data-planted>",
    '"><img src=x onerror=alert(1) data-planted>',
    "' onmouseover='alert(1)' data-planted='",
    "</title></textarea></pre></script></svg><svg onload=alert(1) data-planted>",
    "--></script><iframe srcdoc='<script>parent.planted=1</script>' data-planted>",
    '<a data-planted hx-get="//evil.test/" hx-trigger="load">',
    "&lt;img src=x onerror=alert(1) data-planted&gt;",
    "javascript:alert(1)//",
    "{{ 81239*3 }}${81239*3}{% raw %}",
    "\u202egnp.exe\u2028\u0000",
    "../../etc/passwd?x=1&y=2#z%00",
)
SECRETS = {
    "password": "hunter2-planted",
    "text": "api_key=planted-in-text",
    "url": "redis://app:planted-in-url@redis.test:6379",
    "bearer": "Authorization: Bearer planted-in-bearer",
    "live": "sk_live_planted",
}
PLANTED = ("hunter2-planted", "planted-in-text", "planted-in-url", "planted-in-bearer", "sk_live_planted")
CAME_FROM_DATA = """() => {
    const found = [];
    for (const each of document.querySelectorAll('*')) {
        for (const {name, value} of each.attributes) {
            const link = ['href', 'src', 'action', 'hx-get', 'hx-post'].includes(name) && !value.startsWith('data:');
            const drawn = name === 'style' && each.closest('.uplot');
            if (name.startsWith('on') || (name === 'style' && !drawn) || name === 'data-planted' || name === 'srcdoc'
                || (link && new URL(value, location).origin !== location.origin))
                found.push(`${name} of ${each.outerHTML.slice(0, 200)}`);
        }
        if (each.tagName === 'IFRAME' || (each.tagName === 'SCRIPT' && !each.src && each.type !== 'application/json'))
            found.push(each.outerHTML.slice(0, 200));
    }
    if ('planted' in window) found.push('a script ran');
    if (document.body.innerText.includes('243717')) found.push('an expression was computed');
    if (document.body.innerText.includes('\\u202e')) found.push('text is turned');
    return found;
}"""


@pytest.fixture(scope="module")
def dashboard() -> Iterator[Dashboard]:
    """A dashboard of jobs, queues, processes and cron entries all of whose texts are hostile, and of secrets."""
    with RedisServer() as server, dashboard_of(server) as found:
        for number, text in enumerate(HOSTILE):
            fill(found.redis, found.client, text)
            _add_process(found, f"{text}:{number}:abc", text)
        _add_secrets(found)
        yield found


def _add_process(found: Dashboard, identity: str, text: str) -> None:
    """Another process, since those of `fill` have one name."""
    for suffix in ("", ":work"):
        found.redis.copy(f"{PROCESS}{suffix}", f"{identity}{suffix}", replace=True)
    info = {"hostname": text, "pid": 1, "tag": text, "concurrency": 5, "queues": [text], "labels": [text]}
    found.redis.hset(identity, "info", json.dumps({**info, "version": text, "identity": identity}))
    found.redis.sadd("processes", identity)
    found.redis.sadd("paused", f"q{text}")


def _add_secrets(found: Dashboard) -> None:
    fields = {"args": [SECRETS], "error_class": "Broken", "error_message": " and ".join(list(SECRETS.values())[1:])}
    traced = {
        **fields,
        "kwargs": SECRETS,
        "error_backtrace": list(SECRETS.values())[1:],
        "extra": SECRETS,
        "retry_count": 1,
    }
    now = time.time()
    for key, at in (("retry", now), ("schedule", now + 1), ("dead", now)):
        found.redis.zadd(key, {payload(f"secret-{key}", **{"class": "Keeper"}, **traced): at})
    found.redis.lpush("queue:default", payload("secret-queue", **{"class": "Keeper"}, **traced))
    work = {"queue": "default", "run_at": int(now), "payload": payload("secret-busy", **traced).decode()}
    found.redis.hset(f"{PROCESS}:work", "t2", json.dumps(work))
    minute = metric_keys.slot(now - 60, metric_keys.MINUTE)
    found.redis.hset(Keys().metrics(minute), mapping={"Keeper|p": 3, "Keeper|f": 1, "Keeper|ms": 90})
    CronSet(found.client).create("keeper", "*/5 * * * *", "Keeper", args=[SECRETS], description=SECRETS["text"])


def every_address(dashboard: Dashboard) -> list[str]:
    """Each page of the site, each job of each list, each queue, and searches."""
    found = [path_of(pattern, dashboard) for pattern in PATTERNS]
    for place in ("retries", "scheduled", "dead"):
        jobs = dashboard.api(f"/{place}")["jobs"]
        found += [f"/jobs/-?in={place}&key={quote(job['key'])}" for job in jobs]
        found += [f"/{place}?q={quote(text)}" for text in ("<b", "Keeper")]
    queues = [queue["name"] for queue in dashboard.api("/queues")["queues"]]
    found += [f"/jobs/secret-{place}" for place in ("retry", "queue", "busy")]
    return found + [f"/queues/-?name={quote(name, errors='surrogateescape')}" for name in queues]


def test_on_every_page_text_from_redis_stays_text_and_secrets_are_hidden(dashboard: Dashboard, page: Page) -> None:
    addresses = every_address(dashboard)
    assert len(addresses) > 3 * len(HOSTILE)
    faults: dict[str, list[str]] = {}
    for address in addresses:
        page.goto(address)
        html = page.content()
        faults[address] = [*page.evaluate(CAME_FROM_DATA), *(secret for secret in PLANTED if secret in html)]
    assert {address: found for address, found in faults.items() if found} == {}
    page.goto("/jobs/secret-retry")
    expect(page.locator("main")).to_contain_text(HIDDEN)


def test_hostile_text_is_seen_as_it_is(dashboard: Dashboard, page: Page) -> None:
    page.goto("/dead")
    for text in HOSTILE[:4]:
        expect(page.locator("main")).to_contain_text(text)


def test_a_question_about_hostile_text_shows_it_as_text(page: Page) -> None:
    for path, text in (("/retries", "<b"), ("/dead", "onerror=alert(1)")):
        page.goto(path)
        enter(page.locator("main input[name=q]:visible"), text)
        assert page.evaluate(CAME_FROM_DATA) == []
        press(of_all(page), "delete")
        expect(page.locator("input[name=confirmed]").first).to_be_attached()
        assert page.evaluate(CAME_FROM_DATA) == []


def test_a_form_sent_from_a_page_of_somebody_else_changes_nothing(
    dashboard: Dashboard, chrome: Any, open_page: OpenPage
) -> None:
    context = chrome.new_context()
    page = context.new_page()
    page.set_content(
        f'<form method="post" action="{dashboard.url_of("/queues/default")}"><input name="action" value="pause">'
        "<button>Win a prize</button></form>"
    )
    with page.expect_response("**/queues/default") as answer:
        page.get_by_role("button").click()
    context.close()
    assert answer.value.status == 403
    assert not dashboard.redis.sismember("paused", "default")


def test_no_page_can_be_framed(dashboard: Dashboard, chrome: Any) -> None:
    context = chrome.new_context()
    page = context.new_page()
    page.set_content(f'<iframe src="{dashboard.url_of("/")}"></iframe>')
    assert "Retries" not in page.frames[-1].content()
    context.close()


def test_no_secret_is_in_any_answer_for_programs_or_event(dashboard: Dashboard, page: Page) -> None:
    addresses = ["/overview" if path == "/" else path for path in every_address(dashboard)]
    answers = {f"/api/v1{address}": dashboard.read(f"/api/v1{address}").decode() for address in addresses}
    page.goto("/retries")
    answers["/live"] = page.evaluate("""async () => {
        const reader = (await fetch('/live')).body.getReader();
        const text = new TextDecoder().decode((await reader.read()).value);
        await reader.cancel();
        return text;
    }""")
    assert "data:" in answers["/live"]
    assert {address: secret for address, text in answers.items() for secret in PLANTED if secret in text} == {}
    assert HIDDEN in json.loads(answers["/api/v1/jobs/secret-retry"])["job"]["error_message"]
