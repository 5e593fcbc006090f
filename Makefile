# Each target makes .venv and installs what it needs. A change of pyproject.toml or constraints.txt
# installs again; otherwise a repeat run starts at once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= out
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PYTEST_FLAGS ?= -n auto --maxprocesses 8

.PHONY: demo test test-all test-long browser check bench reproduce clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.core
	scripts/demo

# The workers share the cores, so each takes one thread.
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow and not long" $(PYTEST_FLAGS)

# The site of the experiments is looked at in a browser; without one its tests skip and say why.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
		command -v google-chrome >/dev/null || \
		{ test "$$(id -u)" -eq 0 && apt-get install -y --no-install-recommends chromium >/dev/null; } || \
		sudo -n apt-get install -y --no-install-recommends chromium >/dev/null 2>&1 || \
		echo "no chromium here and no right to install it: the browser tests will be skipped"

# Exit code 5 says that no test is marked slow. One thread: many small matrices lose by more.
test-all: export OMP_NUM_THREADS = 1
test-all: browser $(VENV)/.dev
	$(BIN)/python -m pytest -m slow || test $$? -eq 5

# The cache of import-linter has been seen to miss an edit, and saves nothing here.
check: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Hours: the planted faults of the experiments that train networks.
test-long: export OMP_NUM_THREADS = 1
test-long: $(VENV)/.dev
	$(BIN)/python -m pytest -m long $(PYTEST_FLAGS)

bench: $(VENV)/.dev
	mkdir -p $(OUT)
	$(BIN)/statformer bench mixture --quick --json $(OUT)/bench-mixture.json
	$(BIN)/statformer bench optim --quick --json $(OUT)/bench-optim.json
	$(BIN)/statformer bench spectral --quick --json $(OUT)/bench-spectral.json
	$(BIN)/statformer bench neighbors --quick --json $(OUT)/bench-neighbors.json
	$(BIN)/statformer bench bayesnet --quick --json $(OUT)/bench-bayesnet.json
	$(BIN)/statformer bench features --quick --json $(OUT)/bench-features.json

# Every claim of every paper at quick size, and the site of what was found.
reproduce: $(VENV)/.dev
	$(BIN)/statformer experiments run --all --quick --out $(OUT)/experiments; code=$$?; \
		$(BIN)/statformer experiments report --results $(OUT)/experiments --out $(OUT)/site && \
		exit $$code

clean:
	rm -rf $(VENV) $(OUT) build dist

# No torch here: what a user of the demo needs, and nothing else.
$(VENV)/.core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "statformer needs Python 3.11 or newer; run: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) pip hatchling
	$(INSTALL) --no-build-isolation -e ".[plot]"
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(INSTALL) --no-build-isolation -e ".[torch,plot,parquet,bench,experiments,robust,scale]" --group dev
	touch $@
