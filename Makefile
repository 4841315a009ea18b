# Needs Python 3.11 or newer, make and pip; everything else goes to .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-stack lint docs bench check-slow check-kill check-faults check-consumer check-fuzz check-image \
  check-cluster gpu clean

demo: .venv/installed  ## NYC flights: retrain, score, sample, and what came out
	$(BIN)/chainrule demo

test: .venv/installed
	$(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder $(PYTEST_ARGS)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/installed  ## speed in relation to lower bounds and peers, half an hour
	$(BIN)/python -m pip install -q --disable-pip-version-check \
	  -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/summary.py

docs: .venv/installed  ## the documentation as a static site in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

check-slow: .venv/installed  ## killed training, S3, two workers, tuning: minutes
	$(BIN)/python -m pytest -m slow -n 2 --dist loadscope --no-loadscope-reorder \
	  $(PYTEST_ARGS)

check-kill: .venv/installed  ## the pipeline, killed at ten moments, minutes
	$(BIN)/python -m pytest tests/system/test_kill.py -m kill --kills 10 $(PYTEST_ARGS)

check-faults: .venv/installed  ## 200 faults of all kinds, an hour; ends with a table
	$(BIN)/python -m pytest tests/faults/test_injections.py -m "faults or not faults" \
	  --injections 0+200 $(PYTEST_ARGS)

check-fuzz: .venv/installed  ## 500 random datasets through every job, an hour
	$(BIN)/python -m pytest tests/faults/test_fuzz.py -n 2 --examples 0+500 $(PYTEST_ARGS)

check-consumer: .venv/installed  ## a version in a fresh environment, served, in Spark
	$(BIN)/python -m pip install -q --disable-pip-version-check \
	  -c constraints.txt -e '.[spark]'
	$(BIN)/python -m pytest tests/tasks/registry/test_consumer.py -m consumer $(PYTEST_ARGS)

check-image: .venv/installed  ## the steps of infra/Dockerfile in an empty folder, minutes
	$(BIN)/python -m pytest tests/system/test_image.py -m image $(PYTEST_ARGS)

test-stack: .venv/installed-stack  ## the loop on real servers, minutes
	tests/system/install_postgres.sh
	$(BIN)/python -m pytest -m stack tests/system/test_stack.py $(PYTEST_ARGS)

check-cluster: .venv/installed-stack  ## hosts of a cluster, killed and cut off; needs root
	tests/system/install_postgres.sh
	$(BIN)/python -m pytest -m cluster tests/system/test_cluster.py $(PYTEST_ARGS)

gpu: .venv/installed  ## every family's laws on CUDA, CUDA graphs, bf16; needs a GPU
	@if $(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; \
	then $(BIN)/python -m pytest -m gpu tests/ar_models $(PYTEST_ARGS) && \
	  PYTHONPATH=. $(BIN)/python benchmarks/gpu.py; \
	else echo 'make gpu: skipped, since torch finds no GPU on this machine'; fi

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache *.egg-info

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or newer is needed: make PYTHON=python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check \
	  -c constraints.txt -e '.[dev]'
	touch $@

.venv/installed-stack: .venv/installed
	$(BIN)/python -m pip install -q --disable-pip-version-check \
	  -c constraints.txt -e '.[stack]'
	touch $@
