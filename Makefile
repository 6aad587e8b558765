# Each target first makes the environment .venv if it is missing or out of date: with uv if that is installed, else pip.
PYTHON ?= python3
BIN := .venv/bin
CLUSTER := /tmp/vlmatch-slurm
# What `make run` and `make report` take the LLM to be fed: pooled (one feature, as in our small VLMs) or patches (LLaVA).
FED := pooled
CORES := $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
export MLFLOW_DISABLE_TELEMETRY := true

.DEFAULT_GOAL := help
.PHONY: help setup run train block collect test test-full test-lmms test-live docs lint ui report clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.ready ## make the environment .venv, and do nothing else

run: .venv/.ready ## rank 10 encoders for 2 LLMs on 644 captioned pictures; writes outputs/report.html
	$(BIN)/python src/run.py task=fetch
	$(BIN)/python src/run.py multirun answer.fed=$(FED)

# One process per core, with one thread each: two processes of two threads each on two cores are many times slower.
train: .venv/.ready ## train and measure the VLMs of study/dvc.yaml that have no result in study/results/ yet (hours)
	$(BIN)/python src/run.py task=fetch task.what=split
	@stages=$$($(BIN)/dvc stage list study/dvc.yaml --name-only) && \
	missing=$$(printf '%s\n' $$stages | $(BIN)/python study/missing.py) || exit 1; \
	if [ -z "$$missing" ]; then echo "every VLM of study/dvc.yaml has its result"; exit 0; fi; code=0; \
	printf '%s\n' $$missing | OMP_NUM_THREADS=1 xargs -P $(CORES) -I{} \
	  sh -c '$(BIN)/dvc --wait-for-lock repro {} || exit 1' || code=1; \
	$(BIN)/python src/run.py task=collect && exit $$code

block: .venv/.ready ## train the VLMs of block N=0, 1, ... of study/blocks.md that have no result yet (hours)
	$(BIN)/python src/run.py task=fetch task.what=split
	@OMP_NUM_THREADS=1 $(BIN)/python src/run.py experiment=block$(N) hydra.launcher.n_jobs=$(CORES) multirun; code=$$?; \
	$(BIN)/python src/run.py experiment=block$(N) task=collect task.runs=training/blocks && exit $$code

collect: .venv/.ready ## copy the results of finished trainings to study/results/
	$(BIN)/python src/run.py task=collect

# One-thread processes, a file at a time on each core: slow set-ups are shared by the tests of a file.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(CORES) --maxprocesses 8 --dist loadfile

test: .venv/.ready ## run all tests except the slow ones
	$(PYTEST) -m 'not slow'

test-full: .venv/.ready ## run the slow tests: real weights, resuming after kills, launchers, DVC, the wheel, the notebook
	$(PYTEST) -m slow

test-lmms: .venv-lmms/.ready ## run the tests that need lmms-eval, in an environment of its own
	.venv-lmms/bin/python -m pytest tests/benchmarks/test_lmms.py tests/tasks/test_public.py

docs: .venv-docs/.ready ## build the documentation as a site in outputs/site, without network
	NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true .venv-docs/bin/mkdocs build --strict
	@grep -q shortlist outputs/site/search/search_index.js # what the search reads without a server; else it finds nothing

test-live: .venv/.ready ## try SLURM on a cluster of one node that is started for it (root, docs/clusters.md; minutes)
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[slurm]'
	tests/live/slurm.sh start $(CLUSTER)
	SLURM_CONF=$(CLUSTER)/slurm.conf $(BIN)/python tests/live/clusters.py; code=$$?; \
	tests/live/slurm.sh stop $(CLUSTER); exit $$code

lint: .venv/.ready ## format check, lint, types, one-way imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ui: .venv/.ready ## serve MLflow's page at http://127.0.0.1:5000, and print the addresses of the rankings in it
	$(BIN)/python src/run.py task=ui

report: .venv/.ready ## write the report of what the store holds; embeds nothing
	$(BIN)/python src/run.py task=report answer.fed=$(FED)

clean: ## remove outputs and computed embeddings and scores; downloads, data and MLflow's runs stay
	rm -rf outputs cache/embeddings cache/scores cache/layers dist

.venv/.ready: requirements.lock pyproject.toml
.venv-lmms/.ready: requirements-lmms.lock pyproject.toml

.venv-docs/.ready: requirements-docs.lock
	$(PYTHON) -m venv --clear $(@D) && $(@D)/bin/python -m pip install --quiet --require-hashes -r $<
	@touch $@

.venv/.ready .venv-lmms/.ready:
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --seed --clear --python $(PYTHON) $(@D) && \
	  uv pip install --quiet --python $(@D)/bin/python --require-hashes -r $< && \
	  uv pip install --quiet --python $(@D)/bin/python --no-deps --no-build-isolation --editable . ; \
	else \
	  $(PYTHON) -m venv --clear $(@D) && $(@D)/bin/python -m pip install --quiet --upgrade pip && \
	  $(@D)/bin/python -m pip install --quiet --require-hashes -r $< && \
	  $(@D)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable . ; \
	fi
	@touch $@
