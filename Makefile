# make demo   see jobd work          make test   linters, types and the whole test suite
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
ARGS ?=
ROUNDS ?= 40

.PHONY: demo test test-browser pictures chaos interop systemd-test bench clean

PIP := $(BIN)/pip install --quiet --disable-pip-version-check --editable

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "jobd needs Python 3.11 or newer; name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) '.[embedded,web]'
	@touch $@

$(VENV)/.with-tools: $(VENV)/.installed
	$(PIP) '.[embedded,web,dev]'
	@touch $@

$(VENV)/.with-browser: $(VENV)/.with-tools
	$(PIP) '.[embedded,web,dev,browser]'
	@touch $@

demo: $(VENV)/.installed
	@$(BIN)/jobd demo

# Compiled files are wanted: without them a second run would start seconds later.
test: $(VENV)/.with-tools
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses 4 --dist worksteal $(ARGS)

# The dashboard in a real Chromium, that of the system or $CHROMIUM; says what is missing. In order: the last tests of
# some files quiet the processes on which the others look. Three at once, as each waits for its browser half of the time.
test-browser: $(VENV)/.with-browser
	@$(BIN)/python -m tests.browser.needed
	@JOBD_BROWSER=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -p no:randomly --numprocesses 3 --dist loadfile \
		--no-loadscope-reorder tests/browser $(ARGS)

# Its pages in docs/pictures, made anew.
pictures: $(VENV)/.with-browser
	@$(BIN)/python -m tests.browser.needed
	@$(BIN)/python -m tests.browser.pictures

# What takes longer than the ordinary suite may: first ROUNDS rounds of random signals and kills and as many in which
# everything is killed, Redis included, with a line for each (JOBD_CHAOS_SEED has rounds again), then those of its tests
# whose number of steps is set by a variable.
chaos: $(VENV)/.with-tools
	@$(BIN)/python -m tests.chaos.rounds $(ROUNDS)
	@$(BIN)/python -m tests.chaos.conservation $(ROUNDS)
	@JOBD_MODEL_STEPS=$${JOBD_MODEL_STEPS:-20000} JOBD_OUTAGE_SECONDS=$${JOBD_OUTAGE_SECONDS:-20} \
		JOBD_STORM_ROUNDS=$${JOBD_STORM_ROUNDS:-50} JOBD_RESTARTS=$${JOBD_RESTARTS:-1000} \
		JOBD_SCRAPES=$${JOBD_SCRAPES:-10000} JOBD_LOG_LINES=$${JOBD_LOG_LINES:-400000} \
		JOBD_CUT_STRIDE=$${JOBD_CUT_STRIDE:-1} JOBD_CUT_ROUNDS=$${JOBD_CUT_ROUNDS:-60} \
		JOBD_CRON_WHOLE=1 JOBD_CRON_TICKS=$${JOBD_CRON_TICKS:-2000} \
		JOBD_SLOW_SECONDS=$${JOBD_SLOW_SECONDS:-2} JOBD_LEASE=$${JOBD_LEASE:-8} JOBD_FAILOVERS=$${JOBD_FAILOVERS:-2} \
		JOBD_API_ENTRIES=$${JOBD_API_ENTRIES:-1000000} \
		$(BIN)/python -m pytest --numprocesses 2 --timeout 600 tests/protocol tests/supervisor/test_outage.py \
		tests/supervisor/test_outage_kinds.py tests/supervisor/test_host_lost.py tests/supervisor/test_failover.py \
		tests/worker/test_cuts.py tests/client/test_bulk.py tests/worker/test_cron_storm.py \
		tests/client/test_cron_expression.py \
		tests/supervisor/test_orphans.py tests/supervisor/test_leaks.py tests/supervisor/test_log_load.py \
		tests/chaos/test_metrics_over_kills.py $(ARGS)

# jobd beside Ruby's Sidekiq, on the distribution's Redis and in part on the embedded server; says what is missing.
# JOBD_INTEROP_PAYLOADS is how many generated payloads make the round trip (JOBD_INTEROP_SEED has others),
# JOBD_INTEROP_TICKS for how many ticks both crons run.
interop: $(VENV)/.with-tools
	@$(BIN)/python -m tests.interop.needed
	@JOBD_INTEROP=1 REDIS_SERVER=$$(command -v redis-server) \
		$(BIN)/python -m pytest --numprocesses 2 tests/interop $(ARGS)
	@JOBD_INTEROP=1 $(BIN)/python -m pytest --numprocesses 2 tests/interop/test_pushes.py tests/interop/test_sets.py \
		$(ARGS) || test $$? -eq 5 # none of these was asked for

# The units under a real systemd in a container, as root; says what is missing. JOBD_SYSTEMD_SUITE=trixie takes a newer one.
# Debian is kept in var/systemd-test (or JOBD_SYSTEMD_ROOT): `sudo rm -r var/systemd-test` has it fetched again.
systemd-test: $(VENV)/.with-tools
	@$(BIN)/python -m tests.systemd.container_root
	@JOBD_SYSTEMD_TEST=1 $(BIN)/python -m pytest -p no:randomly tests/systemd $(ARGS)

# jobd beside other systems, which are installed under var/bench: make bench ARGS="--quick --only drain --systems jobd,sidekiq"
bench: $(VENV)/.with-tools
	@$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .hypothesis
