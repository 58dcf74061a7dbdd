# Two commands: `make study` and `make test`. Everything runs in .venv, made on first use.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

PROFILE ?= full

.PHONY: help study reference reference-gpu test test-all mutants lint types check report docs notebooks bench bench-quick clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/ —/'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"aura_study needs Python >= 3.11; {sys.executable} is {sys.version.split()[0]}. Choose another with make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.study: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[study,balancers]'
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $(VENV)/.study $@

$(VENV)/.jupyter: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[jupyter,balancers]'
	@touch $(VENV)/.study $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $(VENV)/.study $@

study: $(VENV)/.study ## run every notebook (quick profile, embedded data) and count the verdicts and say where the report is
	$(BIN)/aura-study run

reference: $(VENV)/.study ## make the committed reference run again and fill the READMEs from it (real data)
	$(BIN)/aura-study run --profile $(PROFILE) --data aura --out reference --replace
	$(BIN)/aura-study thin reference --every 20
	$(BIN)/python -m aura_study.report.readme

reference-gpu: $(VENV)/.study ## some of its trainings once more, for a machine with a GPU: all layers learn, ten seeds
	$(BIN)/aura-study run 2 12 13 14 --profile $(PROFILE) --data aura -f notebooks/on_a_gpu.yaml --out reference-gpu --replace
	$(BIN)/aura-study thin reference-gpu --every 20
	$(BIN)/python -m aura_study.report.readme

# Two workers of one thread each: with more, torch's threads wait for each other longer than they compute.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test: $(VENV)/.test ## run the tests, those marked slow left out
	$(PYTEST) -m "not slow"

test-all: test ## and those as well: whole studies, kills, browsers, fresh environments
	$(PYTEST) -m slow

mutants: $(VENV)/.test ## put small faults into five rooms, one at a time, and count those that the tests notice (hours; goes on where it was)
	-OMP_NUM_THREADS=1 $(BIN)/python tests/tools/mutate.py --out .mutants
	OMP_NUM_THREADS=1 $(BIN)/python tests/tools/mutate.py --out .mutants --again --slow --limit 300

lint: $(VENV)/.test ## ruff
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/.test ## mypy
	$(BIN)/mypy

check: lint types test-all bench-quick ## everything that CI runs

report: $(VENV)/.study ## rebuild the site of the default run from its results alone
	$(BIN)/aura-study report

docs: $(VENV)/.docs ## build the manual into build/docs
	$(BIN)/python -m sphinx --fail-on-warning --quiet --doctree-dir build/doctrees aura_study/manual build/docs

notebooks: $(VENV)/.jupyter ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir=notebooks $(if $(filter 0,$(shell id -u)),--allow-root)

bench: $(VENV)/.test ## ratios of speed against honest baselines; fills benchmarks/README.md
	cd benchmarks && ../$(BIN)/python quick.py --keep && for script in imports losses dynamics training both_cores alternatives sweep paper growth study table; do ../$(BIN)/python $$script.py || exit 1; done

bench-quick: $(VENV)/.test ## a minute: fails where a ratio has lost more than a fifth of the committed one
	cd benchmarks && ../$(BIN)/python quick.py

clean: ## remove the environment, the built manual and the tools' caches; runs stay
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .mutants
