# Needs make and Python >= 3.11 with its venv module; everything else is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet --quiet
PYTEST := $(BIN)/python -m pytest

DEMO := $(VENV)/demo.stamp
DEV := $(VENV)/dev.stamp
BENCH := $(VENV)/bench.stamp
BROWSER := $(VENV)/browser.stamp

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

.PHONY: help
help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; \
		do printf '  make %-12s %s\n' "$$name" "$$text"; done

.PHONY: demo
demo: $(DEMO)  ## Run two workflows in the example application, with live progress
	cd examples && ../$(BIN)/python -m minimal_host_app.demo

.PHONY: test
test: lint types imports docs wheel tests  ## Run every check and every test

.PHONY: format
format: $(DEV)  ## Format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: lint
lint: $(DEV)  ## Check format and lint rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

.PHONY: types
types: $(DEV)  ## Check types
	$(BIN)/mypy

.PHONY: imports
imports: $(DEV)  ## Check the direction of imports
	$(BIN)/lint-imports --no-logo

.PHONY: tests
tests: $(DEV)  ## Run all tests, on SQLite, PostgreSQL and Valkey
	$(PYTEST) -n 2

.PHONY: unit
unit: $(DEV)  ## Run the tests that need no IO
	$(PYTEST) tests/unit

.PHONY: sqlite
sqlite: $(DEV)  ## Run the tests that need no server
	$(PYTEST) -m "not postgresql and not broker"

.PHONY: postgresql
postgresql: $(DEV)  ## Run the tests that need PostgreSQL or Valkey
	$(PYTEST) -m "postgresql or broker"

.PHONY: docs
docs: $(DEV)  ## Build the documentation into build/docs, and run the examples in docstrings
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs build/docs
	$(PYTEST) --doctest-modules flask_squidmesh

.PHONY: test-browser
test-browser: $(BROWSER)  ## Run the dashboard's tests in a real Chromium
	$(BIN)/python tools/find_chromium.py
	$(PYTEST) -n 2 tests/browser

.PHONY: pictures
pictures: $(BROWSER)  ## Take the documentation's pictures of the dashboard again
	$(BIN)/python tools/find_chromium.py
	DOCS_PICTURES=docs/_static/dashboard $(PYTEST) -n 2 tests/browser/test_pages.py -k every_page

.PHONY: crash-test
crash-test: $(DEV)  ## Kill a process at every commit of every workflow shape (slow)
	$(BIN)/python -m tests.crash.full

.PHONY: chaos
chaos: $(DEV)  ## Break workers, broker and database for ten minutes, and audit what is left
	$(BIN)/python -m benchmarks.chaos --runs 5200 --seconds 600

.PHONY: fan-out
fan-out: $(DEV)  ## Measure what a branch costs in fan-outs of 100, 1,000 and 10,000
	$(BIN)/python -m benchmarks.fan_out --database postgresql

.PHONY: bench
bench: $(BENCH)  ## Measure everything beside its bars and its peers, into bench.json (slow)
	$(BIN)/python -m benchmarks --full --json bench.json

.PHONY: bench-quick
bench-quick: $(BENCH)  ## Measure less of everything, within five minutes
	$(BIN)/python -m benchmarks --quick --json bench.json

.PHONY: guards
guards: $(DEV)  ## Take every guard of tests/guards.md out, and see that its tests miss it (slow)
	$(BIN)/python -m tools.check_guards

.PHONY: coverage
coverage: $(DEV)  ## Run all tests and show which branches none of them takes
	$(PYTEST) --cov

.PHONY: wheel
wheel: $(DEV)  ## Build the wheel, install it elsewhere and look at it
	$(BIN)/python tools/check_wheel.py

.PHONY: setup
setup: $(DEV)  ## Install everything for working on the package

.PHONY: clean
clean:  ## Remove everything that can be made again
	rm -rf $(VENV) build dist bench.json htmlcov .coverage .coverage.* .hypothesis .import_linter_cache \
		.mypy_cache .pytest_cache .ruff_cache examples/instance examples/*/instance
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEMO): EXTRAS := http
$(DEV): EXTRAS := test,lint,docs
$(BENCH): EXTRAS := bench
$(BROWSER): EXTRAS := test,browser

# A stamp is written when all went well, so an interrupted set-up is repeated.
$(DEMO) $(DEV) $(BENCH) $(BROWSER): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up $(VENV) ($(EXTRAS)) ..."
	@test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --editable '.[$(EXTRAS)]'
	@touch $@
