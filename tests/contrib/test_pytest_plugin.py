"""The pytest plugin, used as an application would: test files of its own, run by a pytest of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

APPLICATION = """
import jobd

ran = []


@jobd.job(name="app.note", queue="notes")
def note(value):
    ran.append(value)


@jobd.job(name="app.flaky")
def flaky():
    ran.append(jobd.current_job().attempt)
    if len(ran) == 1:
        raise ValueError("boom")


@jobd.job(name="app.once")
def once():
    assert not ran
    ran.append("once")
"""
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "REDIS_URL": "unix:///nowhere"}
CLEAN = """
import pytest
from app import ran


@pytest.fixture(autouse=True)
def nothing_ran():
    ran.clear()
"""


def run_pytest(directory: Path, tests: str, *words: str) -> tuple[int, str]:
    """Exit code and output of pytest for a file with these tests."""
    (directory / "app.py").write_text(APPLICATION)
    (directory / "conftest.py").write_text(CLEAN)
    (directory / "test_app.py").write_text(tests)
    plain = ["-p", "jobd.contrib.pytest_plugin", "-p", "no:cacheprovider", "-W", "error", "--strict-markers", "-rA"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plain, *words],
        cwd=directory,
        env={**os.environ, **ALONE, "PYTHONPATH": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_each_fixture_does_what_it_is_named_for(tmp_path: Path) -> None:
    code, output = run_pytest(
        tmp_path,
        """
import time
import jobd
import pytest
from app import flaky, note, ran
from jobd.client import settings

def test_fake(jobd_fake):
    note.perform_async(1)
    jobd_fake.assert_enqueued(note, args=[1], queue="notes", count=1)
    assert ran == []
    assert jobd_fake.drain() == 1
    assert ran == [1]

def test_fake_has_ended():
    with pytest.raises(jobd.errors.RedisUnavailable):
        note.perform_async(1)

def test_inline(jobd_inline):
    note.perform_async(2)
    assert ran == [2]

def test_clock_with_fake(jobd_fake, jobd_clock):
    note.perform_in(3600, "later")
    assert jobd_fake.drain() == 0
    jobd_clock.advance(3601)
    assert jobd_fake.drain() == 1

def test_worker(jobd_worker):
    note.perform_async(3)
    with jobd_worker() as worker:
        worker.drain()
        note.perform_async(4)
        worker.drain()
    assert ran == [3, 4]

def test_clock_with_worker(jobd_worker, jobd_clock):
    flaky.perform_async()
    note.perform_in(3600, "later")
    began = time.monotonic()
    with jobd_worker() as worker:
        worker.drain()
        assert ran == [1]
        jobd_clock.advance(60)
        worker.drain()
        assert ran == [1, 2]
        jobd_clock.advance(3600)
        worker.drain()
    assert ran == [1, 2, "later"]
    assert time.monotonic() - began < 5

def test_clock_is_back(jobd_fake):
    note.perform_in(60, 1)
    jobd_fake.assert_enqueued(note, at=time.time() + 60)

@pytest.mark.parametrize("number", [1, 2])
def test_redis_is_empty_and_private(jobd_redis, number):
    from redis import Redis
    with Redis.from_url(jobd_redis) as client:
        assert client.keys() == []
        jobd.configure(namespace="x:")
        note.perform_async(number)
        assert client.llen("x:queue:notes") == 1

def test_settings_are_restored():
    assert settings.current().redis_url is None
    assert settings.current().namespace == ""
""",
    )
    assert code == 0, output
    assert "10 passed" in output


def test_a_marked_test_runs_every_job_twice_and_with_the_option_all_do(tmp_path: Path) -> None:
    tests = """
import pytest
from app import note, once, ran

def test_plain(jobd_fake):
    once.perform_async()
    jobd_fake.drain()

@pytest.mark.jobd_twice
def test_marked(jobd_inline):
    note.perform_async(1)
    assert ran == [1, 1]

@pytest.mark.jobd_twice
def test_in_a_worker(jobd_worker):
    note.perform_async(1)
    with jobd_worker() as worker:
        worker.drain()
    assert ran == [1, 1]
"""
    code, output = run_pytest(tmp_path, tests)
    assert code == 0, output
    code, output = run_pytest(tmp_path, tests, "--jobd-twice", "-k", "not worker")
    assert code == 1
    assert "1 failed, 1 passed" in output
    assert "app.once ran a second time, because every job runs twice in this test" in output


def test_unused_it_imports_neither_redis_nor_the_worker(tmp_path: Path) -> None:
    (tmp_path / "told.py").write_text(
        "import sys\n"
        "def pytest_unconfigure():\n"
        "    heavy = ('redis', 'asyncio', 'psutil', 'jobd.worker', 'jobd.supervisor', 'jobd.testing')\n"
        "    print('loaded:', [name for name in heavy if name in sys.modules])\n"
    )
    code, output = run_pytest(tmp_path, "def test_nothing(): pass\n", "-p", "told")
    assert code == 0, output
    assert "loaded: []" in output


def test_its_option_and_marker_are_explained(tmp_path: Path) -> None:
    assert "--jobd-twice" in run_pytest(tmp_path, "", "--help")[1]
    assert "@pytest.mark.jobd_twice: every job of the test runs two times" in run_pytest(tmp_path, "", "--markers")[1]
