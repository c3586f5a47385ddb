# The commands of the README. PYTHON chooses the interpreter of the environment, CONFIG the
# configuration: make run PYTHON=python3.12 CONFIG=config/imagenet.yaml
PYTHON ?= python3
CONFIG ?=
VENV := .venv
BIN := $(VENV)/bin
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake

.PHONY: run test test-faults lint clean lock unlock

run: $(VENV)/.installed
	@$(if $(CONFIG),test -f "$(CONFIG)" || { echo "error: CONFIG=$(CONFIG): there is no such file" >&2; exit 1; },:)
	@$(SNAKEMAKE) $(if $(CONFIG),--configfile "$(CONFIG)")

test: $(VENV)/.installed
	@$(BIN)/python -m pytest

# All faults, also the many minutes of them that make test leaves out.
test-faults: $(VENV)/.installed
	@$(BIN)/python -m pytest tests/faults -m "long or not long" -s

lint: $(VENV)/.installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/snakefmt --check Snakefile workflow/rules
	@$(SNAKEMAKE) --lint

# After a crash Snakemake may find the folder locked by a run that is no more.
unlock: $(VENV)/.installed
	@$(SNAKEMAKE) --unlock

clean:
	rm -rf results .snakemake .pytest_cache .ruff_cache

$(VENV)/.installed: envs/cpu/requirements.txt envs/setup.sh
	@sh envs/setup.sh "$(PYTHON)" "$(VENV)" envs/cpu/requirements.txt

# Needs uv (https://docs.astral.sh/uv/).
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-header --no-annotate --quiet envs/cpu/requirements.in -o envs/cpu/requirements.txt
