"""What becomes of a job that failed, or whose class is unknown: tables of cases, without Redis or a clock."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.client.payload import decode_backtrace, encode
from jobd.client.policies import DISCARD, KILL, DiscardOn, RetryLater, RetryOn, Verdict
from jobd.worker.outcome import Dead, Deferred, Discarded, RetryAt
from jobd.worker.retry import (
    Advice,
    RetryPolicy,
    after_failure,
    error_class,
    expired_since,
    postponed,
    retry_delay,
    retry_on_delay,
    unknown_class,
)

NOW = 1795305700.75
JOB = {"retry": True, "queue": "default", "args": ["x"], "class": "FailJob", "jid": "ced7948a5a50a7b794b8b273"}
RETRIED = {"failed_at": NOW - 16, "error_message": "older", "error_class": "OSError"}


def fail(
    payload: dict[str, Any],
    error: BaseException | None = None,
    *,
    queue: str = "default",
    jitter: float = 0.0,
    advice: Advice | None = None,
    **given: Any,
) -> RetryAt | Dead | Discarded:
    return after_failure(
        payload,
        error or ValueError("boom"),
        queue=queue,
        now=NOW,
        jitter=jitter,
        policy=RetryPolicy(**given),
        advice=advice,
    )


def kept(outcome: object) -> dict[str, Any]:
    assert isinstance(outcome, RetryAt | Dead)
    return outcome.payload


def raised(error: BaseException) -> BaseException:
    """The error with a traceback of two known functions."""

    def deep() -> None:
        raise error

    try:
        deep()
    except BaseException as caught:
        return caught
    raise AssertionError


def test_the_waits_of_25_retries_are_those_of_sidekiq() -> None:
    bases = [retry_delay(count, 0.0) for count in range(25)]
    assert bases[:5] == [15, 16, 31, 96, 271]
    assert bases[24] == 331791
    assert sum(bases) == 1_763_395


@pytest.mark.parametrize(
    ("count", "jitter", "delay"), [(0, 0.0, 15), (0, 0.99999, 24), (1, 0.99999, 35), (24, 0.99999, 332040)]
)
def test_jitter_adds_whole_seconds_below_ten_for_each_failure(count: int, jitter: float, delay: float) -> None:
    assert retry_delay(count, jitter) == delay


@given(st.integers(0, 200), st.floats(0, 1, exclude_max=True))
def test_jitter_stays_within_its_bounds(count: int, jitter: float) -> None:
    added = retry_delay(count, jitter) - (count**4 + 15)
    assert added == int(added)
    assert 0 <= added <= 10 * (count + 1) - 1


def test_the_first_failure_of_the_capture() -> None:
    outcome = fail({**JOB, "created_at": 1.5, "enqueued_at": 2.5}, ValueError("boom é x"), jitter=0.15)
    assert isinstance(outcome, RetryAt)
    assert outcome.at == NOW + 16
    assert list(outcome.payload.items()) == [
        *JOB.items(),
        ("created_at", 1.5),
        ("enqueued_at", 2.5),
        ("error_message", "boom é x"),
        ("error_class", "ValueError"),
        ("failed_at", NOW),
        ("retry_count", 0),
    ]


def test_the_second_failure_of_the_capture() -> None:
    outcome = fail({**JOB, "retry_count": 0, **RETRIED}, ValueError("boom é x"))
    assert isinstance(outcome, RetryAt)
    assert outcome.at == NOW + 16
    assert outcome.payload == {
        **JOB,
        "error_message": "boom é x",
        "error_class": "ValueError",
        "failed_at": NOW - 16,
        "retry_count": 1,
        "retried_at": NOW,
    }


def test_the_death_of_the_capture() -> None:
    outcome = fail({**JOB, "retry": 1, "retry_count": 0, **RETRIED}, RuntimeError("always"))
    assert isinstance(outcome, Dead)
    assert outcome.payload == {
        **JOB,
        "retry": 1,
        "error_message": "always",
        "error_class": "RuntimeError",
        "failed_at": NOW - 16,
        "retry_count": 1,
        "retried_at": NOW,
    }


def test_without_retries_the_first_failure_is_the_death_of_the_capture() -> None:
    outcome = fail({**JOB, "retry": 0}, RuntimeError("zero"))
    assert isinstance(outcome, Dead)
    assert outcome.payload == {
        **JOB,
        "retry": 0,
        "error_message": "zero",
        "error_class": "RuntimeError",
        "failed_at": NOW,
        "retry_count": 0,
    }


@pytest.mark.parametrize(
    ("retry", "count", "kind"),
    [
        (True, 23, RetryAt),
        (True, 24, Dead),
        (3, 1, RetryAt),
        (3, 2, Dead),
        (3, 7, Dead),
        (0, None, Dead),
        (1, None, RetryAt),
        (-1, None, Dead),
        (100, 98, RetryAt),
        (False, None, Discarded),
        (False, 3, Discarded),
        (None, 23, RetryAt),
        (None, 24, Dead),
        ("5", 23, RetryAt),
        ("5", 24, Dead),
        ("yes", 23, RetryAt),
        ("yes", 24, Dead),
        ("", None, RetryAt),
        (2.0, 23, RetryAt),
        ([], 24, Dead),
    ],
)
def test_the_option_retry_decides_how_often(retry: object, count: int | None, kind: type) -> None:
    payload = {**JOB, "retry": retry} if count is None else {**JOB, "retry": retry, "retry_count": count}
    assert isinstance(fail(payload), kind)


def test_without_the_option_the_process_decides_how_often() -> None:
    payload = {"class": "A", "args": [], "retry_count": 1}
    assert isinstance(fail(payload, max_retries=3), RetryAt)
    assert isinstance(fail(payload, max_retries=2), Dead)
    assert isinstance(fail({"class": "A", "args": []}, max_retries=0), Dead)


@pytest.mark.parametrize(
    ("option", "first_failure", "kind"),
    [(3600, NOW - 3599, RetryAt), (3600, NOW - 3600, Dead), (0.5, NOW - 1, Dead), (3600, None, RetryAt)],
)
def test_retry_for_replaces_the_number_of_retries(option: float, first_failure: float | None, kind: type) -> None:
    first = {} if first_failure is None else {"failed_at": first_failure}
    for retry in (0, 1, True):
        payload = {**JOB, "retry": retry, "retry_for": option, "retry_count": 30, **first}
        assert isinstance(fail(payload), kind)


@pytest.mark.parametrize("failed_at", [int((NOW - 10) * 1000), NOW - 10, str(NOW - 10), "2026-11-22T00:01:30Z"])
def test_retry_for_understands_every_form_of_the_first_failure(failed_at: object) -> None:
    payload = {**JOB, "retry_count": 0, "failed_at": failed_at}
    assert isinstance(fail({**payload, "retry_for": 60}), RetryAt)
    assert isinstance(fail({**payload, "retry_for": 9}), Dead)


@pytest.mark.parametrize("option", [True, "60", None, [60]])
def test_a_strange_retry_for_counts_as_none(option: object) -> None:
    assert isinstance(fail({**JOB, "retry": 1, "retry_for": option, "retry_count": 0}), Dead)


def test_retries_go_to_the_retry_queue() -> None:
    assert kept(fail({**JOB, "retry_queue": "slow"}))["queue"] == "slow"


@pytest.mark.parametrize("strange", [None, "", 5, ["slow"]])
def test_without_a_usable_retry_queue_they_go_where_the_job_was_fetched(strange: object) -> None:
    assert kept(fail({**JOB, "retry_queue": strange}, queue="fetched"))["queue"] == "fetched"


def test_dead_false_drops_the_job_at_its_end_and_not_before() -> None:
    job = {**JOB, "retry": 1, "dead": False}
    assert isinstance(fail(job), RetryAt)
    end = fail({**job, "retry_count": 0})
    assert isinstance(end, Discarded)
    assert "dead=False" in end.reason


def test_retry_false_says_so() -> None:
    end = fail({**JOB, "retry": False})
    assert isinstance(end, Discarded)
    assert "retry=False" in end.reason


def test_a_retry_by_hand_costs_none() -> None:
    """The API takes one off: a job with 0 comes back with -1, and is retried, not failed for the first time."""
    payload = kept(fail({**JOB, "retry_count": -1, "failed_at": NOW - 99}))
    assert (payload["retry_count"], payload["failed_at"], payload["retried_at"]) == (0, NOW - 99, NOW)


def test_a_count_without_a_first_failure_gets_one() -> None:
    payload = kept(fail({**JOB, "retry_count": 3}))
    assert (payload["failed_at"], payload["retried_at"]) == (NOW, NOW)


@pytest.mark.parametrize("strange", ["3", None, 2.0, True, [1]])
def test_a_strange_count_is_a_first_failure(strange: object) -> None:
    payload = kept(fail({**JOB, "retry_count": strange}))
    assert (payload["retry_count"], payload["failed_at"]) == (0, NOW)
    assert "retried_at" not in payload


def test_times_can_be_the_milliseconds_of_sidekiq_8() -> None:
    first = kept(fail(JOB, timestamps="ms"))
    assert (first["failed_at"], type(first["failed_at"])) == (1795305700750, int)
    assert kept(fail(first, timestamps="ms"))["retried_at"] == 1795305700750


def test_what_it_does_not_know_it_keeps() -> None:
    assert kept(fail({**JOB, "cattr": {"user": 7}, "bid": "b"}))["cattr"] == {"user": 7}


def test_the_payload_that_failed_is_not_changed() -> None:
    before = dict(JOB)
    fail(before)
    assert before == JOB


class Own(Exception):
    """An error of an application."""


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


class NotText(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # what the test is about


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError(), "ValueError"),
        (SystemExit(1), "SystemExit"),
        (ConnectionResetError(), "ConnectionResetError"),
        (Own(), f"{__name__}.Own"),
        (json.JSONDecodeError("x", "y", 0), "json.decoder.JSONDecodeError"),
    ],
)
def test_built_in_errors_are_named_bare_and_others_in_full(error: BaseException, name: str) -> None:
    assert error_class(error) == name


def test_a_long_message_is_clipped() -> None:
    assert kept(fail(JOB, ValueError("é" * 10_001)))["error_message"] == "é" * 10_000


def test_a_message_with_half_a_character_can_still_be_written() -> None:
    payload = kept(fail(JOB, ValueError("file \udce9.txt")))
    assert payload["error_message"] == "file ?.txt"
    assert encode(payload)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Unprintable(), "(its message cannot be shown: RuntimeError)"),
        (NotText(), "(its message cannot be shown: TypeError)"),
        (ValueError(), ""),
    ],
)
def test_an_error_that_cannot_be_shown_is_still_a_failure(error: BaseException, message: str) -> None:
    assert kept(fail(JOB, error))["error_message"] == message


@given(st.text(st.characters()), st.booleans())
def test_any_message_can_be_written_and_read_again(text: str, again: bool) -> None:
    job = {**JOB, **RETRIED, "retry_count": 0} if again else JOB
    payload = kept(fail(job, ValueError(text)))
    assert json.loads(encode(payload)) == payload
    assert len(payload["error_message"]) <= 10_000


def test_a_backtrace_is_kept_only_when_asked_for() -> None:
    error = raised(ValueError("boom"))
    for option in (False, None, 0):
        assert "error_backtrace" not in kept(fail({**JOB, "backtrace": option}, error))
    assert "error_backtrace" not in kept(fail(JOB, error))


def test_a_whole_backtrace_has_the_innermost_line_first() -> None:
    stored = kept(fail({**JOB, "backtrace": True}, raised(ValueError("boom"))))["error_backtrace"]
    assert "\n" not in stored
    inner, outer = decode_backtrace(stored)
    assert inner.startswith(__file__)
    assert inner.endswith(":in `deep'")
    assert outer.endswith(":in `raised'")


def test_a_backtrace_can_be_cut_to_its_first_lines() -> None:
    stored = kept(fail({**JOB, "backtrace": 1}, raised(ValueError("boom"))))["error_backtrace"]
    [line] = decode_backtrace(stored)
    assert line.endswith(":in `deep'")


@pytest.mark.parametrize(
    ("option", "kept_lines"),
    [(2, 2), ("2", 2), (" 1x", 1), ("all", 0), (1.9, 1), ([1], 0), (99, 2), ("99999999999999", 2)],
)
def test_a_backtrace_option_of_another_kind_is_read_as_ruby_reads_it(option: object, kept_lines: int) -> None:
    stored = kept(fail({**JOB, "backtrace": option}, raised(ValueError("boom")))).get("error_backtrace", "")
    assert len(decode_backtrace(stored)) == kept_lines


def test_a_backtrace_is_cleaned_before_it_is_cut() -> None:
    class Cleaner(Advice):
        def clean(self, lines: list[str]) -> list[str]:
            return [line.rpartition("/")[2] for line in lines]

    stored = kept(fail({**JOB, "backtrace": 1}, raised(ValueError("boom")), advice=Cleaner()))["error_backtrace"]
    [line] = decode_backtrace(stored)
    assert line.startswith("test_retry.py:")


class Says(Advice):
    """An application that has an answer ready, and notes what it was asked."""

    def __init__(
        self,
        rule: RetryOn | DiscardOn | None = None,
        *,
        wait: float | None = None,
        retry_in: float | Verdict | None = None,
        drop: bool = False,
    ) -> None:
        self.rule, self._wait, self._retry_in, self._drop = rule, wait, retry_in, drop
        self.asked: list[str] = []

    def wait(self, count: int) -> float | None:
        self.asked.append(f"wait {count}")
        return self._wait

    def retry_in(self, count: int, failed: Mapping[str, Any]) -> float | Verdict | None:
        self.asked.append(f"retry_in {count}")
        return self._retry_in

    def exhausted(self, failed: Mapping[str, Any]) -> bool:
        self.asked.append(f"exhausted {failed['retry_count']}")
        return self._drop


def asks(count: int) -> float:
    raise AssertionError("the decision asks the advice, not the function")


RULE = RetryOn(ValueError, wait=7, attempts=3, jitter=0.5)
UNLIMITED = RetryOn(ValueError, attempts=None, jitter=0.0)
CALLED = RetryOn(ValueError, wait=asks, attempts=3)
LAST = {"retry_on_counts": {"ValueError": 2}, "retry_count": 1, "failed_at": NOW - 9}


@pytest.mark.parametrize(
    ("fields", "advice", "expected", "asked"),
    [
        # no policies: the option `retry` alone
        ({}, Says(), 15, ["retry_in 0"]),
        ({"retry": False}, Says(), "retry=False", []),
        ({"retry": 0}, Says(), "dead", ["exhausted 0"]),
        ({"retry": 0, "dead": False}, Says(), "dead=False", ["exhausted 0"]),
        ({"retry": 0}, Says(drop=True), "retries_exhausted returned jobd.DISCARD", ["exhausted 0"]),
        ({"retry": 0, "dead": False}, Says(drop=True), "dead=False", ["exhausted 0"]),
        # retry_in: in place of the curve, only while retries are left
        ({}, Says(retry_in=60.0), 60, ["retry_in 0"]),
        ({"retry_count": 4}, Says(retry_in=0.5), 0.5, ["retry_in 5"]),
        ({"retry_count": 1}, Says(retry_in=0.0), 31, ["retry_in 2"]),
        ({"retry_count": 1}, Says(retry_in=-5.0), 31, ["retry_in 2"]),
        ({}, Says(retry_in=DISCARD), "retry_in returned jobd.DISCARD", ["retry_in 0"]),
        ({}, Says(retry_in=KILL), "dead", ["retry_in 0", "exhausted 0"]),
        ({"dead": False}, Says(retry_in=KILL), "dead=False", ["retry_in 0", "exhausted 0"]),
        ({}, Says(retry_in=KILL, drop=True), "retries_exhausted", ["retry_in 0", "exhausted 0"]),
        ({"retry": 1, "retry_count": 0}, Says(retry_in=60.0), "dead", ["exhausted 1"]),
        ({"retry": False}, Says(retry_in=60.0), "retry=False", []),
        # discard_on: before everything else
        ({}, Says(DiscardOn((ValueError,)), retry_in=60.0), "discard_on", []),
        ({"retry": 0}, Says(DiscardOn((ValueError,))), "discard_on", []),
        # retry_on: its own attempts, whatever the option says, then the ordinary way from its beginning
        ({}, Says(RULE), 7, []),
        ({"retry": False}, Says(RULE), 7, []),
        ({"retry": 0}, Says(RULE), 7, []),
        ({"retry_on_counts": {"ValueError": 1}}, Says(RULE), 7, []),
        ({"retry_on_counts": {"OSError": 9}}, Says(RULE), 7, []),
        (LAST, Says(RULE), 15, ["retry_in 0"]),
        ({**LAST, "retry_count": 2}, Says(RULE), 16, ["retry_in 1"]),
        ({**LAST, "retry_count": 1, "retry": 1}, Says(RULE), 15, ["retry_in 0"]),
        ({**LAST, "retry_count": 2, "retry": 1}, Says(RULE), "dead", ["exhausted 3"]),
        ({**LAST, "retry": False}, Says(RULE), "retry=False", []),
        ({**LAST, "retry": 0}, Says(RULE), "dead", ["exhausted 2"]),
        ({**LAST, "retry_count": -1}, Says(RULE), 15, ["retry_in 0"]),
        ({"retry_on_counts": {"ValueError": 9}}, Says(UNLIMITED), 1024, []),
        ({"retry_on_counts": "odd"}, Says(RULE), 7, []),
        ({"retry_on_counts": {"ValueError": "odd"}}, Says(RULE), 7, []),
        ({}, Says(RetryOn(ValueError, attempts=1)), 15, ["retry_in 0"]),
        ({"retry_for": 5, "failed_at": NOW - 9, "retry_count": 0}, Says(RULE), 7, []),
        ({**LAST, "retry_for": 5}, Says(RULE), "dead", ["exhausted 2"]),
        # … with a function: its answer, else the default
        ({}, Says(CALLED, wait=0.25), 0.25, ["wait 1"]),
        ({}, Says(CALLED, wait=0.0), 0, ["wait 1"]),
        ({"retry_on_counts": {"ValueError": 1}}, Says(CALLED), 4, ["wait 2"]),
    ],
)
def test_the_table_of_decisions(fields: dict[str, Any], advice: Says, expected: float | str, asked: list[str]) -> None:
    advice.asked.clear()
    outcome = fail({**JOB, **fields}, advice=advice)
    assert advice.asked == asked
    if isinstance(expected, str):
        assert isinstance(outcome, Dead if expected == "dead" else Discarded)
        assert isinstance(outcome, Dead) or expected in outcome.reason
    else:
        assert isinstance(outcome, RetryAt)
        assert outcome.at - NOW == expected


def test_the_retries_of_a_rule_are_failures_of_the_same_job_counted_twice() -> None:
    first = kept(fail({**JOB, "backtrace": True}, raised(ValueError("boom")), advice=Says(RULE)))
    assert first["retry_on_counts"] == {"ValueError": 1}
    assert (first["retry_count"], first["failed_at"], first["error_class"]) == (0, NOW, "ValueError")
    assert first["jid"] == JOB["jid"]
    assert "error_backtrace" in first
    second = kept(fail(first, advice=Says(RULE)))
    assert (second["retry_on_counts"], second["retry_count"], second["retried_at"]) == ({"ValueError": 2}, 1, NOW)
    third = kept(fail(second, advice=Says(RULE)))
    assert (third["retry_on_counts"], third["retry_count"]) == ({"ValueError": 2}, 2)


def test_each_rule_has_attempts_of_its_own() -> None:
    other = RetryOn(OSError, TimeoutError, wait=1, attempts=2, jitter=0.0)
    payload = kept(fail({**JOB, **LAST}, OSError(), advice=Says(other)))
    assert payload["retry_on_counts"] == {"ValueError": 2, "OSError,TimeoutError": 1}


def test_the_retries_of_a_rule_may_have_a_queue_of_their_own() -> None:
    rule = RetryOn(ValueError, queue="slow")
    assert kept(fail({**JOB, "retry_queue": "again"}, advice=Says(rule)))["queue"] == "slow"
    assert kept(fail({**JOB, "retry_queue": "again"}, advice=Says(RULE)))["queue"] == "again"
    assert kept(fail(JOB, queue="fetched", advice=Says(RULE)))["queue"] == "fetched"


@pytest.mark.parametrize(
    ("rule", "count", "jitter", "seconds"),
    [
        *((RetryOn(OSError), n, 0.0, 2**n) for n in (1, 2, 3, 10)),
        (RetryOn(OSError, wait="exponential", jitter=0.15), 3, 0.5, 8 * 1.075),
        *((RetryOn(OSError, wait="polynomial"), n, 0.0, n**4 + 2) for n in (1, 2, 3, 10)),
        (RetryOn(OSError, wait="polynomial", jitter=0.5), 3, 0.5, 81 * 1.25 + 2),
        (RetryOn(OSError, wait=3), 4, 0.0, 3),
        (RetryOn(OSError, wait=3, jitter=1.0), 4, 0.5, 4.5),
        (RetryOn(OSError, wait=timedelta(minutes=2), jitter=0), 1, 0.9, 120),
        (RetryOn(OSError, attempts=None, jitter=0), 10**400, 0.5, 604_800),
        (RetryOn(OSError, wait="polynomial", jitter=0), 10**400, 0.5, 604_802),
    ],
)
def test_the_waits_of_a_rule(rule: RetryOn, count: int, jitter: float, seconds: float) -> None:
    assert retry_on_delay(rule, count, jitter) == pytest.approx(seconds)


def test_a_wait_that_retry_in_chose_is_spread_like_the_others() -> None:
    outcome = fail({**JOB, "retry_count": 1}, jitter=0.5, advice=Says(retry_in=60.0))
    assert isinstance(outcome, RetryAt)
    assert outcome.at == NOW + 60 + 15


@pytest.mark.parametrize("advice", [Says(DiscardOn((ValueError,))), Says(drop=True), Says()])
def test_what_is_dropped_says_when(advice: Says) -> None:
    outcome = fail({**JOB, "retry": 0, "dead": False}, advice=advice, timestamps="ms")
    assert isinstance(outcome, Discarded)
    assert outcome.payload["discarded_at"] == 1795305700750
    assert outcome.payload["error_message"] == "boom"


def test_a_job_that_is_put_off_keeps_its_counts() -> None:
    job = {**JOB, **RETRIED, "retry_count": 3, "unknown_since": NOW - 5}
    first = postponed(job, RetryLater(30, "busy"), queue="fetched", now=NOW, policy=RetryPolicy())
    assert first.at == NOW + 30
    assert first.payload == {
        **JOB,
        **RETRIED,
        "retry_count": 3,
        "queue": "fetched",
        "postponed_count": 1,
        "postponed_reason": "busy",
    }
    second = postponed(first.payload, RetryLater(0), queue="fetched", now=NOW, policy=RetryPolicy())
    assert (second.at, second.payload["postponed_count"]) == (NOW, 2)
    assert "postponed_reason" not in second.payload


def test_the_first_failure_after_jobs_were_put_off_is_the_first() -> None:
    """Sidekiq's Web UI needs `failed_at` in every entry of `retry`; it is not yet the time of a failure."""
    waiting = postponed(JOB, RetryLater(30), queue="default", now=NOW - 99, policy=RetryPolicy(timestamps="ms")).payload
    assert waiting["failed_at"] == int((NOW - 99) * 1000)
    failed = kept(fail({**waiting, "retry_for": 60}))
    assert (failed["failed_at"], failed["retry_count"]) == (NOW, 0)


def test_a_reason_that_cannot_be_written_is_made_so() -> None:
    payload = postponed(JOB, RetryLater(1, "\udce9" * 20_000), queue="q", now=NOW, policy=RetryPolicy()).payload
    assert payload["postponed_reason"] == "?" * 10_000


@pytest.mark.parametrize(
    ("fields", "late"),
    [
        ({}, None),
        ({"expires_in": 60}, None),
        ({"expires_in": 60, "created_at": NOW - 60}, None),
        ({"expires_in": 60, "created_at": NOW - 60.5}, 0.5),
        ({"expires_in": 60, "created_at": int((NOW - 61) * 1000)}, 1),
        ({"expires_in": 60, "enqueued_at": NOW - 61}, 1),
        ({"expires_in": 60, "created_at": NOW - 61, "enqueued_at": NOW}, 1),
        ({"expires_in": 60, "created_at": "odd"}, None),
        ({"expires_in": "60", "created_at": NOW - 61}, None),
        ({"expires_in": True, "created_at": NOW - 61}, None),
        ({"expires_in": None, "created_at": NOW - 61}, None),
        ({"expires_in": 10**400, "created_at": NOW - 61}, None),
        ({"expires_in": 60, "created_at": NOW - 99, "retry_count": 0}, None),
        ({"expires_in": 60, "created_at": NOW - 99, "retry_count": -1}, None),
        ({"expires_in": 60, "created_at": NOW - 99, "postponed_count": 1}, None),
        ({"expires_in": 60, "created_at": NOW - 99, "unknown_since": NOW - 50, "failed_at": NOW - 50}, 39),
    ],
)
def test_a_job_expires_unless_it_has_begun_in_time(fields: dict[str, Any], late: float | None) -> None:
    assert expired_since({**JOB, **fields}, NOW) == (None if late is None else pytest.approx(late, abs=1e-3))


def defer(payload: dict[str, Any], now: float = NOW, **given: Any) -> Deferred | Dead:
    return unknown_class(payload, "FailJob", queue="fetched", now=now, policy=RetryPolicy(**given))


def test_a_job_of_an_unknown_class_waits_as_it_is() -> None:
    outcome = defer(JOB)
    assert outcome == Deferred(NOW + 15, {**JOB, "queue": "fetched", "failed_at": NOW, "unknown_since": NOW})


def test_the_time_of_an_earlier_failure_stays_and_the_first_one_is_its_own() -> None:
    """Sidekiq's Web UI needs `failed_at` in every entry of `retry`, also of a job that never ran."""
    waiting = defer({**JOB, "retry_count": 0, "failed_at": NOW - 50})
    assert isinstance(waiting, Deferred)
    assert waiting.payload["failed_at"] == NOW - 50
    assert kept(fail({**JOB, "failed_at": NOW - 50, "unknown_since": NOW - 50}))["failed_at"] == NOW


def test_its_waits_double_up_to_ten_minutes_and_end_after_a_day() -> None:
    now, payload, waits = NOW, dict(JOB), []
    while isinstance(outcome := defer(payload, now), Deferred):
        assert outcome.payload["unknown_since"] == NOW
        waits.append(outcome.at - now)
        now, payload = outcome.at, outcome.payload
    assert waits[:8] == [15, 15, 30, 60, 120, 240, 480, 600]
    assert set(waits[8:]) == {600}
    assert 24 * 3600 <= now - NOW < 24 * 3600 + 600
    assert outcome.payload["error_class"] == "jobd.worker.retry.UnknownJob"
    assert "no process knew the job 'FailJob' for 24 h" in outcome.payload["error_message"]
    assert "unknown_since" not in outcome.payload


def test_waiting_for_a_class_is_no_attempt() -> None:
    outcome = defer({**JOB, "retry_count": 2})
    assert isinstance(outcome, Deferred)
    assert outcome.payload["retry_count"] == 2
    assert "error_class" not in outcome.payload


def test_once_its_class_is_known_a_failure_forgets_the_waiting() -> None:
    assert "unknown_since" not in kept(fail({**JOB, "unknown_since": NOW - 60}))


def test_how_long_it_waits_can_be_set() -> None:
    assert isinstance(defer({**JOB, "unknown_since": NOW - 59}, unknown_class_timeout=60), Deferred)
    assert isinstance(defer({**JOB, "unknown_since": NOW - 60}, unknown_class_timeout=60), Dead)


@given(st.one_of(st.none(), st.text(), st.booleans(), st.floats(), st.integers(), st.lists(st.integers(), max_size=2)))
def test_whatever_unknown_since_holds_the_wait_is_within_bounds(since: object) -> None:
    outcome = defer({**JOB, "unknown_since": since})
    if isinstance(outcome, Deferred):
        assert 15 <= outcome.at - NOW <= 600


_json = st.one_of(st.none(), st.booleans(), st.integers(-5, 2000), st.floats(-1e6, 1e12), st.text(max_size=3))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "retry": _json,
            "retry_count": st.integers(-2, 60),
            "retry_for": _json,
            "failed_at": _json,
            "dead": _json,
            "backtrace": _json,
            "retry_queue": _json,
        },
    ),
    st.floats(0, 1, exclude_max=True),
)
def test_whatever_the_options_hold_the_outcome_can_be_written(options: dict[str, Any], jitter: float) -> None:
    outcome = fail({**JOB, **options}, raised(ValueError("boom")), jitter=jitter)
    if isinstance(outcome, RetryAt):
        count = outcome.payload["retry_count"]
        assert count**4 + 15 <= outcome.at - NOW < count**4 + 15 + 10 * max(count + 1, 1)
    if not isinstance(outcome, Discarded):
        payload = json.loads(encode(outcome.payload))
        assert payload["retry_count"] == options.get("retry_count", -1) + 1
        assert isinstance(payload["queue"], str)
