"""The command `jobd`: options in, one call out, an exit code back."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobd.client import defaults
from jobd.client.embedded import SCHEME
from jobd.client.errors import ConfigError, JobdError
from jobd.client.version import VERSION
from jobd.supervisor import exits
from jobd.supervisor.commands.generate import generate
from jobd.supervisor.commands.init import init
from jobd.supervisor.commands.jobs import jobs
from jobd.supervisor.commands.mark_deploy import mark_deploy
from jobd.supervisor.commands.mon import mon
from jobd.supervisor.commands.processes import processes
from jobd.supervisor.commands.push import push
from jobd.supervisor.commands.queues import queues
from jobd.supervisor.commands.stats import stats
from jobd.supervisor.commands.web import web
from jobd.supervisor.control import MOST_PROCESSES, NAMES
from jobd.worker import checks

if TYPE_CHECKING:
    from jobd.supervisor.config import Config


class _Group(click.Group):
    """A group whose sub-command `start` may be left out: `jobd -C FILE` starts jobd."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"-h", "--help", "-V", "--version"}
        # While a shell completes the first word there is none yet.
        starts = not args and not ctx.resilient_parsing
        if starts or (args and args[0] not in self.commands and args[0] not in own and args[0].startswith("-")):
            args = ["start", *args]
        return super().parse_args(ctx, args)


_WHAT = "Show the version, with that of Python and of redis-py, and exit."


def _print_versions(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"jobd {VERSION}, Python {platform.python_version()}, redis-py {version('redis')}")
        ctx.exit()


_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@click.group(cls=_Group, context_settings=_CONTEXT)
@click.option("-V", "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_versions, help=_WHAT)
def cli() -> None:
    """Run background jobs. `jobd` alone is `jobd start`; see `jobd start --help` for its options.

    \b
    jobd -C config.yml -e production      run jobs as the file says
    jobd -d -L log/jobd.log -C config.yml the same in the background
    jobd -r app.jobs -q critical -q low   two queues in strict order
    jobd --embedded -r app.jobs           with a store of its own in var/jobd
    jobd check -C config.yml --show       is the file right, and what does each value come from?
    jobd ctl status -C config.yml         what does the running one do?
    jobd demo                             see it work
    jobd init                             files to begin with, here
    jobd push jobs.hello world            push a job
    jobd jobs dead --grep Timeout         look for jobs; also retry, delete and kill them
    jobd mon --watch                      what the whole cluster does
    jobd web                              the same in a browser
    """


def _config_options(command: Any) -> Any:
    """Options that `start` and `check` share."""
    options = [
        click.option("-C", "--config", "path", type=click.Path(path_type=Path), help="YAML file with the settings."),
        click.option("-e", "--environment", help="Section of the file to use. [JOBD_ENV, APP_ENV, else development]"),
        click.option("-c", "--concurrency", type=int, metavar="N", help="Threads in each process."),
        click.option("-q", "--queue", "queues", multiple=True, metavar="NAME[,WEIGHT]", help="May be repeated."),
        click.option("-r", "--require", multiple=True, metavar="MODULE", help="Module with jobs; may be repeated."),
        click.option("-t", "--timeout", type=float, metavar="SECONDS", help="Time for running jobs when stopping."),
        click.option("-g", "--tag", help="Name shown in the process title and in views."),
        click.option("-L", "--logfile", metavar="FILE", help="Log to FILE instead of standard error."),
        click.option("-P", "--pidfile", metavar="FILE", help="Write the master's process id to FILE, and lock it."),
        click.option("-v", "--verbose", is_flag=True, default=None, help="Log more."),
        click.option("--processes", type=int, metavar="N", help="Worker processes; 0 runs all in this one."),
        click.option(
            "--embedded",
            is_flag=False,
            flag_value=defaults.EMBEDDED_DIR,
            metavar="[DIR]",
            help=f"Run a store of its own in DIR. [{defaults.EMBEDDED_DIR}]",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _load(path: Path | None, environment: str | None, embedded: str | None, **flags: Any) -> Config:
    flags = {name: list(value) if isinstance(value, tuple) else value for name, value in flags.items()}
    flags["redis_url"] = None if embedded is None else SCHEME + embedded
    from jobd.supervisor.config import load

    return load(path, environment, flags)


@cli.command()
@_config_options
@click.option("-d", "--daemon", is_flag=True, help="Run in the background; return once every process is ready.")
@click.option("--check", is_flag=True, help="Check settings and Redis, without importing the application, then exit.")
@click.pass_context
def start(ctx: click.Context, /, daemon: bool, check: bool, **options: Any) -> None:
    """Run jobs until TERM or INT."""
    # It takes longer to import than all the rest, and only this command needs it.
    from jobd.supervisor import start as server

    config = _load(**options)
    ctx.exit(server.check(config) if check else server.start(config, lambda: _load(**options), daemon=daemon))


@cli.command()
@_config_options
@click.option("--show", "show_values", is_flag=True, help="Print each value and where it comes from.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def check(show_values: bool, as_json: bool, **options: Any) -> None:
    """Check a configuration without starting anything."""
    from jobd.supervisor.config import show, values

    try:
        config = _load(**options)
    except ConfigError as error:
        if as_json:
            click.echo(json.dumps({"ok": False, "problems": str(error).splitlines()}))
        raise
    for notice in config.notices:
        exits.complain(notice)
    if as_json:
        shown = {"values": values(config)} if show_values else {}
        click.echo(json.dumps({"ok": True, "notices": config.notices, **shown}))
    else:
        click.echo(show(config) if show_values else "the configuration is right")


def _limit(ctx: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and (problem := checks.seconds(0, 365 * 24 * 3600)(value)):
        raise click.BadParameter(problem)
    return value


@cli.command()
@click.argument("action", type=click.Choice(NAMES), metavar="ACTION")
@click.argument("count", type=click.IntRange(1, MOST_PROCESSES), required=False, metavar="[N]")
@click.option("-C", "--config", "path", type=click.Path(path_type=Path), help="YAML file that names the pidfile.")
@click.option("-e", "--environment", help="Section of the file to use. [JOBD_ENV, APP_ENV, else development]")
@click.option("-P", "--pidfile", type=click.Path(path_type=Path), help="The pidfile; no other setting is read then.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--wait", is_flag=True, help="Return when it is done, not when it has begun.")
@click.option("--timeout", type=float, metavar="SECONDS", callback=_limit, help="Wait no longer. [no limit]")
@click.pass_context
def ctl(
    ctx: click.Context,
    /,
    action: str,
    count: int | None,
    path: Path | None,
    environment: str | None,
    pidfile: Path | None,
    wait: bool,
    **options: Any,
) -> None:
    """Ask a running jobd for its status, or have it do something.

    \b
    status    what the processes do
    quiet     take no more jobs; done when none runs
    resume    take jobs again
    stop      end within the configured timeout; done when the process is gone
    restart   replace every process by one with the code of now, one at a time
    reload    read the configuration again
    scale N   have N processes; done when they are ready
    """
    if (action == "scale") != (count is not None):
        raise click.UsageError("scale takes the number of processes" if count is None else f"{action} takes no number")
    if action == "status" and wait:
        raise click.UsageError("status has nothing to --wait for")
    from jobd.supervisor import ctl as control_client
    from jobd.supervisor.config import load

    found = pidfile or control_client.pidfile_of(load(path, environment))
    ctx.exit(control_client.run(found, action, count, wait=wait, **options))


@cli.command()
@click.option("--for", "seconds", type=float, metavar="SECONDS", help="End by itself, with a summary.")
@click.pass_context
def demo(ctx: click.Context, /, seconds: float | None) -> None:
    """Run example jobs of every fate on an embedded store."""
    from jobd.supervisor.demo import run_demo

    ctx.exit(run_demo(seconds))


for _command in (init, generate, push, queues, jobs, processes, stats, mon, mark_deploy, web):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    try:
        code = cli.main(args=None if arguments is None else list(arguments), prog_name="jobd", standalone_mode=False)
    except click.ClickException as error:
        exits.complain(_usage_line(error))
        return exits.USAGE
    except click.Abort:
        return exits.FAILED
    except JobdError as error:
        exits.complain(str(error))
        return exits.code_for(error)
    return code if isinstance(code, int) else exits.OK


def _usage_line(error: click.ClickException) -> str:
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "jobd"
    return f"{error.format_message().rstrip('.')}; see `{command} --help`"


def run() -> None:
    """Entry point of the console script."""
    try:
        code = main()
    except SystemExit as ended:  # a daemon's
        code = ended.code if isinstance(ended.code, int) else exits.FAILED
    exits.leave(code)
