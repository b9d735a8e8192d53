"""Cron entries as people write them: in code, in sidekiq-cron's form, in Redis; and every refusal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import jobd
from jobd.client import cron, cron_declared
from jobd.client.cron import Cron, CronEntry
from jobd.client.cron_push import CronEnd, CronRun, with_end
from jobd.client.errors import InvalidCron, InvalidPayload, JobDefinitionError

RUBY = {
    "name": "Every minute",
    "klass": "CronJob",
    "cron": "* * * * *",
    "description": "tick",
    "status": "enabled",
    "args": '[1,{"a":"b"}]',
    "message": '{"retry":true,"queue":"low","class":"CronJob","args":[1,{"a":"b"}]}',
    "active_job": "false",
    "date_as_argument": "false",
    "symbolize_args": "false",
    "queue_name_prefix": "",
    "queue_name_delimiter": "",
    "last_enqueue_time": "2026-11-22 00:02:18 +0000",
}


@jobd.job(name="cron.report", queue="reports", retry=5)
def report(day: str, size: int = 1, *, locale: str = "en") -> None: ...


@pytest.fixture(autouse=True)
def declarations() -> Iterator[None]:
    """What a test declares is taken back."""
    before = dict(cron_declared._declared)
    yield
    cron_declared._declared.clear()
    cron_declared._declared.update(before)


class TestCode:
    def test_an_expression_with_its_time_zone(self) -> None:
        @jobd.job(name="code.a", cron="0 8 * * *", timezone="Asia/Ho_Chi_Minh", queue="low")
        def a() -> None: ...

        [entry] = [entry for entry in cron_declared.entries() if entry.job == "code.a"]
        assert (entry.name, entry.cron, entry.source) == ("code.a", "0 8 * * * Asia/Ho_Chi_Minh", "code")
        assert cron.message_of(entry) == {"retry": True, "queue": "low", "class": "code.a", "args": []}
        assert "cron" not in a.__jobd__.options

    def test_several_with_arguments(self) -> None:
        crons = [Cron("@daily", args=["eu"]), Cron("@hourly", kwargs={"locale": "vi"}, args=["vn"], name="hourly vn")]

        @jobd.job(name="code.b", cron=crons)
        def b(region: str, *, locale: str = "en") -> None: ...

        entries = {entry.name: entry for entry in cron_declared.entries()}
        assert (entries["code.b"].args, entries["code.b"].kwargs) == (("eu",), {})
        assert (entries["hourly vn"].args, entries["hourly vn"].kwargs) == (("vn",), {"locale": "vi"})

    def test_a_class_and_not_its_subclasses(self) -> None:
        class Nightly(jobd.Job, name="code.Nightly", cron="@daily", queue="low"):
            def perform(self) -> None: ...

        class Weekly(Nightly, name="code.Weekly"): ...

        assert [entry.name for entry in cron_declared.entries() if entry.name.startswith("code.")] == ["code.Nightly"]

    def test_a_module_that_is_reloaded_declares_anew(self) -> None:
        for expression in ("@daily", "@hourly"):

            @jobd.job(name="code.again", cron=expression)
            def again() -> None: ...

        assert [entry.cron for entry in cron_declared.entries() if entry.job == "code.again"] == ["0 * * * *"]

    @pytest.mark.parametrize(
        ("given", "complaint"),
        [
            ({"cron": "61 * * * *"}, "column 1: the minutes field is '61'"),
            ({"cron": "0 8 * * *", "timezone": "Nowhere"}, "'Nowhere' is no time zone"),
            ({"timezone": "Asia/Tokyo"}, "timezone='Asia/Tokyo' without cron"),
            ({"cron": 5}, 'cron=5: give an expression such as "0 8 * * *"'),
            ({"cron": Cron("@daily"), "timezone": "Asia/Tokyo"}, "give it to that"),
            ({"cron": ["@daily", "@hourly"]}, "is also one of the same job; give each a name="),
            ({"cron": Cron("@daily", args=[1])}, "too many positional arguments"),
            ({"cron": Cron("@daily", overlap="queue")}, "overlap is 'queue'; give allow or skip"),
            ({"cron": Cron("@daily", catch_up="always")}, "catch_up is 'always'; give skip or once or all"),
            ({"cron": Cron("@daily", queue="a b")}, "queue is 'a b'"),
            ({"cron": Cron("@daily", name=" ")}, None),
            ({"cron": Cron("@daily", date_as_argument=True)}, "too many positional arguments"),
        ],
    )
    def test_what_cannot_be_used_is_refused_where_it_is_defined(
        self, given: dict[str, Any], complaint: str | None
    ) -> None:
        with pytest.raises(JobDefinitionError) as caught:
            jobd.job(name="code.refused", **given)(lambda: None)
        assert complaint is None or complaint in str(caught.value)
        assert "test_cron.py:" in str(caught.value)

    def test_two_jobs_cannot_have_entries_of_one_name(self) -> None:
        jobd.job(name="code.one", cron=Cron("@daily", name="nightly"))(lambda: None)
        with pytest.raises(JobDefinitionError, match=r"'nightly' is also one of code.one; give each a name="):
            jobd.job(name="code.two", cron=Cron("@daily", name="nightly"))(lambda: None)

    def test_a_class_without_perform_cannot_have_one(self) -> None:
        with pytest.raises(JobDefinitionError, match="has a cron and no perform"):
            type("Base", (jobd.Job,), {}, cron="@daily")

    def test_a_push_cannot_have_one(self) -> None:
        with pytest.raises(InvalidPayload, match=r"it goes with a definition"):
            report.set(cron="@daily")


class TestMapping:
    def test_sidekiq_crons_form(self) -> None:
        written = {
            "klass": "HardJob",
            "cron": "*/5 * * * *",
            "args": {"a": 1},
            "queue": "low",
            "description": "every five minutes",
            "status": "disabled",
            "date_as_argument": "true",
            "active_job": False,
            "symbolize_args": "yes",
        }
        [entry] = cron.read_all({"hard": written})
        assert entry == CronEntry(
            name="hard",
            cron="*/5 * * * *",
            job="HardJob",
            args=({"a": 1},),
            queue="low",
            description="every five minutes",
            status="disabled",
            date_as_argument=True,
            symbolize_args=True,
        )
        assert cron.read_all([{"name": "hard", **written}]) == [entry]

    def test_arguments_travel_as_they_would_with_a_push(self) -> None:
        entry = cron.read("r", {"cron": "@daily", "class": report, "kwargs": {"size": 2, "day": "monday"}})
        assert (entry.job, entry.args, entry.kwargs) == ("cron.report", ("monday", 2), {})

    @pytest.mark.parametrize(
        ("name", "written", "complaint"),
        [
            ("", {}, "give a name of up to 200 characters"),
            (None, {}, "cron entry None: give a name"),
            ("a\nb", {}, "without control characters"),
            ("r", "0 8 * * *", "give a mapping such as"),
            ("r", {"cron": "@daily", "class": "A", "crom": 1}, "cron entry 'r' has the key 'crom'; did you mean cron?"),
            ("r", {"cron": "@daily", "class": "A", "zzz": 1}, "has the key 'zzz'; remove it"),
            ("r", {"class": "A"}, "cron entry 'r': cron None is no expression"),
            ("r", {"cron": "0 8 * * 9", "class": "A"}, "cron entry 'r': cron '0 8 * * 9', column 9"),
            ("r", {"cron": "@daily"}, "class is None; give the name of a job"),
            ("r", {"cron": "@daily", "class": "A", "klass": "A"}, "has class and klass; keep one"),
            ("r", {"cron": "@daily", "class": "A", "args": {1, 2}}, "args are {1, 2}; give a list"),
            ("r", {"cron": "@daily", "class": "A", "args": [object()]}, "args[0] is a object"),
            ("r", {"cron": "@daily", "class": "A", "kwargs": [1]}, "kwargs are [1]; give a mapping"),
            ("r", {"cron": "@daily", "class": "cron.report"}, "missing a required argument: 'day'"),
            ("r", {"cron": "@daily", "class": "A", "queue": ""}, "queue is ''"),
            ("r", {"cron": "@daily", "class": "A", "description": 5}, "description is 5; give text"),
            ("r", {"cron": "@daily", "class": "A", "description": "\ud800"}, "; give text"),
            ("r", {"cron": "@daily", "class": "A", "status": "off"}, "status is 'off'; give enabled or disabled"),
            ("r", {"cron": "@daily", "class": "A", "date_as_argument": "maybe"}, "give true or false"),
        ],
    )
    def test_what_is_refused(self, name: object, written: object, complaint: str) -> None:
        with pytest.raises(InvalidCron) as caught:
            cron.read(name, written)
        assert complaint in str(caught.value)

    @pytest.mark.parametrize("written", [None, "text", 5, [5], [{"cron": "@daily", "class": "A"}]])
    def test_what_holds_no_entries_is_refused(self, written: object) -> None:
        with pytest.raises(InvalidCron):
            cron.read_all(written)

    def test_a_name_twice_in_a_list_is_refused(self) -> None:
        entry = {"name": "a", "cron": "@daily", "class": "A"}
        with pytest.raises(InvalidCron, match="two cron entries are named 'a'"):
            cron.read_all([entry, entry])


class TestStored:
    def test_rubys_fields_are_read(self) -> None:
        entry = cron.from_fields("Every minute", RUBY)
        assert (entry.job, entry.args, entry.queue, entry.status) == ("CronJob", (1, {"a": "b"}), "low", "enabled")
        assert (entry.source, entry.problem, entry.last_time) == ("", None, 1795305738.0)
        assert (entry.overlap, entry.catch_up, entry.timezone) == ("allow", "skip", "UTC")
        assert entry.next_time(1795305738.0) == 1795305780.0

    def test_jobds_fields_are_rubys(self) -> None:
        entry = cron.read("Every minute", {"cron": "* * * * *", "class": "CronJob", "args": [1, {"a": "b"}]})
        fields = cron.to_fields(entry)
        own = {"overlap", "catch_up", "source"}
        assert fields.keys() - own == RUBY.keys() - {"status", "last_enqueue_time"}
        assert {key: fields[key] for key in RUBY.keys() & fields.keys() if key not in ("message", "description")} == {
            key: value for key, value in RUBY.items() if key in fields and key not in ("message", "description")
        }
        assert fields["message"] == '{"queue":"default","class":"CronJob","args":[1,{"a":"b"}]}'

    def test_the_options_of_a_known_class_are_in_the_message(self) -> None:
        jobd.default_options(backtrace=3)
        entry = cron.read("r", {"cron": "@daily", "class": "cron.report", "args": ["d"], "kwargs": {"locale": "vi"}})
        assert cron.to_fields(entry)["message"] == (
            '{"retry":5,"queue":"reports","backtrace":3,"class":"cron.report","args":["d"],"kwargs":{"locale":"vi"}}'
        )

    def test_what_is_written_is_read_back(self) -> None:
        written = {"cron": "0 8 * * *", "timezone": "Asia/Tokyo", "class": "A", "args": [1], "kwargs": {"b": 2}}
        entry = cron.read("r", {**written, "queue": "low", "overlap": "skip", "catch_up": "all", "status": "enabled"})
        assert cron.from_fields("r", {**cron.to_fields(entry), "status": "enabled"}) == entry

    @pytest.mark.parametrize(
        ("field", "value", "problem"),
        [
            ("cron", "every third monday", "words are understood"),
            ("cron", "", "is no expression"),
            ("message", "{bad", "its message is no job"),
            ("message", '{"args":[]}', "its message is no job"),
        ],
    )
    def test_what_cannot_be_used_says_why_and_is_not_due(self, field: str, value: str, problem: str) -> None:
        entry = cron.from_fields("x", {**RUBY, field: value})
        assert problem in str(entry.problem)
        assert entry.next_time(0.0) is None
        with pytest.raises(InvalidCron, match="cron entry 'x'"):
            cron.job_of(entry, 0.0, "id")

    def test_a_disabled_entry_is_never_due(self) -> None:
        assert cron.from_fields("x", {**RUBY, "status": "disabled"}).next_time(0.0) is None

    @pytest.mark.parametrize(("args", "read"), [("", ()), ("text", ("text",)), ('{"a":1}', ({"a": 1},)), ("[2]", (2,))])
    def test_arguments_are_read_as_ruby_reads_them(self, args: str, read: tuple[Any, ...]) -> None:
        assert cron.from_fields("x", {**RUBY, "args": args}).args == read


class TestEnds:
    """How the end of a job comes to its run."""

    NOTED = (CronRun(20.0, 20.1, "b").as_json(), b"broken", CronRun(10.0, 10.1, "a").as_json())

    def noted(self, *ends: CronEnd) -> CronRun | None:
        """What stands at run `a` after these."""
        noted = list(self.NOTED)
        for end in ends:
            if changed := with_end(noted, "a", end):
                noted[noted.index(changed[0])] = changed[1]
        return CronRun.from_json(noted[2])

    def test_it_is_noted_at_the_run_of_its_job_alone(self) -> None:
        assert self.noted(CronEnd("ok", 30.0)) == CronRun(10.0, 10.1, "a", outcome="ok", ended=30.0)
        assert with_end(self.NOTED, "c", CronEnd("ok", 30.0)) is None

    def test_the_end_of_a_later_attempt_takes_the_place_of_an_earlier_one(self) -> None:
        retry, ok = CronEnd("retry", 30.0, 45.0), CronEnd("ok", 50.0)
        expected = CronRun(10.0, 10.1, "a", outcome="ok", ended=50.0)
        assert (self.noted(retry, ok), self.noted(ok, retry)) == (expected, expected)

    def test_what_an_older_version_noted_has_no_known_end(self) -> None:
        run = CronRun.from_json(b'{"tick":10.0,"at":10.1,"jid":"a","missed":0}')
        assert run is not None
        assert (run.jid, run.outcome) == ("a", None)


class TestPushed:
    def test_the_message_with_the_arguments_of_the_entry(self) -> None:
        entry = cron.from_fields("x", {**RUBY, "args": "[7]"})
        message = {"retry": True, "queue": "low", "class": "CronJob", "args": [7]}
        assert cron.job_of(entry, 60.0, "id") == {**message, "cron_entry": "x"}

    def test_the_tick_as_a_further_argument(self) -> None:
        entry = cron.from_fields("x", {**RUBY, "args": "[7]", "date_as_argument": "true"})
        assert json.dumps(cron.job_of(entry, 60, "id")["args"]) == "[7, 60.0]"

    @pytest.mark.parametrize(
        ("prefix", "delimiter", "queue"), [("", "", "low"), ("p", "", "p_low"), ("p", "-", "p-low")]
    )
    def test_active_jobs_wrapper(self, prefix: str, delimiter: str, queue: str) -> None:
        active = {"active_job": "true", "queue_name_prefix": prefix, "queue_name_delimiter": delimiter}
        assert cron.job_of(cron.from_fields("x", {**RUBY, **active}), 60.0, "id") == {
            "class": "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper",
            "wrapped": "CronJob",
            "queue": queue,
            "description": "tick",
            "args": [{"job_class": "CronJob", "job_id": "id", "queue_name": queue, "arguments": [1, {"a": "b"}]}],
            "cron_entry": "x",
        }

    @pytest.mark.parametrize(
        ("changed", "ours"),
        [
            ({}, True),
            ({"message": '{"queue":"low","class":"CronJob","args":[]}'}, False),
            ({"message": '{"queue":"low","class":"CronJob","args":[]}', "active_job": "true"}, True),
            ({"message": '{"queue":"low","class":"cron.report","args":[]}', "klass": "cron.report"}, True),
            ({"message": '{"queue":"low","class":"CronJob","args":[]}', "source": "api"}, True),
        ],
    )
    def test_what_ruby_may_push_otherwise_is_left_to_it(self, changed: dict[str, str], ours: bool) -> None:
        assert cron.is_ours(cron.from_fields("x", {**RUBY, **changed})) is ours


def test_times_are_written_as_ruby_writes_them() -> None:
    assert cron.tick_name(1795305720.0) == "2026-11-22T00:02:00Z"
    assert cron.tick_time(b"2026-11-22T00:02:00Z") == 1795305720.0
    assert cron.tick_time(b"\xff") is None
    assert cron.enqueue_time(1795305738.9) == "2026-11-22 00:02:18 +0000"
