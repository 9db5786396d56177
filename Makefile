# Everything a developer or an operator starts. `make help` lists it.
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
BIN := .venv/bin
# Tests and benchmarks are our own processes: nothing of a developer's settings may reach them.
CLEAN_ENV := env -u TEITEN_CONFIG -u TEITEN_DATABASE_URL -u DJANGO_SETTINGS_MODULE

.DEFAULT_GOAL := help
.PHONY: help demo up test test-long torture fuzz looks check lock docs golden bundles packages test-roots vendor messages clean

help: ## List the targets
	@grep -hE '^[a-z%-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# ── environment ──────────────────────────────────────────────────────────────
# pip's own cache and index settings are the user's; nothing here names an index.
.venv/pip:
	@scripts/make-venv "$(PYTHON)"
	@touch $@

.venv/server: requirements/server.txt pyproject.toml | .venv/pip
	@echo "Installing the server's locked packages (about a minute at first) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/server.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/dev: requirements/dev.txt pyproject.toml | .venv/pip
	@echo "Installing the locked packages for tests and checks (about a minute at first) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ .venv/server

# ── run ──────────────────────────────────────────────────────────────────────
demo: .venv/server ## Run everything with a simulated fleet and, where allowed, one real sensor
	@$(CLEAN_ENV) $(BIN)/teiten demo $(ARGS)

up: .venv/server ## Run everything in one process, without simulation
	@$(BIN)/teiten up $(ARGS)

# ── prove ────────────────────────────────────────────────────────────────────
test: .venv/dev ## Run the suite, installing what it needs
	@scripts/install-debian-packages
	@$(CLEAN_ENV) $(BIN)/python -m pytest -m "not long" -n 2 --dist loadgroup --no-loadscope-reorder $(ARGS)

test-long: .venv/dev ## Run the suite with its long forms
	@scripts/install-debian-packages
	@$(CLEAN_ENV) $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder --timeout 1800 $(ARGS)

torture: .venv/dev ## Kill every process at random and at every named point while batches flow
	@$(CLEAN_ENV) $(BIN)/python -m pytest tests/torture --timeout 3600 -s $(ARGS)

fuzz: .venv/dev ## Fuzz the gateway and every reader of strangers' bytes (SECONDS=600 each)
	@$(CLEAN_ENV) $(BIN)/python tests/fuzz/fuzz_gateway.py -max_total_time=$(or $(SECONDS),600)
	@$(CLEAN_ENV) $(BIN)/python tests/fuzz/fuzz_messages.py -max_total_time=$(or $(SECONDS),600)

looks: .venv/dev ## Check every screen in Chromium, and photograph it into artefacts/screenshots
	@$(CLEAN_ENV) SCREENSHOTS=1 $(BIN)/python -m pytest tests/acceptance/test_portal_looks.py -n 0 $(ARGS)

check: .venv/dev ## Format, lint, types, contracts, dependencies, dead code, spelling
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports --cache-dir .import_linter_cache
	$(BIN)/deptry src
	$(BIN)/vulture
	$(BIN)/codespell src tests benchmarks docs README.md CHANGELOG.md SECURITY.md Makefile
	$(BIN)/djade --check $$(git ls-files 'src/**/*.html')
	$(BIN)/python -m pytest -q -n 2 tests/house

bench-%: .venv/dev ## Run one benchmark beside its peers: capture wire loader freshness start query masking fleet
	@$(CLEAN_ENV) $(BIN)/python benchmarks/bench_$*.py

# ── make ─────────────────────────────────────────────────────────────────────
lock: ## Resolve requirements/*.txt anew, with hashes and without any index address
	@scripts/lock-requirements

docs: .venv/dev ## Write the generated pages of docs/
	@$(BIN)/python scripts/write-docs

golden: .venv/dev ## Write tests/golden anew; review the difference
	@$(BIN)/python tests/golden/make_golden.py

bundles: .venv/dev ## Make the sensor program's bundles for every Python and processor (RELEASE=number)
	@$(BIN)/python scripts/make-bundle --release $(or $(RELEASE),$(error say which release: make bundles RELEASE=12)) $(ARGS)

packages: .venv/dev ## Make the launcher's deb and rpm
	@$(BIN)/python scripts/make-packages $(ARGS)

test-roots: ## Make the systems in which the packages are tried (root, Debian or Ubuntu)
	@scripts/make-test-roots

vendor: ## Build the browser assets from frontend/ (needs Node)
	@frontend/build.sh

messages: .venv/dev ## Collect and compile the interface's texts
	@scripts/collect-messages

clean: ## Remove what tests and tools leave behind
	rm -rf artefacts .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
