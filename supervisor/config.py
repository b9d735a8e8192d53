"""The server's configuration: one frozen object from defaults, file, section, variables and flags.

`load` reads everything before it complains, so that one run shows all that is wrong. How nodes of the
file become values is in `settings_file.py`, how YAML becomes nodes in `yaml_file.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import msgspec

from jobd.client import defaults
from jobd.client.errors import ConfigError, ConfigErrors
from jobd.client.redaction import mask
from jobd.supervisor import web_settings
from jobd.supervisor.settings_file import FileSettings, Layer, Reader
from jobd.supervisor.web_settings import WebSettings
from jobd.worker import checks
from jobd.worker.checks import Check, display
from jobd.worker.config import Capsule, WorkerConfig

LogFormat = Literal["pretty", "plain", "json"]
MemoryKind = Literal["rss", "uss"]

ENVIRONMENT_VARIABLES = ("JOBD_ENV", "APP_ENV")
DEBUG_VARIABLE = "DEBUG_INVOCATION"
"""systemd sets it to 1 for a start with `RestartMode=debug`."""
VARIABLES = {"redis_url": ("JOBD_REDIS_URL", "REDIS_URL")}
FLAGS = {"queues": "--queue", "redis_url": "--embedded"}
"""Flags that are not named like their key."""


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def start_directory() -> str:
    """The name of the directory in which jobd was started."""
    return Path.cwd().name


@dataclass(frozen=True, kw_only=True)
class Config(WorkerConfig):
    """All settings of one `jobd`. Times are seconds.

    `processes` 0 runs everything in one process without forking. `pidfile` and `logfile` are relative to the
    directory of the start; without a `logfile` the log goes to standard error. `logformat` None means pretty on a
    terminal and plain elsewhere. `boot_timeout` is how long a child may take to import the application, `hang_timeout`
    how long it may give no sign of life later, and `restart_probe` how long the first process of a rolling restart has
    to stay up before others follow. `max_memory` (bytes, measured as `memory_kind`) and `max_jobs` say when a child is
    replaced. `preload` has the master import the application. `metrics` is where to listen for scrapes, `web` how to
    serve the dashboard. `environments` names environment sections beside the usual ones. `sources` tells where each
    value comes from; `notices` are remarks on keys that have no effect. Raises ConfigErrors with a line for every wrong
    value.
    """

    CHECKS: ClassVar[Mapping[str, Check]] = {
        **WorkerConfig.CHECKS,
        "redis_url": checks.redis_url,
        "processes": checks.whole_number(0, 1_000),
        "verbose": checks.switch,
        "pidfile": checks.optional(checks.path),
        "logfile": checks.optional(checks.path),
        "logformat": checks.optional(checks.one_of(*get_args(LogFormat))),
        "boot_timeout": checks.seconds(0.1, 24 * 3600),
        "hang_timeout": checks.seconds(defaults.MIN_HANG_TIMEOUT, 24 * 3600),
        "restart_probe": checks.seconds(0, 3600),
        "max_memory": checks.optional(checks.size),
        "memory_kind": checks.one_of(*get_args(MemoryKind)),
        "max_jobs": checks.optional(checks.whole_number(1, 1_000_000_000)),
        "preload": checks.switch,
        "metrics": checks.optional(checks.listening_address),
        "metrics_cluster": checks.switch,
        "metrics_per_job": checks.switch,
        "web": checks.optional(web_settings.check),
        "environments": checks.tuple_of(checks.name),
    }

    redis_url: str = defaults.REDIS_URL
    tag: str = field(default_factory=start_directory)
    processes: int = field(default_factory=cores)
    verbose: bool = False
    pidfile: str | None = None
    logfile: str | None = None
    logformat: LogFormat | None = None
    boot_timeout: float = defaults.BOOT_TIMEOUT
    hang_timeout: float = defaults.HANG_TIMEOUT
    restart_probe: float = defaults.RESTART_PROBE
    max_memory: int | None = None
    memory_kind: MemoryKind = "rss"
    max_jobs: int | None = None
    preload: bool = False
    metrics: str | None = None
    metrics_cluster: bool = False
    metrics_per_job: bool = True
    web: WebSettings | None = None
    environments: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    notices: tuple[str, ...] = field(default=(), repr=False, compare=False)


SETTINGS = tuple(each.name for each in fields(Config) if each.name not in ("environment", "sources", "notices"))
"""The keys of the file."""


def load(
    path: Path | None,
    environment: str | None = None,
    flags: Mapping[str, Any] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Config:
    """Put the configuration together: default < file < environment section < variable < flag.

    `path` is the file of `-C`; without it no file is read. `environment` is `-e`; without it `JOBD_ENV`,
    `APP_ENV`, else development. `flags` maps keys of the file to what the command line gives (`queues` as a
    list of `NAME` or `NAME,WEIGHT`; None or an empty list means not given). `variables` are the process' own
    unless given.

    Raises ConfigError when the file cannot be read, and ConfigErrors with all problems at once.
    """
    known = os.environ if variables is None else variables
    chosen, chosen_by = _environment(environment, known)
    text = "" if path is None else _read(path)
    file = FileSettings.read(text, str(path), chosen, Config.CHECKS, known)
    variable_layer, flag_layer, problems = _outside(flags or {}, known)
    problems = [*file.problems, *problems, *_environment_problems(chosen, chosen_by)]
    own = file.base | file.sections.get(chosen, {})
    problems += _lease_problems(own | variable_layer | flag_layer, file)
    if problems:
        raise ConfigErrors(dict.fromkeys(problems))
    return _build(own | variable_layer | flag_layer, chosen, chosen_by, file.notices)


def show(config: Config) -> str:
    """Each key, its value and where it comes from, a line each; passwords are masked."""
    shown = [(key, _shown(config, key), config.sources.get(key, "code")) for key in ("environment", *SETTINGS)]
    key_width, value_width = (max(len(row[column]) for row in shown) for column in (0, 1))
    return "\n".join(f"{key:<{key_width}}  {value:<{value_width}}  {source}" for key, value, source in shown)


def values(config: Config) -> dict[str, dict[str, Any]]:
    """Each key with its `value` as JSON has it and its `source`; passwords are masked."""
    masked = replace(config, redis_url=mask(config.redis_url))
    return {
        key: {"value": msgspec.to_builtins(getattr(masked, key)), "source": config.sources.get(key, "code")}
        for key in ("environment", *SETTINGS)
    }


def _environment(flag: str | None, variables: Mapping[str, str]) -> tuple[str, str]:
    if flag is not None:
        return flag, "-e"
    for variable in ENVIRONMENT_VARIABLES:
        if value := variables.get(variable):
            return value, f"${variable}"
    return defaults.ENVIRONMENT, "default"


def _environment_problems(environment: str, source: str) -> list[str]:
    problem = checks.name(environment)
    return [f"{source} = {display(environment)}: {problem}"] if problem else []


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give an existing one with -C") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from error


def _outside(flags: Mapping[str, Any], variables: Mapping[str, str]) -> tuple[Layer, Layer, list[str]]:
    """The layers of variables and flags, and what is wrong with them."""
    reader = Reader(Config.CHECKS)
    from_variables: Layer = {}
    for key, names in VARIABLES.items():
        if name := next((each for each in names if variables.get(each)), None):
            reader.add_value(from_variables, key, variables[name], f"${name}")
    if variables.get(DEBUG_VARIABLE) == "1":
        reader.add_value(from_variables, "verbose", True, f"${DEBUG_VARIABLE}")
    from_flags: Layer = {}
    for key, value in flags.items():
        if value is not None and value not in ((), []):
            reader.add_value(from_flags, key, value, FLAGS.get(key, f"--{key.replace('_', '-')}"))
    return from_variables, from_flags, [each.text for each in reader.problems]


def _lease_problems(own: Layer, file: FileSettings) -> list[str]:
    """Compare lease, heartbeat and hang_timeout as they come together in this and in every other environment."""
    layers = (own, *(file.base | section for section in file.sections.values()))
    return [problem for layer in layers for problem in (_lease_problem(layer), _hang_problem(layer)) if problem]


def _lease_problem(layer: Layer) -> str | None:
    lease, interval = layer.get("lease"), layer.get("heartbeat_interval")
    length = lease.value if lease else defaults.LEASE
    problem = checks.lease_problem(length, interval.value if interval else defaults.HEARTBEAT_INTERVAL)
    if problem is None:
        return None
    if lease:
        return f"{lease.place} = {display(length)}: {problem}"
    place = interval.place if interval else "heartbeat_interval"
    return f"{place}: the lease of {display(length)} seconds {problem}; set lease too"


def _hang_problem(layer: Layer) -> str | None:
    lease, hang = layer.get("lease"), layer.get("hang_timeout")
    length = lease.value if lease else defaults.LEASE
    if hang is None or hang.value < length:
        return None
    return (
        f"{hang.place} = {display(hang.value)}: must be shorter than the lease of {display(length)} seconds, "
        "or others take the jobs of a process that only hangs"
    )


def hang_timeout_for(lease: float) -> float:
    """The `hang_timeout` that goes with a lease, unless one is set: three quarters of it, 45 s at most."""
    return max(defaults.MIN_HANG_TIMEOUT, min(defaults.HANG_TIMEOUT, 0.75 * lease))


def _build(layer: Layer, environment: str, chosen_by: str, notices: tuple[str, ...]) -> Config:
    values = {key: setting.value for key, setting in layer.items()}
    sources = dict.fromkeys(SETTINGS, "default") | {key: setting.source for key, setting in layer.items()}
    sources["environment"] = chosen_by
    if values.get("verbose"):
        values["log_level"], sources["log_level"] = "debug", f"verbose ({sources['verbose']})"
    if "lease" in values and "hang_timeout" not in values:
        values["hang_timeout"] = hang_timeout_for(values["lease"])
        if values["hang_timeout"] != defaults.HANG_TIMEOUT:
            sources["hang_timeout"] = f"lease ({sources['lease']})"
    concurrency = values.get("concurrency", defaults.CONCURRENCY)
    capsules = [
        Capsule(name=each.name, queues=each.queues, concurrency=each.concurrency or concurrency)
        for each in values.pop("capsules", ())
    ]
    return Config(**values, capsules=tuple(capsules), environment=environment, sources=sources, notices=notices)


def _shown(config: Config, key: str) -> str:
    value = getattr(config, key)
    if key == "queues":
        return checks.display_queues(value)
    if key == "cron":
        return f"{{{', '.join(f'{each.name}: {each.cron}' for each in value)}}}"
    if key == "capsules":
        return f"{{{', '.join(map(_shown_capsule, value))}}}"
    if key == "web" and value is not None:
        return _shown_web(value)
    if key == "logformat" and value is None:
        return "by destination"
    if key in ("max_memory", "max_jobs") and value is None:
        return "no limit"
    return display(value)


def _shown_web(settings: WebSettings) -> str:
    default = WebSettings(bind=settings.bind)
    names = [each.name for each in fields(settings) if getattr(settings, each.name) != getattr(default, each.name)]
    if not names:
        return settings.bind
    return f"{{{', '.join(f'{name}: {display(getattr(settings, name))}' for name in ('bind', *names))}}}"


def _shown_capsule(capsule: Capsule) -> str:
    queues = checks.display_queues(capsule.queues)
    return f"{capsule.name}: {{concurrency: {capsule.concurrency}, queues: {queues}}}"
