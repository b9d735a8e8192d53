"""The memory cgroup of this process: where it is, how much it may hold, and whom the kernel killed there.

Reads only. Whether the kernel uses version 1 or 2 of cgroups for memory does not matter to the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PROC = Path("/proc/self")
_UNLIMITED = 1 << 60
"""Version 1 writes "no limit" as a number of about this size, which depends on the page size."""


@dataclass(frozen=True, slots=True)
class MemoryCgroup:
    """A cgroup of the memory controller, as this process sees it."""

    version: Literal[1, 2]
    mount: Path
    directory: Path
    """`mount`, or a folder below it."""

    def limit(self) -> int | None:
        """Bytes that all processes in it may hold together; None without a limit. Limits further up hold as well."""
        name = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
        found = [int(text) for group in self._upwards() if (text := _read(group / name).strip()).isdecimal()]
        return min((limit for limit in found if limit < _UNLIMITED), default=None)

    def oom_kills(self) -> int | None:
        """Processes in it that the kernel has killed for lack of memory so far; None where it does not tell."""
        if self.version == 1:
            return _value(self.directory / "memory.oom_control", "oom_kill")
        count = _value(self.directory / "memory.events", "oom_kill")
        if count is not None:
            return count
        # The controller is off in this group, so memory counts for one further up. There `local` leaves out the
        # groups beside this one for which the controller is on.
        counts = (_value(group / "memory.events.local", "oom_kill") for group in self._upwards())
        return next((count for count in counts if count is not None), None)

    def _upwards(self) -> Iterator[Path]:
        for group in (self.directory, *self.directory.parents):
            yield group
            if group == self.mount:
                return


def find(proc: Path = PROC) -> MemoryCgroup | None:
    """The cgroup that counts the memory of the process at `proc`; None where there is none to be seen."""
    paths = dict(_groups(_read(proc / "cgroup")))
    version: Literal[1, 2] = 1 if "memory" in paths else 2
    path = paths.get("memory" if version == 1 else "")
    if path is None:
        return None
    for root, mount in _mounts(_read(proc / "mountinfo"), version):
        directory = _below(mount, root, path)
        if directory is not None and directory.is_dir():
            return MemoryCgroup(version, mount, directory)
    return None


def _groups(text: str) -> Iterator[tuple[str, str]]:
    """Each controller with the path of its group; the group of version 2 has the empty name."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _mounts(text: str, version: int) -> Iterator[tuple[str, Path]]:
    """Which folder of the hierarchy that counts memory is mounted, and where."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind == "cgroup2" if version == 2 else (kind == "cgroup" and "memory" in options.split(",")):
            root, mount = before.split(" ")[3:5]
            yield _unescaped(root), Path(_unescaped(mount))


def _below(mount: Path, root: str, path: str) -> Path | None:
    """Where the group `path` is when `root` is mounted at `mount`; None when it is outside, as in another namespace."""
    if ".." in Path(root).parts + Path(path).parts or not Path(path).is_relative_to(root):
        return None
    return mount / Path(path).relative_to(root)


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _value(file: Path, name: str) -> int | None:
    """The number that stands behind `name` on a line of its own."""
    for line in _read(file).splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == name:
            return int(words[1])
    return None


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
