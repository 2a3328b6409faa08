# Everything runs in .venv, made on first use from the index that pip is set up for.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check lint benchmark protos clean

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "python3 is %d.%d; 3.11 or newer is needed (make PYTHON=python3.12 ...)" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: .venv/installed
	./scripts/demo.sh

# What is live has the machine to itself; the rest shares it out, a process a core.
test: .venv/installed
	$(BIN)/python -m pytest tests/fusion tests/cluster tests/simulated tests/helm -n auto --dist worksteal
	$(BIN)/python -m pytest tests/live

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	./scripts/check-protos.sh

check: lint test

benchmark: .venv/installed
	$(BIN)/python -m pytest tests/benchmarks -s --benchmarks

protos:
	./scripts/generate-protos.sh

clean:
	rm -rf .venv .venv-codegen
