"""The systems that are compared: how each is started and fed, and how Redis shows what it has still to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench import venvs
from bench.venvs import ROOT, Unavailable

PEERS = Path(__file__).parent / "peers"
QUEUE = "bench"
LOGGING = ", logging each job"


@dataclass(frozen=True)
class Setup:
    """How a system is to run."""

    processes: int = 1
    threads: int = 10
    job_log: bool = False
    queues: tuple[str, ...] = (QUEUE,)
    scheduled: bool = False
    """Whether jobs come that are due later, where that takes another process."""


@dataclass(frozen=True)
class System:
    """One system. `name` is what tables call it."""

    name: str
    version: str
    producer: tuple[str, ...]
    """The command that pushes, to which the words for producer.py are added."""
    start: Callable[[Setup, str, Path], list[list[str]]]
    """The commands for (setup, address of Redis, directory of the run)."""
    left: tuple[tuple[str, str], ...]
    """Commands of Redis and their keys; the sum of the replies is what is not yet done."""
    counts_done: bool = False
    """Whether the sum of `left` is instead what was done since the database was emptied."""
    environment: Mapping[str, str] = field(default_factory=dict)
    job_log: bool = False
    """Whether it is to log each job; of interest only where that may limit it."""
    variant: bool = False
    """Whether it is one of the others with a setting changed that matters only for throughput."""
    has_bulk: bool = False
    threads: int | None = None
    """Jobs at a time in a process, where that cannot be chosen."""

    @property
    def is_plain(self) -> bool:
        """Whether it runs as most of its users start it."""
        return not (self.job_log or self.variant)

    @property
    def family(self) -> str:
        """Systems of one family read each other's jobs."""
        return " ".join(self.producer)

    def environ(self, url: str) -> dict[str, str]:
        """The environment of its programs."""
        kept = {k: v for k, v in os.environ.items() if k not in ("JOBD_REDIS_URL", "REDIS_URL", "JOBD_ENV", "APP_ENV")}
        log = {"BENCH_LOG": "1"} if self.job_log else {}
        paths = {"PYTHONPATH": str(PEERS), "PYTHONDONTWRITEBYTECODE": ""}
        return {**kept, **paths, "BENCH_URL": url, **log, **self.environment}


def _python(*words: str) -> tuple[str, ...]:
    return (sys.executable, *words)


def jobd(root: Path = ROOT, *, name: str = "jobd", job_log: bool = False, prefetch: int | None = None) -> System:
    """The checkout in `root`."""
    changed = {} if prefetch is None else {"prefetch": prefetch}

    def start(setup: Setup, url: str, directory: Path) -> list[list[str]]:
        config = {
            "redis_url": url,
            "require": ["jobd_app"],
            "processes": setup.processes,
            "concurrency": setup.threads,
            "queues": list(setup.queues),
            "log_level": "info" if job_log else "warning",
            "timeout": 5,
            **changed,
        }
        (directory / "jobd.yml").write_text(json.dumps(config))
        return [list(_python("-m", "jobd", "-C", str(directory / "jobd.yml")))]

    return System(
        name,
        _git_version(root),
        _python(str(PEERS / "jobd_app.py")),
        start,
        (("GET", "stat:processed"),),
        counts_done=True,
        environment={"PYTHONPATH": f"{root}{os.pathsep}{PEERS}"},
        job_log=job_log,
        variant=bool(changed),
        has_bulk=True,
    )


def _git_version(root: Path) -> str:
    text = (root / "client" / "version.py").read_text()
    number = text.split('VERSION = "')[1].split('"')[0]
    if shutil.which("git") is None:
        return number
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{number} ({done.stdout.strip()})" if done.returncode == 0 else number


def floor() -> System:
    """A plain consumer of a list."""
    return System(
        "redis-py BRPOP loop",
        venvs.version(Path(sys.executable).parent, "redis"),
        _python(str(PEERS / "floor_app.py")),
        lambda setup, url, directory: [
            list(_python(str(PEERS / "floor_app.py"), "work", str(setup.threads))) for _ in range(setup.processes)
        ],
        (("LLEN", QUEUE),),
        has_bulk=True,
    )


def sidekiq(*, job_log: bool = False) -> System:
    """Debian's, or whichever `sidekiq` PATH holds."""
    program = shutil.which("sidekiq")
    if program is None:
        raise Unavailable("PATH holds no sidekiq: apt-get install ruby-sidekiq")
    app = str(PEERS / "sidekiq_app.rb")
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)

    def start(setup: Setup, url: str, directory: Path) -> list[list[str]]:
        command = [program, "-r", app, "-q", QUEUE, "-c", str(setup.threads), "-e", "production"]
        return [command] * setup.processes

    return System(
        "Sidekiq",
        done.stdout.split()[-1],
        ("ruby", app),
        start,
        (("LLEN", f"queue:{QUEUE}"),),
        job_log=job_log,
        has_bulk=True,
    )


def huey(*, job_log: bool = False) -> System:
    """Threads of one consumer."""
    programs = venvs.environment("huey[redis]")
    quiet = [] if job_log else ["-q"]

    def start(setup: Setup, url: str, directory: Path) -> list[list[str]]:
        consumer = [str(programs / "python"), "-m", "huey.bin.huey_consumer", "huey_app.huey"]
        return [[*consumer, "-k", "thread", "-w", str(setup.threads), *quiet]] * setup.processes

    return System(
        "Huey",
        venvs.version(programs, "huey"),
        (str(programs / "python"), str(PEERS / "huey_app.py")),
        start,
        (("LLEN", f"huey.redis.{QUEUE}"),),
        job_log=job_log,
    )


def celery() -> System:
    """Its pool of threads."""
    programs = venvs.environment("celery[redis]")

    def start(setup: Setup, url: str, directory: Path) -> list[list[str]]:
        command = [str(programs / "celery"), "-A", "celery_app", "worker", "-P", "threads", "-c", str(setup.threads)]
        return [[*command, "-n", f"bench{number}@%h"] for number in range(setup.processes)]

    return System(
        "Celery",
        venvs.version(programs, "celery"),
        (str(programs / "python"), str(PEERS / "celery_app.py")),
        start,
        (("LLEN", QUEUE), ("HLEN", "unacked")),
    )


def dramatiq(prefetch: int | None = None) -> System:
    """Its prefetch is twice the threads unless it is raised."""
    programs = venvs.environment("dramatiq[redis]")

    def start(setup: Setup, url: str, directory: Path) -> list[list[str]]:
        command = [str(programs / "dramatiq"), "dramatiq_app"]
        return [[*command, "--processes", str(setup.processes), "--threads", str(setup.threads)]]

    return System(
        "Dramatiq" if prefetch is None else f"Dramatiq, prefetch {prefetch:,}",
        venvs.version(programs, "dramatiq"),
        (str(programs / "python"), str(PEERS / "dramatiq_app.py")),
        start,
        (("HLEN", f"dramatiq:{QUEUE}.msgs"),),
        environment={} if prefetch is None else {"dramatiq_queue_prefetch": str(prefetch)},
        variant=prefetch is not None,
    )


def rq() -> System:
    """Without its process for each job, and so with one job at a time."""
    programs = venvs.environment("rq")

    def start(setup: Setup, url: str, directory: Path) -> list[list[str]]:
        worker = [str(programs / "rq"), "worker", "--url", url, "--worker-class", "rq.worker.SimpleWorker", "--quiet"]
        return [[*worker, *(["--with-scheduler"] if setup.scheduled else []), QUEUE]] * setup.processes

    return System(
        "RQ, no fork",
        venvs.version(programs, "rq"),
        (str(programs / "python"), str(PEERS / "rq_app.py")),
        start,
        (("LLEN", f"rq:queue:{QUEUE}"), ("ZCARD", f"rq:wip:{QUEUE}")),
        has_bulk=True,
        threads=1,
    )


MAKERS: dict[str, Callable[[], System]] = {
    "jobd": jobd,
    "jobd-log": lambda: _logging(jobd(job_log=True)),
    "jobd-prefetch-1": lambda: jobd(name="jobd, prefetch: 1", prefetch=1),
    "floor": floor,
    "sidekiq": sidekiq,
    "sidekiq-log": lambda: _logging(sidekiq(job_log=True)),
    "huey": huey,
    "huey-log": lambda: _logging(huey(job_log=True)),
    "celery": celery,
    "dramatiq": dramatiq,
    "dramatiq-1000": lambda: dramatiq(1_000),
    "rq": rq,
}
"""What `--systems` may name."""


def _logging(system: System) -> System:
    return replace(system, name=system.name + LOGGING)
