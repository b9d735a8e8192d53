"""The configuration: layers, sections, spellings, and what is said about mistakes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from jobd.client.errors import ConfigError, ConfigErrors
from jobd.supervisor.config import SETTINGS, Config, load, show

Load = Callable[..., Config]
Refuse = Callable[..., tuple[str, ...]]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a text as the file c.yml."""
    monkeypatch.chdir(tmp_path)

    def read(
        text: str,
        environment: str | None = None,
        flags: Mapping[str, Any] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> Config:
        Path("c.yml").write_text(text)
        return load(Path("c.yml"), environment, flags or {}, variables or {})

    return read


@pytest.fixture
def refused(read: Load) -> Refuse:
    """The lines with which a file is refused."""

    def refused(*args: Any, **options: Any) -> tuple[str, ...]:
        with pytest.raises(ConfigErrors) as caught:
            read(*args, **options)
        assert str(caught.value) == "\n".join(caught.value.problems)
        return caught.value.problems

    return refused


class TestLayers:
    def test_without_a_file_the_defaults_serve(self) -> None:
        config = load(None, None, {}, {})
        assert config == Config()
        assert (config.concurrency, config.timeout, config.max_retries) == (10, 25, 25)
        assert config.redis_url == "redis://localhost:6379/0"
        assert config.processes == len(os.sched_getaffinity(0))
        assert set(config.sources.values()) == {"default"}

    @pytest.mark.parametrize("text", ["", "\n", "---\n", "# nothing\n", "\ufeff"])
    def test_an_empty_file_is_fine(self, read: Load, text: str) -> None:
        assert read(text) == Config()

    def test_a_section_beats_the_file_and_a_flag_beats_both(self, read: Load) -> None:
        text = "concurrency: 2\ntimeout: 3\ntag: a\nproduction:\n  concurrency: 4\n  timeout: 5\n"
        config = read(text, "production", {"concurrency": 6, "tag": None})
        assert (config.concurrency, config.timeout, config.tag) == (6, 5, "a")
        assert config.sources["concurrency"] == "--concurrency"
        assert config.sources["timeout"] == "c.yml:6 (production)"
        assert config.sources["tag"] == "c.yml:3"
        assert config.sources["lease"] == "default"

    def test_the_address_comes_from_flag_variable_section_file(self, read: Load) -> None:
        text = "redis_url: redis://file\ntest:\n  redis_url: redis://section\n"
        own = {"REDIS_URL": "redis://common"}
        both = own | {"JOBD_REDIS_URL": "redis://jobd"}
        flag = {"redis_url": "embedded:here"}
        assert read(text).redis_url == "redis://file"
        assert read(text, "test").redis_url == "redis://section"
        assert read(text, "test", {}, own).redis_url == "redis://common"
        assert read(text, "test", {}, both).redis_url == "redis://jobd"
        assert read(text, "test", flag, both).redis_url == "embedded:here"

    def test_an_empty_variable_counts_as_not_set(self, read: Load) -> None:
        config = read("redis_url: redis://file", None, {}, {"REDIS_URL": "", "JOBD_ENV": ""})
        assert (config.redis_url, config.environment) == ("redis://file", "development")

    @pytest.mark.parametrize(
        ("flag", "variables", "expected"),
        [
            (None, {}, ("development", "default")),
            (None, {"APP_ENV": "test"}, ("test", "$APP_ENV")),
            (None, {"APP_ENV": "test", "JOBD_ENV": "staging"}, ("staging", "$JOBD_ENV")),
            ("mine", {"JOBD_ENV": "staging"}, ("mine", "-e")),
        ],
    )
    def test_the_environment(self, flag: str | None, variables: dict[str, str], expected: tuple[str, str]) -> None:
        config = load(None, flag, {}, variables)
        assert (config.environment, config.sources["environment"]) == expected

    def test_flags_are_checked_like_the_file(self, refused: Refuse) -> None:
        flags = {"concurrency": 0, "queues": ["a,0"], "require": ["a.py/"], "timeout": float("nan")}
        assert refused("", None, flags) == (
            "--concurrency = 0: must be a whole number from 1 to 1000",
            '--queue = "a,0": the weight must be a whole number from 1 to 1000',
            "--require = a.py/: must be the dotted name of a module, such as app.jobs",
            "--timeout = nan: must be a number of seconds from 0 to 86400",
        )

    def test_queues_of_flags(self, read: Load) -> None:
        assert read("queues: [x]", None, {"queues": ["a,3", "b"]}).queues == (("a", 3), ("b", 1))
        assert read("", None, {"queues": ["a", "b"]}).queues == (("a", 0), ("b", 0))
        assert read("queues: [x]", None, {"queues": ()}).queues == (("x", 0),)

    def test_verbose_means_debug_whatever_log_level_says(self, read: Load) -> None:
        assert read("log_level: warning", None, {"verbose": True}).log_level == "debug"
        assert read("log_level: warning\nverbose: false").log_level == "warning"

    def test_systemds_wish_for_a_start_that_logs_more_is_obeyed(self, read: Load) -> None:
        assert read("log_level: warning", None, {}, {"DEBUG_INVOCATION": "1"}).log_level == "debug"
        assert read("log_level: warning", None, {}, {"DEBUG_INVOCATION": "0"}).log_level == "warning"


class TestSections:
    def test_a_missing_section_is_fine(self, read: Load) -> None:
        assert read("concurrency: 2", "production").concurrency == 2

    def test_an_empty_section_is_fine(self, read: Load) -> None:
        assert read("production:\n", "production") == Config(environment="production")

    def test_the_chosen_environment_and_listed_ones_are_sections(self, read: Load) -> None:
        text = "review: {concurrency: 3}\nqa: {concurrency: 4}\nenvironments: [qa]\n"
        assert read(text, "review").concurrency == 3

    def test_any_other_mapping_is_an_unknown_key(self, refused: Refuse) -> None:
        assert refused("blue: {concurrency: 3}\nprodction: {}\n") == (
            "c.yml:1: blue = {…}: unknown key; remove it "
            "(a section of an environment must be listed in `environments`)",
            "c.yml:2: prodction = {}: unknown key; did you mean production? "
            "(a section of an environment must be listed in `environments`)",
        )

    def test_sections_of_other_environments_are_checked(self, refused: Refuse) -> None:
        assert refused("production:\n  concurrency: 0\n  timout: 2\n  environments: [a]\nstaging: 3\n") == (
            "c.yml:2: production.concurrency = 0: must be a whole number from 1 to 1000",
            "c.yml:3: production.timout = 2: unknown key; did you mean timeout?",
            "c.yml:4: production.environments = [a]: belongs to the top level of the file",
            "c.yml:5: staging = 3: an environment section must be a mapping of keys to values",
        )

    def test_variables_of_other_environments_need_not_be_set(self, read: Load, refused: Refuse) -> None:
        text = "production:\n  redis_url: ${PRODUCTION_URL}\n"
        assert read(text).redis_url == "redis://localhost:6379/0"
        (problem,) = refused(text, "production")
        assert problem.startswith("c.yml:2: production.redis_url = ")
        assert "the variable PRODUCTION_URL is not set" in problem

    def test_a_lease_is_compared_with_the_heartbeat_in_each_environment(self, refused: Refuse) -> None:
        assert refused("heartbeat_interval: 10\ntest:\n  lease: 20\n") == (
            "c.yml:3: test.lease = 20: must be more than two heartbeats (20 seconds)",
        )
        assert refused("lease: 15") == ("c.yml:1: lease = 15: must be more than two heartbeats (20 seconds)",)

    def test_the_hang_limit_is_shorter_than_the_lease_in_each_environment(self, refused: Refuse) -> None:
        problem = "must be shorter than the lease of 60 seconds, or others take the jobs of a process that only hangs"
        assert refused("hang_timeout: 60") == (f"c.yml:1: hang_timeout = 60: {problem}",)
        assert refused("test:\n  hang_timeout: 90") == (f"c.yml:2: test.hang_timeout = 90: {problem}",)

    @pytest.mark.parametrize(("lease", "limit"), [(30, 22.5), (600, 45), (60, 45), (21, 15.75)])
    def test_the_hang_limit_follows_the_lease(self, read: Load, lease: float, limit: float) -> None:
        assert read(f"lease: {lease}").hang_timeout == limit
        assert read(f"lease: {lease}\nhang_timeout: 5").hang_timeout == 5


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MB", 512 << 20), ("1.5 GB", 3 << 29), ("2048kib", 2 << 20), ("1G", 1 << 30), ("2000000", 2_000_000)],
)
def test_sizes_are_read_as_bytes(read: Load, text: str, size: int) -> None:
    assert read(f"max_memory: {text}").max_memory == size


class TestSidekiqsSpelling:
    def test_a_sidekiq_file_works(self, read: Load) -> None:
        config = read(
            ":concurrency: 7\n:timeout: 8\n:queues:\n  - [critical, 3]\n  - 'default,2'\n  - low\n"
            ":dead_timeout_in_seconds: 60\n:production:\n  :concurrency: 9\n",
            "production",
        )
        assert (config.concurrency, config.timeout, config.dead_timeout) == (9, 8, 60)
        assert config.queues == (("critical", 3), ("default", 2), ("low", 1))
        assert config.notices == ()

    @pytest.mark.parametrize(
        ("text", "queues"),
        [
            ("[a, b]", (("a", 0), ("b", 0))),
            ("a", (("a", 0),)),
            ("'a,2'", (("a", 2),)),
            ("[[a, 1], [b, 1]]", (("a", 1), ("b", 1))),
            ("[[a, 1], b]", (("a", 1), ("b", 1))),
            ("[a, b, a]", (("a", 0), ("b", 0))),
            ("[yes, on]", (("yes", 0), ("on", 0))),
            ("\n  - :a\n  - b", (("a", 0), ("b", 0))),
            ("\n  - - a\n    - ${WEIGHT}", (("a", 5),)),
        ],
    )
    def test_queues(self, read: Load, text: str, queues: tuple[tuple[str, int], ...]) -> None:
        assert read(f"queues: {text}", None, {}, {"WEIGHT": "5"}).queues == queues

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("[[a, 0]]", "queues[0] = [a, 0]: the weight must be a whole number from 1 to 1000"),
            ("[[a, 1001]]", "queues[0] = [a, 1001]: the weight must be a whole number from 1 to 1000"),
            ("[[a, true]]", "queues[0] = [a, true]: the weight must be a whole number from 1 to 1000"),
            ("[['a', 1.5]]", "queues[0] = [a, 1.5]: the weight must be a whole number from 1 to 1000"),
            ("['a,b']", 'queues[0] = "a,b": the weight must be a whole number from 1 to 1000'),
            ("[[a, 2], [a, 3]]", "queues[1] = [a, 3]: a has another weight already; give each queue once"),
            ("[[a, 1, 2]]", "queues[0] = [a, 1, 2]: must be a name, or a name and a weight: [critical, 3]"),
            ("['']", 'queues[0] = "": must not be empty'),
            ('["a\\nb"]', 'queues[0] = "a\\nb": must not hold control characters or line breaks'),
            ("[7]", "queues[0] = 7: must be text; put it in quotes"),
            ("[]", "queues = []: must be a list of queues, such as [critical, 3] or default"),
            ("{a: 1}", "queues = {…}: must be a list of queues, such as [critical, 3] or default"),
        ],
    )
    def test_bad_queues(self, refused: Refuse, text: str, problem: str) -> None:
        (found,) = refused(f"queues: {text}")
        assert found.removeprefix("c.yml:1: ") == problem

    def test_keys_without_effect_are_reported(self, read: Load) -> None:
        config = read("average_scheduled_poll_interval: 5\n:environment: production\n")
        assert config.notices == (
            "c.yml:1: average_scheduled_poll_interval is not used: due jobs are not polled for",
            "c.yml:2: environment is not used: choose it with -e, JOBD_ENV or APP_ENV",
        )
        assert config.environment == "development"

    def test_erb_is_refused_with_a_hint_but_not_in_comments(self, read: Load, refused: Refuse) -> None:
        (problem,) = refused("# <%= 1 %>\nconcurrency: <%= ENV['N'] %>\n")
        assert problem.startswith("c.yml:2: ERB (<% … %>) is not evaluated; write ${VAR}")
        assert read("# <%= 1 %>") == Config()

    def test_both_names_of_one_key_are_refused(self, refused: Refuse) -> None:
        (problem,) = refused("dead_timeout: 5\ndead_timeout_in_seconds: 6")
        assert problem.startswith("c.yml:2: dead_timeout_in_seconds = 6: dead_timeout is given under two names")


class TestCapsules:
    def test_capsules_may_share_queues_and_inherit_the_concurrency(self, read: Load) -> None:
        text = "capsules:\n  a: {concurrency: 1, queues: [x]}\n  b: {queues: [[x, 2], y]}\n"
        a, b = read(text, None, {"concurrency": 4}).capsules
        assert (a.name, a.concurrency, a.queues) == ("a", 1, (("x", 0),))
        assert (b.name, b.concurrency, b.queues) == ("b", 4, (("x", 2), ("y", 1)))

    def test_bad_capsules(self, refused: Refuse) -> None:
        wrong = ["default: {queues: [a]}", "b: 3", "c: {concurrency: 1}", "d: {queues: [], threads: 1}"]
        lines = refused("\n  ".join(["capsules:", *wrong]))
        assert [line.partition(" = ")[0] for line in lines] == [
            "c.yml:2: capsules.default",
            "c.yml:3: capsules.b",
            "c.yml:4: capsules.c",
            "c.yml:5: capsules.d.queues",
            "c.yml:5: capsules.d.threads",
        ]


class TestMistakes:
    def test_all_are_told_at_once_in_the_order_of_the_file(self, refused: Refuse) -> None:
        text = 'concurency: 5\nconcurrency: "5"\nlogformat: jsn\ntimeout: 1\ntimeout: 2\nverbose: yes\n'
        assert refused(text, None, {"processes": -1}) == (
            "c.yml:1: concurency = 5: unknown key; did you mean concurrency?",
            'c.yml:2: concurrency = "5": must be a whole number from 1 to 1000; write it without quotes',
            "c.yml:3: logformat = jsn: must be one of pretty, plain, json; did you mean json?",
            "c.yml:5: timeout: given twice, first on line 4; remove one of them",
            "c.yml:6: verbose = yes: must be true or false",
            "--processes = -1: must be a whole number from 0 to 1000",
        )

    @pytest.mark.parametrize(
        "line",
        [
            "max_retries: true",
            "max_retries: 1.0",
            "concurrency: 010",
            "concurrency: 0x10",
            "concurrency: 1:30",
            "timeout: .inf",
            "timeout: 25s",
            "timeout: [1]",
            "timeout:",
            "timeout: ~",
            "lease: false",
            "dead_max_jobs: 0",
            "verbose: 1",
            "log_level: INFO",
            "timestamps: us",
            "tag: 5",
            "require: [./app.rb]",
            "labels: {a: b}",
            "labels: ['']",
            "redis_url: localhost",
            "redis_url: redis://host:port",
            "redis_url: 'redis:'",
            "redis_url: ''",
            "heartbeat_interval: 21",
            "max_memory: plenty",
            "max_memory: 100",
            "max_memory: 1e9",
            "max_jobs: 0",
            "hang_timeout: 2",
            "memory_kind: pss",
            "preload: 1",
            "metrics: 9394",
            "metrics: ':9394'",
            "metrics: 127.0.0.1:99999",
            "1: 2",
        ],
    )
    def test_a_wrong_value_is_one_line_with_key_and_value(self, refused: Refuse, line: str) -> None:
        (problem,) = refused(line)
        assert problem.startswith(f"c.yml:1: {line.partition(':')[0]}")
        assert " = " in problem

    @pytest.mark.parametrize(
        ("text", "start"),
        [
            ("a: [1", "c.yml:1: bad YAML at column 6: "),
            ("timeout: 1\n\tlease: 2", "c.yml:2: bad YAML at column 1: "),
            ("timeout: 1\n lease: 2", "c.yml:2: bad YAML at column 7: "),
            ("queues: [${A}]", "c.yml:1: bad YAML at column 11: "),
            ("tag: *nowhere", "c.yml:1: bad YAML at column 6: "),
            ("tag: \x07", "c.yml:1: bad YAML: the character U+0007"),
            ("--- {}\n--- {}", "c.yml:2: bad YAML at column 1: "),
            ("labels: &a [*a]", "c.yml:1: bad YAML: an alias"),
            ("labels: " + "[" * 5000, "c.yml:1: bad YAML: nested too deeply"),
            ("tag: !ruby/object:A b", "c.yml:1: the tag !ruby/object:A is not supported"),
            ("- a", "c.yml:1: the file must be a mapping"),
            ("hello", "c.yml:1: the file must be a mapping"),
            ("? [a]\n: b", "c.yml:1: a key must be a word"),
        ],
    )
    def test_bad_yaml_is_one_line_with_its_position(self, refused: Refuse, text: str, start: str) -> None:
        (problem,) = refused(text)
        assert problem.startswith(start)
        assert "\n" not in problem

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"nowhere\.yml: no such file"):
            load(tmp_path / "nowhere.yml", None, {}, {})
        with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
            load(tmp_path, None, {}, {})
        (tmp_path / "latin.yml").write_bytes(b"a: 1\ntag: \xe9\n")
        with pytest.raises(ConfigError, match=r"latin\.yml:2: not UTF-8"):
            load(tmp_path / "latin.yml", None, {}, {})

    def test_passwords_are_in_no_message(self, refused: Refuse) -> None:
        (problem,) = refused("redis_url: redis://me:p@ssword@host:port/0")
        assert "redis://me:***@host:port/0" in problem
        (problem,) = refused("", None, {}, {"REDIS_URL": "reds://:secret@host"})
        assert "secret" not in problem


class TestYaml:
    def test_aliases_and_merges_work(self, read: Load) -> None:
        text = "test: &t\n  concurrency: 3\n  labels: &l [a, b]\nproduction:\n  <<: *t\n  timeout: 4\n"
        config = read(text + "labels: *l\n", "production")
        assert (config.concurrency, config.timeout, config.labels) == (3, 4, ("a", "b"))

    def test_an_own_key_beats_a_merged_one(self, read: Load) -> None:
        text = "test: &t {concurrency: 3}\nproduction:\n  concurrency: 5\n  <<: *t\n"
        assert read(text, "production").concurrency == 5

    def test_a_document_that_multiplies_itself_stays_small(self, refused: Refuse) -> None:
        levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
        assert len(refused("\n".join(["a0: &a0 [x]", *levels]))) == 40

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("tag: ${A}", "one"),
            ("tag: x-${A}-${B:-two}", "x-one-two"),
            ("tag: ${EMPTY:-other}", "other"),
            ("tag: ${EMPTY}", ""),
            ("tag: ${UNSET:-}", ""),
            ("tag: '${NUMBER}'", "12"),
            ("tag: ${TRICK}", "${A}: [x"),
            ("tag: $A {A}", "$A {A}"),
        ],
    )
    def test_variables_are_put_into_text(self, read: Load, text: str, expected: str) -> None:
        variables = {"A": "one", "EMPTY": "", "NUMBER": "12", "TRICK": "${A}: [x"}
        assert read(text, None, {}, variables).tag == expected

    def test_a_variable_without_quotes_may_be_a_number_or_boolean(self, read: Load) -> None:
        text = "concurrency: ${N}\ntimeout: ${T:-2.5}\nverbose: ${V}\n"
        config = read(text, None, {}, {"N": "12", "V": "true"})
        assert (config.concurrency, config.timeout, config.verbose) == (12, 2.5, True)

    @pytest.mark.parametrize("value", ["${A", "${1A}", "${A:-${B}}", "${}", "${A-b}"])
    def test_what_is_no_variable_is_refused(self, refused: Refuse, value: str) -> None:
        (problem,) = refused(f"tag: {value}", None, {}, {"A": "a", "B": "b"})
        assert "is no variable; write ${NAME} or ${NAME:-default}" in problem


def test_show_gives_value_and_source_of_each_key_and_masks_passwords(read: Load) -> None:
    text = "redis_url: redis://me:secret@host/1\nqueues: [[a, 2], b]\n"
    text += "capsules: {o: {concurrency: 1, queues: [x]}}\n"
    rows = {line.split()[0]: line.split(maxsplit=1)[1] for line in show(read(text, "test")).splitlines()}
    assert set(rows) == {"environment", *SETTINGS}
    assert rows["redis_url"].split() == ["redis://me:***@host/1", "c.yml:1"]
    assert rows["queues"].startswith("[[a, 2], [b, 1]] ")
    assert rows["capsules"].startswith("{o: {concurrency: 1, queues: [x]}} ")
    assert rows["environment"].split() == ["test", "-e"]
    assert rows["dead_timeout"].split() == ["15552000", "default"]
