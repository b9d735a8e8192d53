"""`jobd generate`: a job and its test, each in a file of its own."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from pathlib import Path

import click

from jobd.client.errors import JobdError
from jobd.supervisor.commands.new_files import NewFile, Written, fill, is_taken, package_of, write


@click.command()
@click.argument("kind", type=click.Choice(["job"]), metavar="job")
@click.argument("name")
@click.option("--module", metavar="MODULE", help="Module to write, such as billing.invoices. [NAME_job]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def generate(kind: str, name: str, module: str | None, as_json: bool) -> None:
    """Write a job and its test.

    NAME in CamelCase makes a class, in snake_case a function. The test goes to tests/ if that exists. Nothing that
    exists is changed: the module has to be added to `require` by hand.

    \b
    jobd generate job Hard                      the class Hard in hard_job.py
    jobd generate job send_invoice              the function send_invoice in send_invoice_job.py
    jobd generate job billing.invoices.Send     the class Send in billing/invoices.py
    """
    draft = JobDraft.read(name, module, package_of(Path.cwd()))
    files = draft.files(tests=Path("tests").is_dir())
    if taken := [str(file.path) for file in files if is_taken(file.path)]:
        raise JobdError(f"{' and '.join(taken)} exists and is not overwritten; give another NAME or --module")
    written = Written(next=draft.next_steps(files[1].path))
    with written.telling(as_json=as_json):
        for file in files:
            if not write(file):
                raise JobdError(f"{file.path} has been written by somebody else meanwhile; look at it first")
            written.created.append(str(file.path))


@dataclass(frozen=True)
class JobDraft:
    """A job to be written: the module and what its class or function is called there."""

    module: str
    symbol: str

    @classmethod
    def read(cls, name: str, module: str | None, package: str) -> JobDraft:
        """Understand NAME and `--module`; without a module it is one in `package`. Raises click.UsageError."""
        within, _, symbol = name.rpartition(".")
        if within and module and within != module:
            raise _usage(f"{name} is in {within}, and --module says {module}: give one of them")
        chosen = module or within
        for part in [symbol, *(chosen.split(".") if chosen else [])]:
            if not part.isidentifier() or keyword.iskeyword(part):
                raise _usage(f"{part!r} is no name in Python; write letters, digits and _, as in SendInvoice")
        own = f"{_stem(symbol)}_job"
        return cls(chosen or (f"{package}.{own}" if package else own), symbol)

    @property
    def is_class(self) -> bool:
        """Whether it is a class, as its first letter says."""
        return self.symbol[0].isupper()

    def files(self, *, tests: bool) -> tuple[NewFile, NewFile]:
        """The job and its test, the latter in `tests/` or at the top."""
        values = {"SYMBOL": self.symbol, "MODULE": self.module, "STEM": _stem(self.symbol)}
        template = "job_class.py.txt" if self.is_class else "job_function.py.txt"
        path = Path(*self.module.split(".")).with_suffix(".py")
        test = Path("tests" if tests else ".", f"test_{_stem(self.symbol)}_job.py")
        return NewFile(path, fill(template, values)), NewFile(test, fill("job_test.py.txt", values))

    def next_steps(self, test: Path) -> list[str]:
        """What to do next."""
        return [
            f"add {self.module} to `require` in the configuration",
            f"python -m pytest {test}",
            f"jobd push {self.module}.{self.symbol} world",
        ]


def _stem(symbol: str) -> str:
    """The name in snake_case, without a final `job`."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", symbol).lower().strip("_")
    return snake.removesuffix("_job") or "job"


def _usage(problem: str) -> click.UsageError:
    return click.UsageError(problem, click.get_current_context(silent=True))
