# The pizza house. `make` alone lists what there is to do; python3 (3.11 or newer) is all it needs.

PYTHON ?= python3
TABLE ?= TBL1
PROCESSES ?= 2
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
AXE_VERSION := 4.14.1
AXE := $(VENV)/axe/node_modules/axe-core/axe.min.js
BROWSER := $(if $(shell command -v npm),$(AXE))
COMPOSE = $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
NO_SERVERS := TEST_DATABASE_URL=none TEST_RABBITMQ_URL=none
EMBEDDED := env -u RABBITMQ_URL DATABASE_URL=sqlite://:memory:
PRODUCTION = env DJANGO_DEBUG=false DJANGO_HTTPS=true DJANGO_ALLOWED_HOSTS=pizza.example \
	DJANGO_SECRET_KEY=$$($(BIN)/python -c "import secrets; print(secrets.token_urlsafe(50))") \
	DATABASE_URL=postgres://pizzahouse@127.0.0.1/pizzahouse RABBITMQ_URL=amqp://127.0.0.1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Tests call make themselves: the options of this call are not meant for theirs.
unexport MAKEFLAGS MFLAGS MAKELEVEL

.PHONY: help
help: ## Show this list
	@echo "The pizza house: make <what>"
	@sed -n 's/^\([a-z][a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '  %-28s %s\n' "$$name" "$$text"; done

# --- Eat ------------------------------------------------------------------------------------------

.PHONY: serve open-house
serve: $(INSTALLED) ## Set everything up and serve a table (TABLE=TBL1)
	@$(BIN)/python manage.py serve_table "$(TABLE)" $(ARGS)

open-house: $(INSTALLED) ## Set everything up and look around: the office's pages, with guests (ARGS="--busy")
	@$(BIN)/python manage.py open_house $(ARGS)

# --- The house in containers ----------------------------------------------------------------------

.PHONY: up down init console
up: ## Start PostgreSQL, RabbitMQ, the admin and a worker per module
	$(COMPOSE) up -d --build $(ARGS)

down: ## Stop them; what is in the database and the queues stays
	$(COMPOSE) down $(ARGS)

init: ## Migrate their database
	$(COMPOSE) run --rm migrate
	@echo "To log in at http://localhost:8000: $(COMPOSE) exec web python manage.py createsuperuser"

console: ## Open a shell beside the admin, to type `python manage.py serve_table TBL1`
	$(COMPOSE) exec web bash

# --- The house in your own consoles ---------------------------------------------------------------

.PHONY: dev-consume dev-start-serving-customers
dev-consume: $(INSTALLED) ## Run workers of all queues and watch their logs
	$(BIN)/python manage.py rundramatiq $(ARGS)

dev-start-serving-customers: $(INSTALLED) ## Serve a table, in as many consoles as you like (TABLE=TBL2)
	$(BIN)/python manage.py serve_table "$(TABLE)" $(ARGS)

# --- Tests ----------------------------------------------------------------------------------------

.PHONY: test tests-unit tests-coverage tests-mutation screenshots explore bench bench-office
test: $(INSTALLED_DEV) $(BROWSER) ## Run all tests (ARGS="-k kitchen"); REQUIRE_SERVICES=1 lets none be skipped
	$(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal $(ARGS)

tests-unit: $(INSTALLED_DEV) ## Run the tests that need no server
	$(NO_SERVERS) $(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal tests/unit $(ARGS)

# Both figures count: `fail_under` mixes lines and branches, so the branches are counted alone, too.
tests-coverage: $(INSTALLED_DEV) $(BROWSER) ## Run all tests; at least 95 % of the branches must be covered
	$(BIN)/python -m coverage erase
	$(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal --cov --cov-report= --cov-fail-under=0 $(ARGS)
	$(BIN)/python -m coverage report
	@status=0; for package in pizzahouse/messaging orders; do \
		$(BIN)/python -m coverage json --quiet --fail-under=0 --include="$$package/*" -o coverage.json && \
		$(BIN)/python -c "import json, sys; \
			share = json.load(open('coverage.json'))['totals']['percent_branches_covered']; \
			print(f'$$package: {share:.1f} % of branches'); sys.exit(share < 95)" || status=1; \
	done; exit $$status

tests-mutation: $(INSTALLED_DEV) ## Change the saga and the kernel in small ways; the unit tests should notice
	$(NO_SERVERS) $(BIN)/mutmut run $(ARGS)
	$(BIN)/mutmut results

screenshots: $(INSTALLED_DEV) ## Take the pictures of docs/screenshots in a house of its own
	$(BIN)/python -m tests.browser.screenshots $(ARGS)

explore: $(INSTALLED) ## Go through all that can happen to a process of each scenario (ARGS="--pizzas 1")
	$(EMBEDDED) $(BIN)/python manage.py explore_saga simple_serving $(ARGS)
	$(EMBEDDED) $(BIN)/python manage.py explore_saga table_service $(ARGS)

bench: $(INSTALLED) ## Measure the house on DATABASE_URL and RABBITMQ_URL (ARGS="--json")
	$(BIN)/python manage.py bench $(ARGS)

bench-office: $(INSTALLED) ## Measure the office's pages on a million processes (ARGS="--sagas 100000")
	$(BIN)/python manage.py bench_office $(ARGS)

# --- Care -----------------------------------------------------------------------------------------

.PHONY: check format modernize requirements
check: $(INSTALLED_DEV) ## Check all that CI checks besides the tests
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(EMBEDDED) $(BIN)/python manage.py makemigrations --check --dry-run
	$(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING
	@if command -v docker-compose >/dev/null; then set -x; docker-compose config --quiet; \
	elif docker compose version >/dev/null 2>&1; then set -x; docker compose config --quiet; \
	else echo "docker-compose.yml was not checked: there is no docker-compose here"; fi

format: $(INSTALLED_DEV) ## Lay the code out, and mend what can be mended
	$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format

modernize: $(INSTALLED_DEV) ## Rewrite what newer Pythons and Djangos say better
	$(BIN)/ruff check --select UP --fix --exit-zero
	git ls-files -z '*.py' | xargs -0 $(BIN)/django-upgrade --exit-zero-even-if-changed --target-version 5.2
	$(BIN)/ruff format

# A pin that drops its extra ("coverage" for "coverage[toml]") is no pin to pip: it would take the
# newest release for what asks for the extra, and refuse it, having no hash of it.
PIN = $(VENV)/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-strip-extras --no-emit-index-url --custom-compile-command "make requirements" pyproject.toml $(ARGS)
requirements: ## Pin the dependencies of pyproject.toml (ARGS=--upgrade for newer ones)
	@test -x $(VENV)/uv/bin/uv || { $(PYTHON) -m venv $(VENV)/uv && $(VENV)/uv/bin/pip install --quiet uv; }
	$(PIN) --output-file requirements.txt
	$(PIN) --group dev --constraint requirements.txt --output-file requirements-dev.txt
	$(PIN) --extra otel --constraint requirements-dev.txt --output-file requirements-otel.txt

# --- What is installed, and when ------------------------------------------------------------------

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"The pizza house needs Python 3.11 or newer, and $(PYTHON) is %d.%d. If another one is \
	installed, name it: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	@$(PYTHON) -m venv --clear $(VENV)

$(INSTALLED): requirements.txt | $(BIN)/pip
	@echo "Installing what the house needs into $(VENV) ..." >&2
	@$(BIN)/python -m pip install -qq --require-hashes -r requirements.txt
	@touch $@

$(INSTALLED_DEV): requirements-dev.txt requirements.txt | $(BIN)/pip
	@echo "Installing what the house and its tests need into $(VENV) ..." >&2
	@$(BIN)/python -m pip install -qq --require-hashes -r requirements-dev.txt
	@touch $(INSTALLED) $@

# Without it the tests in a browser are skipped, and say so.
$(AXE):
	@echo "Installing axe-core, which checks the pages' accessibility, into $(VENV)/axe ..." >&2
	@npm install --silent --no-save --no-package-lock --no-audit --no-fund --ignore-scripts \
		--prefix $(VENV)/axe axe-core@$(AXE_VERSION) >&2 || echo "It could not be installed." >&2
