"""The pages for users say what is true: their commands and their code run, and what they name exists."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

from jobd.client.keys import Keys
from jobd.supervisor import cli, exits
from jobd.supervisor.config import load
from tests import page_runner

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "systemd" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUNNER = Path(page_runner.__file__)
EVENTS = {
    name
    for part in ("worker", "supervisor")
    for path in (ROOT / part).glob("*.py")
    for name in re.findall(r'event\(\s*"([a-z._]+)"', path.read_text())
}
EVENTS |= {name for path in (ROOT / "web").rglob("*.py") for name in re.findall(r'"(web\.[a-z_]+)', path.read_text())}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
REPOSITORY_PATH = re.compile(r"(?:client|worker|supervisor|contrib|jobd|tests|systemd|bench|docs|examples)/[\w./-]*\w")

ENDS_WITH_3 = (
    "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(3)); "
    'print("process.ready", flush=True); signal.pause()'
)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def prose(page: Path) -> str:
    """A page without its blocks."""
    return page_runner.BLOCK.sub("", page.read_text())


def table(page: str, first_column: str) -> dict[str, str]:
    """The table whose first column is named so: the code in that column, and the rest of the row."""
    found = re.search(rf"^\| {first_column} \|.*\n\| --- .*\n((?:\|.*\n)+)", (ROOT / page).read_text(), re.MULTILINE)
    assert found, f"no table with the column {first_column} in {page}"
    rows = [re.match(r"\| (.*?) \| (.*) \|$", line) for line in found[1].splitlines()]
    return {row[1].strip("`").replace("\\|", "|"): row[2] for row in rows if row}


def environment() -> dict[str, str]:
    """A reader's environment: the virtual one is active, and nothing says where Redis is."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST", "JOBD_")) and name not in ("REDIS_URL", "APP_ENV")
    }
    return {**kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@every_page
def test_a_page_works_as_it_is_written(page: Path, redis_url: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, RUNNER, page, redis_url],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```python\nassert 1 > 2\n```\n", "assert 1 > 2"),
        ("```sh\nfalse | true\n```\n", "CalledProcessError"),
        ("```sh terminal\njobd --no-such-flag\n```\n", "No such option"),
        (
            "```sh terminal\njobd\n```\n```text log\n2026-01-01T00:00:00.000Z 1 INFO job.done job=never\n```\n",
            "no line with [b'INFO', b'job.done', b'job=never']",
        ),
        (f"```sh terminal\npython -c '{ENDS_WITH_3}'\n```\n", "ended with 3"),
    ],
    ids=["python", "pipe", "flag", "log", "exit code"],
)
def test_a_page_that_does_not_work_is_found(page: str, complaint: str, redis_url: str, tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(page)
    command = "import page_runner, sys; page_runner.WAIT_SECONDS = 3; page_runner.main(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", command, path, redis_url],
        cwd=tmp_path,
        env={**environment(), "PYTHONPATH": str(RUNNER.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert complaint in done.stderr


def all_blocks(*infos: str) -> Iterator[tuple[Path, page_runner.Block]]:
    """The blocks of all pages with one of these info strings."""
    for page in PAGES:
        yield from ((page, block) for block in page_runner.blocks(page.read_text()) if block.info in infos)


def lines_not_run() -> list[str]:
    """What the pages have their reader type and no test runs."""
    lines = (line for _, block in all_blocks("sh") for line in block.text.splitlines())
    return [line for line in lines if not page_runner.is_run(line)]


def test_commands_that_are_not_run_name_targets_and_extras_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    typed = "\n".join(lines_not_run())
    targets, named = re.findall(r"make (\w+)", typed), re.findall(r"\[([\w,]+)\]", typed)
    assert {"demo", "test"} <= set(targets)
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
    assert named
    assert [extra for each in named for extra in each.split(",") if extra not in extras] == []


def test_every_configuration_in_a_page_is_valid(tmp_path: Path) -> None:
    found = list(all_blocks("yaml"))
    assert found
    for page, block in found:
        path = tmp_path / "config.yml"
        path.write_text(block.text)
        assert load(path, None, {}, {}).notices == (), f"{page.name}, line {block.line}"


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-")


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", prose(target), re.MULTILINE)
            assert anchor in map(slug, headings), link


@every_page
def test_every_file_of_this_repository_that_a_page_names_exists(page: Path) -> None:
    named = {span for span in SPAN.findall(prose(page)) if REPOSITORY_PATH.fullmatch(span)}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every `jobd …` command that a page shows, in code spans and blocks."""
    typed = (block.text for block in page_runner.blocks(page.read_text()) if block.info.split()[0] in ("sh", "console"))
    for text in [*SPAN.findall(prose(page)), *"".join(typed).splitlines()]:
        if found := re.match(r"(?:\$ )?(?:\w+=\S+ )*(jobd(?: .*)?)$", text):
            yield shlex.split(found[1], comments=True)


def known_flags(command: click.Command) -> set[str]:
    """Every spelling of every flag of a command."""
    return {flag for option in command.params for flag in option.opts} | {"-h", "--help", "-V", "--version"}


def unknown_flags(words: list[str]) -> list[str]:
    """Sub-command and flags of a `jobd` command line that the program does not have."""
    rest = words[1:]
    name = rest.pop(0) if rest and not rest[0].startswith("-") else "start"
    command = cli.cli.commands.get(name)
    if command is None:
        return [name]
    options = rest[: rest.index("--")] if "--" in rest else rest
    known = known_flags(command) | {"-"}
    return [word for word in options if word.startswith("-") and word.split("=")[0] not in known]


@every_page
def test_every_command_that_a_page_shows_exists(page: Path) -> None:
    assert [words for words in commands(page) if unknown_flags(words)] == []


def test_a_command_that_does_not_exist_is_found() -> None:
    assert unknown_flags(["jobd", "-C", "config.yml", "--frobnicate"]) == ["--frobnicate"]
    assert unknown_flags(["jobd", "frobnicate"]) == ["frobnicate"]
    assert unknown_flags(["jobd", "check", "--show", "-C", "config.yml"]) == []
    assert unknown_flags(["jobd", "push", "app.refund", "-r", "app", "--", "-5"]) == []
    assert unknown_flags(["jobd", "push", "app.refund", "-"]) == []


def test_the_reference_has_every_flag_of_start() -> None:
    listed = {row.split()[0] for row in table("docs/configuration.md", "flag")}
    start = cli.cli.commands["start"]
    assert listed <= known_flags(start)
    assert [option.name for option in start.params if not listed & set(option.opts)] == []


def test_the_reference_has_every_exit_code() -> None:
    codes = {str(value) for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    assert set(table("docs/configuration.md", "exit code")) == codes


def key_patterns() -> set[str]:
    """Every key of Redis, with `<parameter>` for what varies."""
    keys = Keys()
    names = {getattr(keys, each.name) for each in fields(Keys) if each.name != "namespace"}
    methods = [value for name, value in vars(Keys).items() if inspect.isfunction(value) and not name.startswith("_")]
    return names | {_pattern(method, keys) for method in methods}


def _pattern(method: Callable[..., str], keys: Keys) -> str:
    _, *parameters = inspect.signature(method).parameters
    if parameters == ["now"]:
        return method(keys, 0.0).replace("1970-01-01", "<day>")
    return method(keys, *(f"<{parameter}>" for parameter in parameters))


def test_the_data_model_has_every_key_and_no_other() -> None:
    rows = {**table("docs/data-model.md", "Sidekiq's key"), **table("docs/data-model.md", "jobd's key")}
    assert set(rows) == key_patterns()


def events_named(page: Path) -> Iterator[str]:
    """Events of the log, in the log lines of a page and in its code spans."""
    yield from re.findall(r" (?:DEBUG|INFO|WARNING|ERROR) (\S+)", page.read_text())
    components = {name.partition(".")[0] for name in EVENTS} - {"jobd"}
    for span in SPAN.findall(prose(page)):
        name = re.fullmatch(r"([a-z]+)\.(?!py$|ya?ml$|lua$)[a-z_]+", span)
        if name and name[1] in components:
            yield span


@every_page
def test_every_event_of_the_log_that_a_page_names_exists(page: Path) -> None:
    assert set(events_named(page)) <= EVENTS


@every_page
def test_lines_are_short_enough_to_read_as_they_are(page: Path) -> None:
    long = [line for line in prose(page).splitlines() if len(line) > 130 and not line.startswith("|")]
    assert long == []


@pytest.mark.parametrize("page", ["testing.md", "sidekiq.md"])
def test_every_test_that_is_named_exists(page: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs" / page).read_text())
    assert len(named) > 50
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).exists() or (name and not re.search(rf"(class|def) {name}\b", (ROOT / path).read_text()))
    ]
    assert missing == []


def features() -> list[list[str]]:
    """The rows of all tables of the page on Sidekiq's features."""
    lines = (ROOT / "docs" / "sidekiq.md").read_text().splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ") and not line.startswith("| ---")]
    return [row for row in rows if row != ["Sidekiq", "in jobd", "shown", "tested"]]


def test_every_feature_of_sidekiq_has_a_word_in_each_column() -> None:
    assert len(features()) > 200
    assert [row for row in features() if len(row) != 4 or not all(cell.strip() for cell in row)] == []


def test_what_is_there_of_sidekiq_names_the_page_that_shows_it_and_a_test() -> None:
    there = [row for row in features() if not row[1].startswith("not there")]
    assert len(there) > 100
    assert [row for row in there if "](" not in row[2] or "`tests/" not in row[3]] == []


def test_what_is_not_there_of_sidekiq_says_what_to_do_instead() -> None:
    assert [row for row in features() if row[1].startswith("not there") and not row[1].startswith("not there: ")] == []


def test_what_is_different_from_sidekiq_says_why() -> None:
    different = [row for row in features() if row[1].lower().startswith("different")]
    assert different
    assert [row for row in different if not re.search("because", row[1])] == []


def test_every_block_of_a_page_begins_its_line() -> None:
    """Those that do not would be neither run nor checked."""
    assert [page.name for page in PAGES if re.search(r"^[ >]+```", page.read_text(), re.MULTILINE)] == []


def test_the_python_of_other_systems_in_a_page_can_be_parsed() -> None:
    found = list(all_blocks("python celery", "python rq"))
    assert {block.info for _, block in found} == {"python celery", "python rq"}
    for page, block in found:
        ast.parse("\n" * block.line + block.text, str(page))


@pytest.mark.skipif(shutil.which("ruby") is None, reason="ruby is not installed")
def test_the_ruby_in_a_page_can_be_parsed(tmp_path: Path) -> None:
    files = []
    for page, block in all_blocks("ruby"):
        files.append(tmp_path / f"{page.stem}-{block.line}.rb")
        files[-1].write_text(block.text)
    assert files
    compiled = "ARGV.each { |file| RubyVM::InstructionSequence.compile_file(file) }"
    done = subprocess.run(["ruby", "-e", compiled, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
