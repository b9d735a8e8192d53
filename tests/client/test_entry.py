"""A job in Redis as people see it, whatever its bytes are."""

from __future__ import annotations

import json

import pytest

from jobd.client.entry import JobEntry, search_bytes, search_pattern
from tests.client.api import NOW, payload

FAILED = (
    b'{"retry":true,"queue":"default","backtrace":2,"args":["x"],"class":"FailJob","jid":"ced7948a5a50a7b794b8b273",'
    b'"created_at":1795305669.9274554,"enqueued_at":1795305716.8289485,"error_message":"boom \xc3\xa9 x",'
    b'"error_class":"ArgumentError","failed_at":1795305700.7499785,"retry_count":1,"error_backtrace":'
    b'"eJyLVtIvLirTTywo0C/PL8pOLSrWK0qyMjK2ysxTSEhJTS1QV9LBrsQQrKQg\\ntSgtvyhXXSkWALBYGSI=\\n",'
    b'"retried_at":1795305716.8349233,"tags":["eu"]}'
)


def test_every_field_of_a_failed_job_of_sidekiq_is_read() -> None:
    entry = JobEntry(FAILED)
    assert (entry.jid, entry.name, entry.queue, entry.args) == (
        "ced7948a5a50a7b794b8b273",
        "FailJob",
        "default",
        ["x"],
    )
    assert (entry.error_class, entry.error_message, entry.retry_count) == ("ArgumentError", "boom é x", 1)
    assert (entry.created_at, entry.failed_at, entry.retried_at) == (
        1795305669.9274554,
        1795305700.7499785,
        1795305716.8349233,
    )
    assert entry.error_backtrace == ["/srv/app/workers.rb:23:in `deep'", "/srv/app/workers.rb:21:in `perform'"]
    assert (entry.tags, entry.problem, entry.unknown_since, entry.kwargs) == (["eu"], "", None, {})
    assert entry.raw == FAILED


@pytest.mark.parametrize("stamp", [NOW, int(NOW * 1000), int(NOW), str(NOW), "2026-11-22T00:01:10Z"])
def test_a_time_is_epoch_seconds_however_it_was_written(stamp: object) -> None:
    entry = JobEntry(payload("a", enqueued_at=stamp))
    assert entry.enqueued_at == NOW
    assert entry.latency(NOW + 5) == 5.0


def test_without_a_time_of_entering_the_creation_counts() -> None:
    assert JobEntry(payload("a")).latency(NOW + 7) == 7.0
    assert JobEntry(b'{"class":"A"}').latency(NOW) == 0.0


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"{bad json", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[1]", "not an object"),
        (b"{}", "names no class"),
        (b'{"class":"A","args":"x"}', "not an array"),
        (b"[" * 5_000 + b"]" * 5_000, "nested too deeply"),
    ],
)
def test_what_is_no_job_says_why_and_raises_nothing(raw: bytes, problem: str) -> None:
    entry = JobEntry(raw)
    assert entry.malformed
    assert problem in entry.problem
    assert (entry.args, entry.jid, entry.tags, entry.error_backtrace, entry.retry_count) == ([], "", [], [], None)


def test_fields_of_wrong_types_raise_nothing() -> None:
    raw = payload("a", tags="x", retry_count="3", created_at={}, error_message=[1], kwargs=1, error_backtrace=2)
    entry = JobEntry(raw.replace(b'"jid":"a"', b'"jid":7'))
    assert (entry.jid, entry.tags, entry.retry_count, entry.created_at) == ("7", [], None, None)
    assert (entry.error_message, entry.kwargs, entry.error_backtrace) == ("[1]", {}, [])


def active_job(job: str, arguments: list[object]) -> JobEntry:
    inner = {"job_class": job, "arguments": arguments}
    return JobEntry(json.dumps({"class": "Sidekiq::ActiveJob::Wrapper", "wrapped": job, "args": [inner]}).encode())


def test_an_active_job_shows_its_own_name_and_arguments() -> None:
    symbols = {"locale": "en", "_aj_symbol_keys": ["locale"]}
    time = {"_aj_serialized": "ActiveJob::Serializers::TimeSerializer", "value": "2026-11-22T00:00:00Z"}
    entry = active_job("UserJob", [1, {"_aj_globalid": "gid://app/User/7"}, symbols, time])
    assert (entry.name, entry.wrapped) == ("UserJob", "UserJob")
    assert entry.args == [1, "gid://app/User/7", {"locale": "en"}, "2026-11-22T00:00:00Z"]


def test_a_mail_shows_mailer_and_method() -> None:
    rest = {"args": [7], "_aj_ruby2_keywords": ["args"]}
    entry = active_job("ActionMailer::MailDeliveryJob", ["UserMailer", "welcome", "deliver_now", rest])
    assert (entry.name, entry.args) == ("UserMailer#welcome", [7])


def test_text_is_searched_for_as_it_stands_in_a_payload() -> None:
    assert search_bytes('say "é"') == b'say \\"\xc3\xa9\\"'
    assert search_pattern("a*[b]?\\") == b"*a\\*\\[b\\]\\?\\\\\\\\*"
