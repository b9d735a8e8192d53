"""Writing files that were not there before, and saying which."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from jobd.client.errors import JobdError, NotPermitted

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class NewFile:
    """A file to be: its path as people are told it, and its text. `hint` says what to do where it exists already."""

    path: Path
    text: str
    hint: str = ""


@dataclass
class Written:
    """What became of the files, and which commands to go on with."""

    created: list[str] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    """Files that existed, each with its hint."""
    next: list[str] = field(default_factory=list)

    @contextmanager
    def telling(self, *, as_json: bool) -> Iterator[None]:
        """Print it at the end, after an error without what would be next."""
        try:
            yield
        except JobdError:
            self.next = []
            raise
        finally:
            self._show(as_json)

    def _show(self, as_json: bool) -> None:
        if as_json:
            click.echo(json.dumps({"created": self.created, "kept": list(self.kept), "next": self.next}))
            return
        for name in self.created:
            click.echo(f"created  {name}")
        for name, hint in self.kept.items():
            click.echo(f"exists   {name}, kept as it is{f'; {hint}' if hint else ''}")
        if self.next:
            click.echo("\n".join(["", "Next:", *(f"  {line}" for line in self.next)]))


def fill(template: str, values: Mapping[str, str]) -> str:
    """The text of a file of `templates/` with each `@NAME@` replaced."""
    text = (TEMPLATES / template).read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def write(file: NewFile, *, overwrite: bool = False) -> bool:
    """Write it unless its path is taken; says whether it was written. Folders are made.

    Raises NotPermitted, or JobdError for other reasons why it cannot be written.
    """
    try:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        with file.path.open("w" if overwrite else "x", encoding="utf-8") as target:
            target.write(file.text)
    except FileExistsError:
        if is_taken(file.path):
            return False
        raise JobdError(f"{file.path.parent} is a file; give a directory") from None
    except OSError as error:
        kind = NotPermitted if isinstance(error, PermissionError) else JobdError
        raise kind(f"{file.path} cannot be written: {error.strerror}") from error
    return True


def is_taken(path: Path) -> bool:
    """Whether something is there, be it a link that leads nowhere."""
    return path.exists() or path.is_symlink()


def package_of(directory: Path) -> str:
    """The name of the package with the application's code in `directory`; empty when there is none.

    That is the one named as the directory, else `app`, else `jobs`, which would hide a module of that name.
    """
    names = (directory.name.replace("-", "_"), "app", "jobs")
    return next((name for name in names if name.isidentifier() and (directory / name / "__init__.py").exists()), "")
