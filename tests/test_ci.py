"""What refuses a change: `.ci/run` with a make and a Python that do as they are told."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / ".ci" / "run"
MAKE = """#!/bin/sh
echo "make $1 rounds=$JOBD_CHAOS_ROUNDS" >>told
cat "said-$1" 2>/dev/null
test ! -e "fails-$1"
"""
PYTHON = """#!/bin/sh
echo "python $* browser=$JOBD_BROWSER" >>told
case "$*" in *interop*) exit 1 ;; *) test ! -e fails-again ;; esac
"""
TARGETS = pytest.mark.parametrize("target", ["test", "test-browser"])


@dataclass
class Checkout:
    """A directory in which `.ci/run` stands beside its stand-ins."""

    path: Path

    def fail(self, target: str, *tests: str) -> None:
        """Have a target of make fail with what pytest says of these tests."""
        lines = [f"FAILED {test} - assert 1 == 2: FAILED tests/no.py\n" for test in tests]
        (self.path / f"said-{target}").write_text("".join(["short test summary\n", *lines]))
        (self.path / f"fails-{target}").touch()

    def run(self, chromium: str = "sh") -> subprocess.CompletedProcess[str]:
        """Run it where `chromium` is that program."""
        path = f"{self.path / 'bin'}{os.pathsep}{os.environ['PATH']}"
        variables = {"PATH": path, "CHROMIUM": chromium, "HOME": str(self.path), "TMPDIR": str(self.path / "tmp")}
        run = [str(self.path / ".ci" / "run")]
        return subprocess.run(run, env=variables, capture_output=True, text=True, check=False, timeout=60)

    @property
    def told(self) -> list[str]:
        """What make and Python were told, without the question whether Ruby is there."""
        return [line for line in (self.path / "told").read_text().splitlines() if "interop" not in line]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """All succeeds there, and Ruby is not installed; nor is anything by apt-get, which is a stand-in too."""
    for directory in (".ci", "bin", ".venv/bin", "tmp"):
        (tmp_path / directory).mkdir(parents=True)
    shutil.copy(SCRIPT, tmp_path / ".ci" / "run")
    for name, text in (("bin/make", MAKE), (".venv/bin/python", PYTHON), ("bin/apt-get", "#!/bin/sh\nexit 1\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(stat.S_IRWXU)
    return Checkout(tmp_path)


def names(count: int) -> list[str]:
    """The names of tests, one of them with what a shell would take for a pattern."""
    return [f"tests/a/test_b.py::test_{i}[/{{name:path}} *]" for i in range(count)]


def test_nothing_fails(checkout: Checkout) -> None:
    done = checkout.run()
    assert done.returncode == 0, done.stderr
    assert checkout.told == ["make test rounds=20", "make test-browser rounds="]
    assert list((checkout.path / "tmp").iterdir()) == []


@TARGETS
def test_two_fail_and_pass_alone(checkout: Checkout, target: str) -> None:
    checkout.fail(target, *names(2))
    done = checkout.run()
    assert done.returncode == 0, done.stderr
    alone = f"python -m pytest -p no:randomly {' '.join(names(2))} browser={1 if target == 'test-browser' else ''}"
    assert alone in checkout.told
    assert checkout.told[-1] == ("make test-browser rounds=" if target == "test" else alone)
    assert [line for line in done.stderr.splitlines() if "passed alone" in line] == [
        f"failed among others, passed alone: {name}" for name in names(2)
    ]


@TARGETS
def test_two_fail_and_fail_again(checkout: Checkout, target: str) -> None:
    checkout.fail(target, *names(2))
    (checkout.path / "fails-again").touch()
    done = checkout.run()
    assert done.returncode != 0
    assert "passed alone" not in done.stderr
    assert checkout.told[-1].startswith("python -m pytest")


@TARGETS
@pytest.mark.parametrize("count", [0, 6], ids=["make is broken before any test ran", "six fail"])
def test_what_is_more_than_a_few_tests_is_not_run_again(checkout: Checkout, target: str, count: int) -> None:
    checkout.fail(target, *names(count))
    assert checkout.run().returncode != 0
    assert checkout.told[-1].startswith(f"make {target} ")


def test_without_a_chromium_it_says_what_was_left_out(checkout: Checkout) -> None:
    done = checkout.run(chromium="no-such-chromium")
    assert done.returncode == 0, done.stderr
    assert checkout.told == ["make test rounds=20"]
    assert "left out: make test-browser" in done.stderr
