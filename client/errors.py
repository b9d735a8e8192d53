"""The errors that jobd raises.

JobdError
├── ConfigError            a setting is wrong
│   └── ConfigErrors       … with a line for each of several
├── JobDefinitionError     a job is declared wrongly, or two share one name
├── InvalidArguments       a push whose arguments do not fit the job (also a TypeError)
│   └── UnserializableArgument   … or cannot travel as JSON
├── InvalidCron            a cron entry, its expression or its time zone is wrong (also a ValueError)
├── InvalidPayload         a dictionary given to `Client.push` is no job (also a ValueError)
├── MalformedPayload       bytes read from Redis are no job (also a ValueError)
├── UndecodableArgument    an argument that Rails has encoded is of an unknown kind (also a ValueError)
├── Crashed                the process of a job crashed too often while it ran; given to death handlers
├── RedisUnavailable       no connection: nothing was sent
│   └── StoreUnavailable       … because the embedded store is not running, or cannot be started
├── PushRefused            Redis answered with an error: nothing was pushed
├── PushOutcomeUnknown     the connection broke before the answer: the job may be in Redis
├── HookFailed             a startup hook raised: the worker does not start
├── RedisRefused           Redis answered a question or a change of the API with an error: nothing was changed
├── ChangeOutcomeUnknown   the connection broke before the answer to a change: it may have been made
├── DeadSetFull            so many entries would be killed that the dead set's limit drops others
├── NotControllable        a process takes no signals, as it runs inside another program, or not this one
├── PortUnavailable        an address to listen on cannot be had
└── AlreadyRunning         another jobd owns the pidfile or the embedded store, or the pidfile is a stranger's

JobCancelled is none of them, and no Exception: it ends a job that runs, whose own handlers must not take it for theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class JobdError(Exception):
    """Base of every error that jobd raises on purpose.

    `pushed` lists the jids that a bulk push had put into Redis before it failed.
    """

    pushed: tuple[str, ...] = ()


class ConfigError(JobdError):
    """A setting is wrong; the message names the value, the place and the remedy."""


class NotPermitted(ConfigError):
    """A file that is configured may not be written by this user."""


class ConfigErrors(ConfigError):
    """Every problem of a configuration at once, one in a line; `problems` holds the lines."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class JobDefinitionError(JobdError):
    """A job is declared wrongly, or two jobs share one name."""


class InvalidArguments(JobdError, TypeError):
    """The arguments of a push do not fit the signature of the job."""


class UnserializableArgument(InvalidArguments):
    """An argument cannot travel as JSON."""


class InvalidCron(JobdError, ValueError):
    """A cron entry cannot be used; the message names value and remedy, in an expression also field and column."""


class InvalidPayload(JobdError, ValueError):
    """A dictionary given to `Client.push` does not describe a job."""


class MalformedPayload(JobdError, ValueError):
    """Bytes read from Redis are not a job: no JSON, no object, or nested too deeply."""


class UndecodableArgument(JobdError, ValueError):
    """An argument of an ActiveJob job is encoded in a way that jobd does not know, or wrongly."""


class Crashed(JobdError):
    """Why a job is dead that never raised: its process crashed too often while it ran. For death handlers."""


class JobCancelled(BaseException):
    """Raised within a job that somebody has cancelled while it ran; it goes to the dead set, and is not retried.

    A BaseException, like `KeyboardInterrupt`: `except Exception` in a job, meant for other things, does not stop it.
    """

    # As which it stands in the dead set.
    __module__ = "jobd"

    def __init__(self, message: str = "somebody has cancelled it while it ran") -> None:
        super().__init__(message)


class RedisUnavailable(JobdError):
    """Redis could not be reached or refused the login; nothing was sent."""


class PushRefused(JobdError):
    """Redis answered a push with an error; nothing was pushed."""


class PushOutcomeUnknown(JobdError):
    """The connection broke between sending a push and its answer.

    The jobs `jids` may be in Redis or not. jobd never resends by itself, because that could run them twice.
    """

    def __init__(self, message: str, jids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.jids = tuple(jids)


class RedisRefused(JobdError):
    """Redis answered a question or a change with an error; nothing was changed."""


class ChangeOutcomeUnknown(JobdError):
    """The connection broke between sending a change and its answer: it may have been made, or not.

    Making it again does no harm: an entry that has been moved counts as gone.
    """


class DeadSetFull(JobdError):
    """So many entries would be killed that the limit of the dead set drops some; nothing was changed."""


class NotControllable(JobdError):
    """A process does not do what it is asked through Redis; the message says why, and who has to be asked."""


class StoreUnavailable(RedisUnavailable):
    """The embedded store is not running, or cannot be started here."""


class HookFailed(JobdError):
    """A startup hook raised, so that the worker does not start; the message holds its traceback."""


class PortUnavailable(JobdError):
    """An address to listen on cannot be had: it is taken, forbidden, or none of this machine's."""


class AlreadyRunning(JobdError):
    """Another jobd owns this pidfile or this embedded store, or the pidfile is no file of jobd's."""
