"""Payloads against captures of Sidekiq's own, and every variant that a reader must take."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.client import payload
from jobd.client.errors import MalformedPayload

WRAPPED_BACKTRACE = "eJyLVtIvLirTTywo0C/PL8pOLSrWK0qyMjK2ysxTSEhJTS1QV9LBrsQQrKQg\ntSgtvyhXXSkWALBYGSI=\n"
UNBROKEN_BACKTRACE = (
    "eJw1zMsOQDAQQNFfkW5s6EQ3Fb8igjKkXq0Zr88XxPbe5OQCmA6ovYdTSzKZzuwSVB6pczSHIvp+jzMD2xZHu8apTKSGyZq/gCfX"
    "ILOjR1AqfQ28sNk3LAdnQlHcSa8jvA=="
)

WITH_OPTIONS = (
    b'{"retry":5,"queue":"critical","tags":["alpha","eu"],"args":[1,"two",{"three":3.5},null,[true]],'
    b'"class":"HardJob","jid":"0ed6022fbd4af2e586ac10c8","created_at":1795305669.9258788,'
    b'"enqueued_at":1795305669.9260654}'
)
PLAIN = (
    b'{"retry":true,"queue":"default","class":"PlainJob","args":[1],"jid":"5de8fa537f30ade860da6690",'
    b'"created_at":1795305669.9273512,"enqueued_at":1795305669.927368}'
)
SCHEDULED = (
    b'{"retry":true,"queue":"default","class":"PlainJob","args":["later"],"jid":"579af6e93ce7bb9c286fc90c",'
    b'"created_at":1795305669.9267356}'
)
UNKNOWN_TO_THE_PUSHER = (
    b'{"retry":3,"queue":"py","class":"PythonJob","args":[1],"backtrace":true,"custom":{"x":1},'
    b'"jid":"9121647de9712a3a2cc2b504","created_at":1795305669.9272532,"enqueued_at":1795305669.927261}'
)
MILLISECONDS = (
    b'{"retry":5,"queue":"critical","tags":["alpha"],"retry_for":7200,"args":[1,{"a":1.5}],"class":"HardJob",'
    b'"jid":"7c3ca0341538130e51693aaf","created_at":1795305954659,"enqueued_at":1795305954659}'
)
FAILED = (
    '{"retry":true,"queue":"default","backtrace":2,"args":["x"],"class":"FailJob",'
    '"jid":"ced7948a5a50a7b794b8b273","created_at":1795305669.9274554,"enqueued_at":1795305716.8289485,'
    '"error_message":"boom é x","error_class":"ArgumentError","failed_at":1795305700.7499785,'
    '"retry_count":1,"error_backtrace":' + json.dumps(WRAPPED_BACKTRACE) + ',"retried_at":1795305716.8349233}'
).encode()


def build(capture: bytes, under: dict[str, Any], item: dict[str, Any], timestamps: Any = "s") -> bytes:
    """Build the payload of `capture` from what its push was given; its jid and times are taken over."""
    seen = json.loads(capture)
    created = seen["created_at"] / (1000 if timestamps == "ms" else 1)
    built = payload.normalise(item | {"jid": seen["jid"]}, under=under, now=created, timestamps=timestamps)
    if "enqueued_at" in seen:
        enqueued = seen["enqueued_at"] / (1000 if timestamps == "ms" else 1)
        payload.stamp(built, enqueued, timestamps)
    return payload.encode(built)


def test_a_push_with_class_options_is_byte_for_byte_sidekiqs() -> None:
    options = {"retry": 5, "queue": "critical", "tags": ["alpha", "eu"]}
    item = {"args": [1, "two", {"three": 3.5}, None, [True]], "class": "HardJob"}
    assert build(WITH_OPTIONS, options, item) == WITH_OPTIONS


@pytest.mark.parametrize(
    ("capture", "item"),
    [
        (PLAIN, {"class": "PlainJob", "args": [1]}),
        (SCHEDULED, {"class": "PlainJob", "args": ["later"]}),
        (
            UNKNOWN_TO_THE_PUSHER,
            {"queue": "py", "retry": 3, "class": "PythonJob", "args": [1], "backtrace": True, "custom": {"x": 1}},
        ),
    ],
)
def test_a_dictionary_pushed_is_byte_for_byte_sidekiqs(capture: bytes, item: dict[str, Any]) -> None:
    assert build(capture, {}, item) == capture


def test_with_millisecond_timestamps_a_push_is_byte_for_byte_that_of_sidekiq_8() -> None:
    options = {"retry": 5, "queue": "critical", "tags": ["alpha"], "retry_for": 7200}
    item = {"args": [1, {"a": 1.5}], "class": "HardJob"}
    assert build(MILLISECONDS, options, item, timestamps="ms") == MILLISECONDS


@pytest.mark.parametrize("capture", [WITH_OPTIONS, PLAIN, SCHEDULED, UNKNOWN_TO_THE_PUSHER, MILLISECONDS])
def test_a_payload_read_and_written_again_keeps_its_bytes(capture: bytes) -> None:
    assert payload.encode(payload.decode(capture)) == capture


def test_every_field_of_a_failed_job_survives_reading_and_writing() -> None:
    assert json.loads(payload.encode(payload.decode(FAILED))) == json.loads(FAILED)


def test_retry_and_queue_come_first_and_are_always_there() -> None:
    built = payload.normalise({"class": "A", "args": []}, under={}, now=1.5)
    assert list(built) == ["retry", "queue", "class", "args", "jid", "created_at"]
    assert (built["retry"], built["queue"]) == (True, "default")


def test_a_job_pushed_again_keeps_its_identity_but_not_its_old_stamp() -> None:
    old = {"class": "A", "args": [], "jid": "abc", "created_at": 5.5, "enqueued_at": 6.5}
    built = payload.normalise(old, under={}, now=9.5)
    assert (built["jid"], built["created_at"]) == ("abc", 5.5)
    assert "enqueued_at" not in built
    payload.stamp(built, 10.0)
    assert list(built)[-1] == "enqueued_at"


def test_a_job_id_is_24_hex_digits_and_new_each_time() -> None:
    jids = {payload.new_jid() for _ in range(1000)}
    assert len(jids) == 1000
    assert all(re.fullmatch("[0-9a-f]{24}", jid) for jid in jids)


def test_json_is_compact_raw_utf8_and_a_float_keeps_its_point() -> None:
    built = payload.encode({"args": ["é</\u2028", 2.0, 1795305954.0, 2**70]})
    assert built == '{"args":["é</\u2028",2.0,1795305954.0,1180591620717411303424]}'.encode()


@pytest.mark.parametrize(
    "raw",
    [
        b"{bad json",
        b"",
        b"[1]",
        b'"str"',
        b"null",
        b"{} {}",
        b'{"a":NaN}',
        b'{"a":"\xff"}',
        b'{"a":' * 100_000,
        b'{"a":1e999}',
    ],
)
def test_what_is_no_job_is_told_apart(raw: bytes) -> None:
    with pytest.raises(MalformedPayload):
        payload.decode(raw)


def test_unknown_keys_and_big_integers_are_kept() -> None:
    assert payload.decode(b'{"x_custom":[123456789012345678901234567890]}') == {
        "x_custom": [123456789012345678901234567890]
    }


@pytest.mark.parametrize(
    "stored",
    [
        1795305954.66,
        1795305954660,
        1795305954660.0,
        "1795305954.66",
        "1795305954660",
        "2026-11-22T00:05:54.660000000Z",
        "2026-11-22T00:05:54.66+00:00",
        "2026-11-22 00:05:54.66 +0000",
        "2026-11-22 00:05:54.66 UTC",
        "2026-11-22T07:05:54.66+07:00",
    ],
)
def test_a_time_is_read_in_every_form(stored: object) -> None:
    assert payload.read_time(stored) == pytest.approx(1795305954.66, abs=0.0005)


def test_integer_seconds_are_read_as_seconds() -> None:
    assert payload.read_time(1795305954) == 1795305954.0


@pytest.mark.parametrize("stored", [None, True, [], {}, "", "soon", "nan", "1e999", float("inf"), 10**400])
def test_what_is_no_time_is_unknown(stored: object) -> None:
    assert payload.read_time(stored) is None


def test_a_time_is_written_as_float_seconds_or_integer_milliseconds() -> None:
    assert payload.encode({"t": payload.write_time(1795305954)}) == b'{"t":1795305954.0}'
    assert payload.encode({"t": payload.write_time(1795305954.6609, "ms")}) == b'{"t":1795305954660}'


def test_backtraces_of_old_and_new_sidekiq_are_read() -> None:
    assert payload.decode_backtrace(WRAPPED_BACKTRACE) == [
        "/srv/app/workers.rb:23:in `deep'",
        "/srv/app/workers.rb:21:in `perform'",
    ]
    assert payload.decode_backtrace(UNBROKEN_BACKTRACE) == [
        "/srv/app/w7.rb:7:in `perform'",
        "/srv/gems/sidekiq-8.1.7/lib/sidekiq/processor.rb:228:in `execute_job'",
    ]


def test_a_backtrace_is_written_on_one_line_and_can_hold_anything() -> None:
    lines = [f'File "é{number}.py", line {number} \ud800' for number in range(200)]
    text = payload.encode_backtrace(lines)
    assert "\n" not in text
    assert payload.decode_backtrace(text) == [line.replace("\ud800", "?") for line in lines]


@pytest.mark.parametrize("stored", [None, 5, "", "no base64!", "aGVsbG8=", "eJyrVkpUslIyVKoFAA+RAmk="])
def test_an_unreadable_backtrace_is_empty(stored: object) -> None:
    assert payload.decode_backtrace(stored) == []


def test_a_backtrace_that_unpacks_without_end_is_not_unpacked() -> None:
    assert payload.decode_backtrace(payload.encode_backtrace(["a" * 9_000] * 200)) == []


def test_names_for_people_and_for_dispatch() -> None:
    wrapped = {"class": "Sidekiq::ActiveJob::Wrapper", "wrapped": "UserMailerJob"}
    assert payload.display_name(wrapped) == "UserMailerJob"
    assert payload.dispatch_names(wrapped) == ("UserMailerJob", "Sidekiq::ActiveJob::Wrapper")
    assert payload.display_name({"class": "A", "display_class": "Nice"}) == "Nice"
    assert payload.dispatch_names({"class": "A", "display_class": "Nice"}) == ("A",)
    assert payload.display_name({"class": 5}) == ""


@pytest.mark.parametrize(
    "wrapper", ["Sidekiq::ActiveJob::Wrapper", "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper"]
)
def test_an_activejob_is_called_with_its_own_arguments(wrapper: str) -> None:
    fields = {"class": wrapper, "wrapped": "MailJob", "args": [{"job_class": "MailJob", "arguments": [1, "a"]}]}
    assert payload.call_arguments(fields) == ([1, "a"], {})


def test_a_job_without_args_is_called_without_arguments() -> None:
    assert payload.call_arguments({"class": "A"}) == ([], {})


@pytest.mark.parametrize("fields", [{"args": {}}, {"args": None}, {"args": [], "kwargs": [1]}])
def test_arguments_of_a_wrong_shape_are_malformed(fields: dict[str, Any]) -> None:
    with pytest.raises(MalformedPayload):
        payload.call_arguments(fields)


def test_text_is_made_fit_to_be_written() -> None:
    assert payload.clean_text("a\ud800é", 10) == "a?é"
    assert len(payload.clean_text("x" * 20_000)) == 10_000


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_payload_is_read_up_to_100_levels_as_ruby_does(opening: bytes, closing: bytes) -> None:
    def nested(levels: int) -> bytes:
        inner = levels - 1
        return b'{"class":"A","args":' + opening * inner + b"1" + closing * inner + b"}"

    assert payload.decode(nested(100))["class"] == "A"
    with pytest.raises(MalformedPayload, match="over 100 levels"):
        payload.decode(nested(101))


def test_a_wide_payload_is_not_a_deep_one() -> None:
    wide = b'{"class":"A","args":[' + b",".join([b"[1]"] * 500) + b"]}"
    assert len(payload.decode(wide)["args"]) == 500


VALUES = (
    st.none() | st.booleans() | st.integers(-5, 10**13) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
ANYTHING = st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6)
FIELDS = st.sampled_from(
    ["class", "wrapped", "jid", "args", "kwargs", "retry", "retry_count", "tags", "enqueued_at", "log_level", "team"]
)
USUAL = {"class": "A", "jid": "x", "args": [1], "retry": True, "enqueued_at": 1795305669.5}


@given(odd=st.dictionaries(FIELDS, ANYTHING), left_out=st.sets(FIELDS))
def test_what_is_read_fast_is_what_is_read_slowly(odd: dict[str, Any], left_out: set[str]) -> None:
    fields = {key: value for key, value in {**USUAL, **odd}.items() if key not in left_out}
    fast = payload.plain_entry(payload.encode(fields))
    if fast is None:
        return
    assert not {"wrapped", "log_level"} & {key for key, value in fields.items() if value is not None}
    assert fields["retry"] is not None
    slow = payload.entry_of(payload.decode(payload.encode(fields)))
    for name in ("name", "jid", "args", "kwargs", "retry_count", "tags"):
        assert getattr(fast, name) == getattr(slow, name)
    assert payload.read_time(fast.enqueued_at) == slow.enqueued_at


def test_a_usual_payload_is_read_fast() -> None:
    for more in ({}, {"team": "é"}, {"retry": 3}, {"enqueued_at": 1795305954661}, {"kwargs": {"a": 1}, "tags": ["b"]}):
        assert payload.plain_entry(payload.encode({**USUAL, **more})) is not None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"class":"A","jid":"x","retry":true,"args":[],"odd":"\xff"}',
        b'{"class":"A","jid":"x","retry":true,"args":[],"\xed\xa0\x80":1}',
        b'{"class":"A","jid":"x","retry":true,"args":[],"odd":NaN}',
        b'{"class":"A","jid":"x","retry":true,"args":[' + b"[" * 99 + b"]" * 99 + b"]}",
        b'{"class":"A","jid":"x","retry":true,"args":[],"odd":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    ],
)
def test_what_is_no_job_is_not_read_fast_either(raw: bytes) -> None:
    assert payload.plain_entry(raw) is None
