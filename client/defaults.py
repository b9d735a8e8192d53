"""Every default of jobd, in one place. Times are seconds unless a name says otherwise."""

from __future__ import annotations

REDIS_URL = "redis://localhost:6379/0"
EMBEDDED_DIR = "var/jobd"
ENVIRONMENT = "development"

QUEUE = "default"
BULK_SIZE = 1_000
"""Jobs that one bulk push sends in a round trip."""
MAX_JSON_DEPTH = 90
"""Ruby's parser refuses documents nested more than 100 levels; the payload itself takes a few."""
MAX_ERROR_MESSAGE = 10_000
"""Characters of an exception's message that are kept with a job."""

CONNECT_TIMEOUT = 5.0
SOCKET_TIMEOUT = 5.0

BOOT_TIMEOUT = 60.0
"""A child that has not imported the application after this long counts as failed."""
HANG_TIMEOUT = 45.0
"""Shorter than the lease: a child that hangs is killed before others take its jobs."""
MIN_HANG_TIMEOUT = 3.0
RESTART_PROBE = 5.0
CONCURRENCY = 10
MOST_THREADS = 200
"""Threads that a running process can be given, unless it is configured to have more."""
TIMEOUT = 25.0
GIVE_BACK_MARGIN = 0.5
"""Unfinished jobs go back this long before `timeout` ends."""

HOOK_SLOW = 10.0
"""A hook that runs this long is reported: those behind it wait."""
HOOKS_AFTER_TIMEOUT = 1.0
"""Hooks that still run this long after `timeout` are left behind."""

PREFETCH = 200
"""Short jobs that one call fetches at most."""

MAX_RETRIES = 25
MAX_RETRY_ON_WAIT = 7 * 24 * 3600.0
"""Where the curves of `RetryOn` end, before the jitter."""
MAX_CRASHES = 3
"""A job that ran when its process crashed this often goes to the dead set."""
MAX_HOST_CRASHES = 10
"""The same when it was in progress while its host was lost, of which it is rarely the cause."""
CRASH_TTL = 72 * 3600
MAX_STACKS = 200_000
"""Characters of a crashed process' stacks that are kept with a dead job."""
DEAD_MAX_JOBS = 10_000
DEAD_TIMEOUT = 180 * 24 * 3600.0
UNKNOWN_CLASS_TIMEOUT = 24 * 3600.0
UNKNOWN_CLASS_FIRST_DELAY = 15.0
UNKNOWN_CLASS_MAX_DELAY = 600.0

HEARTBEAT_INTERVAL = 10.0
HEARTBEAT_TTL = 60
LEASE = 60.0
SLOW_ROUND_TRIP = 0.05
SLOW_ROUND_TRIPS = 5
"""So many round trips in a row that take longer are worth a warning, as in Sidekiq."""
STAT_TTL = 5 * 365 * 24 * 3600
"""Sidekiq keeps a day's counters for five years."""

METRICS_TTL = 8 * 3600
METRICS_TEN_MINUTES_TTL = 72 * 3600
METRICS_HOUR_TTL = 90 * 24 * 3600
"""How long the figures of each class are kept by the minute, by ten minutes (as in Sidekiq) and by the hour."""
METRICS_CLASSES = 200
"""Classes of which a process writes figures; further ones are counted together."""

SCHEDULER_LEASE = 1.5
"""When the process that promotes due jobs dies, another takes over at most this long and 0.1 s later."""
SCHEDULER_MIN_PAUSE = 0.05
"""Between two looks at sets that change all the time."""
SCHEDULER_POLL = 0.1
"""Between two looks where the server offers no client tracking."""
PROMOTE_LIMIT = 300
PROMOTE_BYTES = 1_000_000
"""Due jobs that one call moves at most: their number, and about their size."""
RECOVER_LIMIT = 1_000

API_PAGE = 1_000
"""Entries that the API reads at a time, when it reads through a queue or a set."""
API_MOVES = 300
"""Entries that it moves at a time."""
API_STRIKES = 300
"""Jobs that it removes at a time from within a queue."""
BULK_TTL = 24 * 3600
"""How long the progress of a change of many is kept."""
BULK_LEASE = 15.0
"""A change of many that has told nothing for this long is interrupted, and another may begin in its place."""
BULK_RUNS = 2
"""Changes of many that go on at the same time."""
SIGNAL_TTL = 60
"""A signal sent through Redis to a process that does not take it is forgotten after this long, as in Sidekiq."""

TREND_SAMPLES = 60
"""Of its memory and processor time a process shows those of so many heartbeats."""

CANCEL_TTL = 3600
"""So long a run is to be cancelled that somebody wants cancelled, whichever process it goes on in."""

STACKS_TTL = 180
STACKS_BYTES = 300_000
STACKS_FRAMES = 60
"""What a process shows of its threads on request: for how long, how much in all, how many calls of each."""
STACKS_WATCHED = 60.0
"""A process that was asked for its stacks beats each second for so long, to answer the next request soon."""

HISTORY_STEP, HISTORY_SLOTS = 10.0, 372
LONG_HISTORY_STEP, LONG_HISTORY_SLOTS = 300.0, 876
"""The totals are recorded each ten seconds for an hour, and each five minutes for three days."""
HISTORY_TTL = 2 * 3600
LONG_HISTORY_TTL = 4 * 24 * 3600
HISTORY_QUEUES = 200
"""Queues whose own figures are recorded: up to 60 KB each."""
WAITS_QUEUES = 200
"""Queues of which a process writes how long their jobs had waited; of further ones it counts none."""

AUDIT_RECORDS = 10_000
AUDIT_TTL = 400 * 24 * 3600
"""Who did what by hand: about so many actions are kept, all of them so long after the last one."""

TRASH_TTL = 3600
"""Seconds for which what was deleted in the dashboard can be put back."""
TRASH_JOBS = 10_000
TRASH_BYTES = 10 * 2**20
"""What is kept of one deletion at most."""
TRASH_DELETIONS = 200
TRASH_ALL_BYTES = 50 * 2**20
"""What is kept of all deletions at most; the oldest are forgotten first."""

MUTED_CAUSES = 200
MUTE_TTL = 30 * 24 * 3600
"""Causes of failures that are muted at one time, and how long one is at most."""

ALERT_WAIT = 60.0
"""A queue whose next job has waited longer is pointed out, unless it has a limit of its own."""
LIMITED_QUEUES = 1_000
"""Queues that may have alert limits of their own."""

DEPLOY_TTL = 90 * 24 * 3600
"""A day's marks of deploys are kept so long after the last was set, as Sidekiq keeps them."""
DEPLOY_LOCK_TTL = 60
"""Further marks of the same label are the first one for so long."""

CRON_GRACE = 60.0
"""A tick that is older is a missed one; sidekiq-cron's limit."""
CRON_REMEMBER = 24 * 3600.0
"""How long a claimed tick is remembered, as sidekiq-cron does."""
CRON_HISTORY = 10
"""Jobs in an entry's `jid_history`, as in sidekiq-cron."""
CRON_RUNS = 30
CRON_RUNS_TTL = 400 * 24 * 3600
"""Runs of an entry that ticks once a year are still there a year later."""
CRON_CATCH_UP = 1_000
"""Missed ticks that `catch_up: all` makes up for at most."""
CRON_REREAD = 5.0
"""Seconds after which entries that others have changed are known."""
CRON_HOLD = 24 * 3600.0
"""A job that nobody has said to be running for so long does not keep the next tick of its entry any more."""
CRON_RENEW = 3600.0

MAX_WAIT = 2.0
"""An idle fetcher asks Redis again after this long, whatever it has heard."""
POLL_MIN = 0.005
POLL_MAX = 0.05
"""Bounds of the polling interval where the server offers no client tracking."""
LOST_RACE_UNIT = 0.0003
LOST_RACE_DOUBLINGS = 7
"""Woken for a job that another process took, one waits a random part of the unit, doubled this often at most."""
RECONNECT_MIN = 0.05
RECONNECT_MAX = 1.0

STORE_START_TIMEOUT = 10.0
"""An embedded store may be silent this long at its start; loading its data does not count."""
STORE_STOP_TIMEOUT = 10.0
STORE_RESTART_MIN = 0.5
STORE_RESTART_MAX = 30.0
STORE_STABLE_AFTER = 60.0
"""An embedded store that answered this long is restarted at once when it ends."""
