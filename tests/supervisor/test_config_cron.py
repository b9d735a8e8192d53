"""The section `cron` of a configuration: entries, their places in messages, and what `jobd check --show` prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobd.client.cron import CronEntry
from jobd.client.errors import ConfigErrors
from jobd.supervisor.config import Config, load, show
from jobd.supervisor.reload import plan
from jobd.worker.config import WorkerConfig

TEXT = """
cron_prune: true
cron:
  daily_report: {cron: "0 8 * * *", class: DailyReportJob, timezone: Asia/Ho_Chi_Minh, args: [1, {a: [b]}]}
  sweep:
    cron: "@every 5m"
    klass: ${SWEEPER:-Sweep}
    queue: low
    status: disabled
    overlap: skip
    catch_up: once
production:
  cron:
    sweep: {cron: "@hourly", class: Sweep}
"""


def read(text: str, environment: str | None = None) -> Config:
    Path("c.yml").write_text(text)
    return load(Path("c.yml"), environment, {}, {})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_entries_are_read() -> None:
    config = read(TEXT)
    assert config.cron == (
        CronEntry(
            name="daily_report",
            cron="0 8 * * * Asia/Ho_Chi_Minh",
            job="DailyReportJob",
            args=(1, {"a": ["b"]}),
            source="config",
        ),
        CronEntry(
            name="sweep",
            cron="@every 5m",
            job="Sweep",
            queue="low",
            status="disabled",
            overlap="skip",
            catch_up="once",
            source="config",
        ),
    )
    assert config.cron_prune
    assert "{daily_report: 0 8 * * * Asia/Ho_Chi_Minh, sweep: @every 5m}" in show(config)


def test_a_section_replaces_them_whole() -> None:
    assert [(entry.name, entry.cron) for entry in read(TEXT, "production").cron] == [("sweep", "0 * * * *")]


def test_every_mistake_is_told_with_its_line() -> None:
    text = (
        "cron:\n"
        '  a: {cron: "0 99 * * *", class: A}\n'
        "  b: {crom: '@daily', class: B}\n"
        "  c: text\n"
        "  d: {cron: '@daily', class: D, args: ['${NOT_SET}']}\n"
        "production:\n"
        "  cron: [1]\n"
    )
    with pytest.raises(ConfigErrors) as caught:
        read(text)
    a, b, c, d, production = caught.value.problems
    assert a.startswith(
        "c.yml:2: cron.a: cron entry 'a': cron '0 99 * * *', column 3: the hours field is '99'; give 0 to"
    )
    assert b == "c.yml:3: cron.b: cron entry 'b' has the key 'crom'; did you mean cron?"
    assert c.startswith("c.yml:4: cron.c: cron entry 'c' is 'text'; give a mapping such as")
    assert d.startswith("c.yml:5: cron.d.args[0] = ")
    assert "the variable NOT_SET is not set" in d
    assert production.startswith("c.yml:7: production.cron = [1]: must be a mapping")


def test_a_change_of_them_is_one_for_new_processes() -> None:
    change = plan(read("concurrency: 3"), read("concurrency: 3\ncron: {a: {cron: '@daily', class: A}}"))
    assert change.rolling == ("cron",)


def test_programs_give_entries() -> None:
    entry = CronEntry(name="a", cron="@daily", job="A")
    with pytest.raises(ConfigErrors, match="two entries are named a"):
        WorkerConfig(cron=(entry, entry))
    with pytest.raises(ConfigErrors, match="must be a tuple of what"):
        WorkerConfig(cron=({"cron": "@daily"},))  # type: ignore[arg-type]


def test_sidekiqs_keys_about_polling_are_not_used() -> None:
    assert read("cron_poll_interval: 10\ncron_schedule_file: x.yml").notices == (
        "c.yml:1: cron_poll_interval is not used: the next tick of each entry is known",
        "c.yml:2: cron_schedule_file is not used: put its entries under cron",
    )
