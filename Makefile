# Two commands do all the set-up: `make run` and `make test`. Each target makes .venv when it is missing or out of date,
# by uv where it is, else by pip.
PYTHON ?= python3
BIN := .venv/bin
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help run test lint ui report clean

help: ## show this
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: .venv/.ready ## rank the embedded pool on real images; writes outputs/report.html
	$(BIN)/python src/run.py task=fetch
	$(BIN)/python src/run.py multirun

test: .venv/.ready ## run the tests
	$(BIN)/python -m pytest

lint: .venv/.ready ## format check, lint, types, one-way imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ui: .venv/.ready ## serve MLflow's page at http://127.0.0.1:5000
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server --workers 1 --host 127.0.0.1 --port 5000 \
	  --backend-store-uri sqlite:///mlruns/mlflow.db --artifacts-destination mlruns/artifacts

report: .venv/.ready ## rank and report what the store holds, embedding nothing
	$(BIN)/python src/run.py task=report

clean: ## remove outputs and computed caches; downloads, data and MLflow's runs stay
	rm -rf outputs cache/embeddings cache/scores dist

.venv/.ready: requirements.lock pyproject.toml
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --seed --clear --python $(PYTHON) .venv && \
	  uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock && \
	  uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . ; \
	else \
	  $(PYTHON) -m venv --clear .venv && $(BIN)/python -m pip install --quiet --upgrade pip && \
	  $(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock && \
	  $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable . ; \
	fi
	@touch $@
