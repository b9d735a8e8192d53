"""The example file and the reference page say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobd.client.errors import ConfigErrors
from jobd.supervisor import config as server_config
from jobd.supervisor.config import SETTINGS, Config, load, show
from jobd.supervisor.settings_file import NOT_USED

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config.example.yml"
PAGE = (ROOT / "docs" / "configuration.md").read_text()
DERIVED = {"processes": "one per core", "tag": "name of the start directory", "logformat": "by destination"}
DERIVED |= dict.fromkeys(("pidfile", "logfile", "metrics", "web"), "none")


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    """The example with its commented keys switched on."""
    path = tmp_path / "config.yml"
    path.write_text(re.sub(r"^#(?=\w)", "", EXAMPLE.read_text(), flags=re.MULTILINE))
    return path


def test_the_example_is_valid_as_it_is() -> None:
    for environment in ("development", "production"):
        assert load(EXAMPLE, environment, {}, {}).notices == ()


def test_the_example_shows_every_key_with_a_value_that_is_no_default(
    everything: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_config, "cores", lambda: 64)
    example, default = load(everything, "development", {}, {}), Config(processes=64)
    assert [key for key in SETTINGS if getattr(example, key) == getattr(default, key)] == []


def test_the_examples_section_changes_something() -> None:
    top, production = (load(EXAMPLE, environment, {}, {}) for environment in ("test", "production"))
    assert top.concurrency != production.concurrency


def test_the_page_has_each_key_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|", PAGE, re.MULTILINE))
    defaults = dict(re.findall(r"^(\w+) +(.*?) +default$", show(load(None, None, {}, {})), re.MULTILINE))
    assert set(rows) == set(SETTINGS)
    assert {key: rows[key].strip("`") for key in SETTINGS} == {key: DERIVED.get(key, defaults[key]) for key in SETTINGS}


@pytest.mark.parametrize("key", NOT_USED)
def test_the_page_names_each_key_without_effect(key: str) -> None:
    assert f"`{key}`" in PAGE


def test_the_ranges_of_the_page_are_the_codes() -> None:
    ranges = re.findall(r"^\| `(\w+)` \| ([\d.]+) to ([\d.]+) \|", PAGE, re.MULTILINE)
    assert len(ranges) > 5
    for key, low, high in ranges:
        check = Config.CHECKS[key]
        whole = "." not in low + high and check(0.5) is not None
        convert = int if whole else float
        assert check(convert(low)) is None
        assert check(convert(high)) is None
        assert check(convert(high) + 1) is not None
        assert check(convert(low) - 1) is not None


def test_the_messages_of_the_page_are_the_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yml").write_text(
        "\n\nconcurency: 5\n\n\n\n\nqueues:\n  - [critical, 0]\n\n\n\nproduction:\n  timeout: '25'\n"
    )
    with pytest.raises(ConfigErrors) as caught:
        load(Path("config.yml"), None, {}, {})
    assert str(caught.value) in PAGE
