# `make help` lists the targets. Everything runs in .venv, which is built on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := zoopipe_core zoopipe_airflow zoopipe_prefect
# New examples each day, the same ones all day: a red run can be repeated with SEED=...
SEED ?= $(shell date -u +%Y%m%d)
INPUTS := pyproject.toml constraints.txt scripts/make_venv.sh

export PYTHON

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv load prefect airflow test check format bench constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(VENV)/.ready ## build .venv with every extra that tests need

load: $(VENV)/.ready ## run the first example: flights into DuckDB
	@$(BIN)/python flows_examples/01_flights_to_duckdb.py

prefect: $(VENV)/.ready ## start a Prefect server with its UI on this machine, and serve the example flows there
	@$(BIN)/python scripts/serve_examples.py

airflow: $(VENV)/.ready ## start an Airflow with its UI on this machine, and the example DAGs in it
	@$(BIN)/python scripts/serve_dags.py

test: $(VENV)/.ready ## run every test
	@scripts/make_browser.sh
	@echo "Hypothesis seed $(SEED)"
	@scripts/run_tests.sh $(BIN)/python --hypothesis-seed=$(SEED)

check: $(VENV)/.ready ## lint, format, types, layers, docs, public names
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy --strict $(PACKAGES)
	@$(BIN)/python -m pytest tests/test_imports.py tests/test_docs.py tests/test_public_names.py

format: $(VENV)/.ready ## repair what ruff can repair
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: $(VENV)/.ready-bench ## compare with peers, show it in docs/ (BENCH=--quick: smoke test)
	@$(BIN)/python -m benchmarks run $(BENCH)
	@test -n '$(BENCH)' || $(BIN)/python -m benchmarks warehouse
	@test -n '$(BENCH)' || $(BIN)/python -m benchmarks scaling
	@test -n '$(BENCH)' || $(BIN)/python -m benchmarks.ledger_price
	@test -n '$(BENCH)' || $(BIN)/python -m benchmarks.ledger_price --rows 1000000 --repeat 5
	@test -n '$(BENCH)' || $(BIN)/python -m benchmarks.airflow_cost
	@test -n '$(BENCH)' || $(BIN)/python -m benchmarks.prefect_cost
	@$(BIN)/python -m benchmarks render

constraints: $(VENV)/.ready ## resolve constraints.txt anew (needs uv)
	@scripts/make_constraints.sh $(VENV)

clean: ## remove .venv, caches and build artefacts
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The first argument is the environment, the second what to install from this folder.
$(VENV)/.ready: $(INPUTS)
	@scripts/make_venv.sh $(VENV) '.[all,dev]'
	@touch $@

$(VENV)/.ready-bench: $(INPUTS) | $(VENV)/.ready
	@scripts/make_venv.sh $(VENV) '.[all,dev,bench]'
	@touch $@
