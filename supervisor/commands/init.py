"""`jobd init`: the files with which an application starts to use jobd."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from jobd.client import defaults
from jobd.client.errors import NotPermitted
from jobd.supervisor.commands.confirm import confirm, yes_option
from jobd.supervisor.commands.new_files import NewFile, Written, fill, is_taken, package_of, write

CONFIG, PROCFILE, VARIABLES = "config.yml", "Procfile", ".env.example"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), default=".", metavar="[DIR]")
@click.option("--force", is_flag=True, help="Overwrite what exists, after a question.")
@yes_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def init(directory: Path, force: bool, yes: bool, as_json: bool) -> None:
    """Write a configuration, a module with a first job, a systemd unit, a Procfile and a sample of variables.

    DIR is the application's directory, by default this one; it is made if need be. Files that exist are kept.

    \b
    jobd init
    jobd init shop
    """
    place = Place.of(directory)
    files = place.files()
    taken = [file.path for file in files if is_taken(file.path)]
    if force and taken:
        confirm(f"Overwrite {', '.join(map(str, taken))}?", yes=yes)
    written = Written(next=place.next_commands(has_jobs=force or place.module_file not in taken))
    with written.telling(as_json=as_json):
        for file in files:
            if write(file, overwrite=force):
                written.created.append(str(file.path))
            else:
                written.kept[str(file.path)] = file.hint


@dataclass(frozen=True)
class Place:
    """An application's directory as `init` finds it.

    `directory` is as given, `absolute` without links; `module` holds the first job; `jobd` is the command's path, and
    `user` who is to run it.
    """

    directory: Path
    absolute: Path
    module: str
    jobd: Path
    user: str

    @classmethod
    def of(cls, directory: Path) -> Place:
        """Look at the directory, which need not exist. Raises NotPermitted."""
        absolute = directory.resolve()
        try:
            package, owner = package_of(absolute), _owner(absolute)
        except PermissionError as error:
            raise NotPermitted(f"{directory} cannot be looked at: {error.strerror}") from error
        module = f"{package}.jobs" if package else "jobs"
        return cls(directory, absolute, module, Path(sys.executable).with_name("jobd"), owner)

    @property
    def name(self) -> str:
        """The application's name: that of the directory, as far as it can stand in names of units."""
        return re.sub(r"[^A-Za-z0-9_-]+", "-", self.absolute.name).strip("-") or "app"

    @property
    def module_file(self) -> Path:
        """The file of `module`."""
        return self.directory.joinpath(*self.module.split(".")).with_suffix(".py")

    def files(self) -> Sequence[NewFile]:
        """All that an application needs."""
        values = {
            "NAME": self.name,
            "MODULE": self.module,
            "USER": self.user,
            "JOBD": _unit_word(self.jobd),
            "DIRECTORY": _unit_path(self.absolute),
            "DIRECTORY_WORD": _unit_word(self.absolute),
            "REDIS_URL": defaults.REDIS_URL,
        }
        line = f"jobd: jobd -C {CONFIG} -e production"
        return (
            NewFile(self.directory / CONFIG, fill("config.yml", values), f"it needs `require: [{self.module}]`"),
            NewFile(self.module_file, fill("jobs.py.txt", values)),
            NewFile(self.directory / f"jobd-{self.name}.service", fill("jobd.service", values)),
            NewFile(self.directory / PROCFILE, f"{line}\n", f"it needs a line `{line}`"),
            NewFile(self.directory / VARIABLES, fill("env.example", values)),
        )

    def next_commands(self, *, has_jobs: bool) -> list[str]:
        """What to type next; `has_jobs` says whether the module is the one written here."""
        store = f"embedded:{defaults.EMBEDDED_DIR}"
        enter = [] if self.absolute == Path.cwd() else [f"cd {shlex.quote(str(self.directory))}"]
        last = (
            f"jobd push --redis-url {store} {self.module}.hello world" if has_jobs else f"jobd ctl status -C {CONFIG}"
        )
        return [*enter, f"jobd check -C {CONFIG}", f"jobd --embedded -C {CONFIG}", last]


def _owner(directory: Path) -> str:
    """Whose the directory is, or will be; `app` where that is root, as whom no job should run."""
    uid = directory.stat().st_uid if directory.exists() else os.geteuid()
    try:
        owner = pwd.getpwuid(uid).pw_name
    except KeyError:
        return "app"
    return "app" if owner == "root" else owner


def _unit_path(path: Path) -> str:
    """A path as a setting of a unit takes it."""
    return str(path).replace("%", "%%")


def _unit_word(path: Path) -> str:
    """A path as one word of a command or a list in a unit."""
    text = _unit_path(path)
    if re.fullmatch(r"[\w/.@%+:,=-]+", text):
        return text
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("$", "$$")
    return f'"{escaped}"'
