"""Where the memory of this process is counted: both versions of cgroups, in containers and outside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from jobd.supervisor.memory_cgroup import MemoryCgroup, find

MB = 2**20
NO_LIMIT = 2**63 - 4096


class Machine:
    """A /proc/self and cgroups in a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.proc = root, root / "proc self"
        self.proc.mkdir()

    def describe(self, groups: str, *mounts: str) -> None:
        """Write /proc/self/cgroup, and a line of mountinfo for each `root mountpoint kind options`."""
        (self.proc / "cgroup").write_text(groups)
        lines = []
        for mount in mounts:
            root, point, kind, options = mount.split()
            place = str(self.root / point).replace(" ", "\\040")
            lines.append(f"35 31 0:32 {root} {place} rw,relatime shared:9 - {kind} cgroup {options}\n")
        (self.proc / "mountinfo").write_text("31 23 0:28 / /sys rw - sysfs sysfs rw\n" + "".join(lines))

    def write(self, group: str, files: Mapping[str, object]) -> None:
        """Make a group's folder and files."""
        (self.root / group).mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            (self.root / group / name).write_text(f"{value}\n")

    def group(self) -> MemoryCgroup:
        """The group that is found."""
        found = find(self.proc)
        assert found is not None
        return found


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "a machine").mkdir()
    return Machine(tmp_path / "a machine")


def events(oom_kills: int) -> str:
    return f"low 0\nhigh 3\nmax 40\noom 9\noom_kill {oom_kills}\noom_group_kill 7"


def test_version_2(machine: Machine) -> None:
    machine.describe("0::/system.slice/jobd.service\n", "/ cgroup cgroup2 rw,nsdelegate")
    machine.write("cgroup/system.slice", {"memory.max": 900 * MB, "memory.events.local": events(5)})
    service = {"memory.max": "max", "memory.events": events(2), "memory.events.local": events(1)}
    machine.write("cgroup/system.slice/jobd.service", service)
    assert machine.group().limit() == 900 * MB
    assert machine.group().oom_kills() == 2


def test_version_2_with_the_controller_further_up(machine: Machine) -> None:
    machine.describe("0::/user/session/shell\n", "/ cgroup cgroup2 rw")
    machine.write("cgroup/user/session/shell", {"cgroup.procs": 1})
    machine.write("cgroup/user/session", {"memory.max": "max", "memory.events": 6, "memory.events.local": events(4)})
    machine.write("cgroup/user", {"memory.max": "max", "memory.events.local": events(9)})
    assert machine.group().limit() is None
    assert machine.group().oom_kills() == 4


def test_version_1(machine: Machine) -> None:
    machine.describe(
        "9:name=systemd:/\n8:cpu,memory:/jobs\n0::/elsewhere\n",
        "/ unified cgroup2 rw",
        "/ cpu cgroup rw,cpuacct",
        "/ memory cgroup rw,cpu,memory",
    )
    machine.write("unified/elsewhere", {"memory.max": 1, "memory.events": events(1)})
    machine.write("memory", {"memory.limit_in_bytes": NO_LIMIT})
    control = "oom_kill_disable 0\nunder_oom 0\noom_kill 3"
    machine.write("memory/jobs", {"memory.limit_in_bytes": 64 * MB, "memory.oom_control": control})
    assert machine.group().limit() == 64 * MB
    assert machine.group().oom_kills() == 3


def test_version_1_without_a_limit_and_a_count(machine: Machine) -> None:
    machine.describe("8:memory:/jobs\n", "/ memory cgroup rw,memory")
    control = "oom_kill_disable 0\nunder_oom 0"
    machine.write("memory/jobs", {"memory.limit_in_bytes": NO_LIMIT, "memory.oom_control": control})
    assert machine.group().limit() is None
    assert machine.group().oom_kills() is None


@pytest.mark.parametrize(("path", "root"), [("/", "/"), ("/docker/c0ffee", "/docker/c0ffee")])
def test_a_container_that_sees_its_own_group_alone(machine: Machine, path: str, root: str) -> None:
    machine.describe(f"0::{path}\n", f"{root} cgroup cgroup2 ro")
    machine.write("cgroup", {"memory.max": 256 * MB, "memory.events": events(8)})
    machine.write(".", {"memory.max": MB})
    assert machine.group().limit() == 256 * MB
    assert machine.group().oom_kills() == 8


@pytest.mark.parametrize(
    ("groups", "mounts"),
    [
        ("0::/jobs\n", ()),
        ("0::/jobs\n", ("/ gone cgroup2 rw",)),
        ("0::/../jobs\n", ("/ cgroup cgroup2 rw",)),
        ("0::/\n", ("/../.. cgroup cgroup2 rw",)),
        ("0::/jobs\n", ("/others cgroup cgroup2 rw",)),
        ("4:memory:/jobs\n0::/\n", ("/ cgroup cgroup2 rw",)),
        ("3:cpu:/\n", ("/ cgroup cgroup rw,cpu",)),
        ("", ()),
    ],
)
def test_a_group_that_cannot_be_seen_is_not_guessed(machine: Machine, groups: str, mounts: tuple[str, ...]) -> None:
    machine.write("cgroup/jobs", {"memory.max": MB})
    machine.write("jobs", {"memory.max": MB})
    machine.describe(groups, *mounts)
    assert find(machine.proc) is None


def test_without_cgroups_there_is_none(tmp_path: Path) -> None:
    assert find(tmp_path / "nowhere") is None
