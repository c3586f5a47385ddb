# The commands of the README. PYTHON chooses the interpreter of the environment, CONFIG the
# configuration, ENV the environment:
#   cpu              without a GPU
#   gpu              a second one for the jobs that may use a GPU: PaddlePaddle for GPUs up to compute
#                    capability 8.6, TensorRT 8.5 (Python 3.10, GPU_PYTHON)
#   deploy-gpu       training on the CPU, the rest on any GPU from 7.5 on: TensorRT 10, CUDA 12
#   deploy-gpu-cu13  the same with TensorRT 11, CUDA 13
#   train-gpu        all of it on any GPU from 7.5 on: PaddlePaddle 3, TensorRT 10, CUDA 12
#   cpu-paddle3      without a GPU, PaddlePaddle 3
PYTHON ?= python3
GPU_PYTHON ?= python3.10
CONFIG ?=
ENV ?= cpu
KIND := $(filter-out gpu,$(ENV))
KIND := $(or $(KIND),cpu)
VENV := .venv$(if $(filter-out cpu,$(KIND)),-$(KIND))
GPU_VENV := .venv-gpu
BENCH_VENV := .venv-bench
DOCS_VENV := .venv-docs
BIN := $(VENV)/bin
ENVIRONMENTS := $(VENV)/.installed $(if $(filter gpu,$(ENV)),$(GPU_VENV)/.installed)
ifeq ($(filter cpu gpu deploy-gpu deploy-gpu-cu13 train-gpu cpu-paddle3,$(ENV)),)
$(error ENV is $(ENV), but must be cpu, gpu, deploy-gpu, deploy-gpu-cu13, train-gpu or cpu-paddle3)
endif
# What snakemake and doctor.py are told about the configuration and the environment.
GIVEN_CONFIG := $(if $(CONFIG),--configfile "$(CONFIG)")
IN_GPU_ENV := $(if $(filter gpu,$(ENV)),--config 'hardware={"environment": "$(CURDIR)/$(GPU_VENV)"}')
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m twofour.snakemake

# Snakemake would not say where a file is malformed.
CHECK_CONFIG := $(BIN)/python workflow/scripts/check_config.py --config "$(or $(CONFIG),config/config.yaml)"
# Make's own line about a failed command would be the last one on the screen. So a command leaves the
# cause in a file, and make, told that all is well, reports that as its own error. (Several makes may
# run in this folder at a time.)
CAUSE := $(VENV)/.cause.$(shell echo $$PPID)
attempt = trap : INT; export TWOFOUR_CAUSE="$(CURDIR)/$(CAUSE)"; { $(1); } || \
    [ -s "$(CAUSE)" ] || echo "it failed, see above" >"$(CAUSE)"
fail = $(shell rm -f "$(CAUSE)")$(error $(1))
report = $(if $(findstring n,$(firstword -$(MAKEFLAGS))),,$(if $(file <$(CAUSE)),$(call fail,$(file <$(CAUSE)))))

.PHONY: run preview doctor try-run try-preview try-doctor gpu-environment test test-paddle3 test-faults bench lint pages docs hooks clean \
    lock unlock

run: try-run
	@$(report)

try-run: $(ENVIRONMENTS)
	@$(call attempt,$(CHECK_CONFIG) && $(SNAKEMAKE) $(GIVEN_CONFIG) $(IN_GPU_ENV))

# What sparsity, int8 and rivals will buy here, before any training.
preview: try-preview
	@$(report)

try-preview: $(ENVIRONMENTS)
	@$(call attempt,$(CHECK_CONFIG) && $(SNAKEMAKE) preview $(GIVEN_CONFIG) $(IN_GPU_ENV))

# Does this machine have what the configuration needs?
doctor: try-doctor
	@$(report)

try-doctor: $(ENVIRONMENTS)
	@$(call attempt,$(CHECK_CONFIG) && \
	    $(BIN)/python workflow/scripts/doctor.py --config "$(or $(CONFIG),config/config.yaml)" \
	    $(if $(filter gpu,$(ENV)),--environment "$(CURDIR)/$(GPU_VENV)"))

gpu-environment: $(GPU_VENV)/.installed

# Three groups beside each other, of about the same length: tests of the cluster mostly wait, and
# many others often do. What the first two say is shown at the end.
test: $(VENV)/.installed
	@said=$$(mktemp -d); python="$(BIN)/python -m pytest"; \
	    $$python tests/slurm tests/faults > "$$said/faults" 2>&1 & faults=$$!; \
	    $$python tests/workflow > "$$said/workflow" 2>&1 & workflow=$$!; \
	    $$python tests/unit tests/gpu; status=$$?; \
	    wait $$faults || status=$$?; wait $$workflow || status=$$?; \
	    cat "$$said/faults" "$$said/workflow"; rm -rf "$$said"; exit $$status

# The unit tests with PaddlePaddle 3.
test-paddle3:
	@$(MAKE) --no-print-directory ENV=cpu-paddle3 .venv-cpu-paddle3/.installed
	@.venv-cpu-paddle3/bin/python -m pytest tests/unit

# All fault tests, including the long ones that make test leaves out.
test-faults: $(VENV)/.installed
	@$(BIN)/python -m pytest tests/faults -m "long or not long" -s

# All benchmarks (about an hour), or some: make bench ROWS="loader infer"
bench: $(BENCH_VENV)/.installed
	@PATH="$(CURDIR)/$(BENCH_VENV)/bin:$$PATH" $(BENCH_VENV)/bin/python benchmarks/run.py $(ROWS)

lint: $(VENV)/.installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/snakefmt --check Snakefile workflow/Snakefile workflow/rules
	@$(BIN)/mypy
	@$(SNAKEMAKE) --lint

# Pages generated from the code: the schema, config/README.md, docs/backends.md.
pages: $(VENV)/.installed
	@$(BIN)/python -m twofour.pages

# The pages as a site in site/, without network; a dead link is an error.
docs: $(DOCS_VENV)/.installed
	@NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --quiet --clean

# The quick checks before each commit.
hooks: $(VENV)/.installed
	@$(BIN)/pre-commit install

# After a crash Snakemake may find the folder locked by a run that no longer exists.
unlock: $(VENV)/.installed
	@$(SNAKEMAKE) --unlock

clean:
	rm -rf results site .snakemake .pytest_cache .ruff_cache .mypy_cache

$(VENV)/.installed: envs/$(KIND)/requirements.txt envs/setup.sh
	@sh envs/setup.sh "$(PYTHON)" "$(VENV)" $(KIND)

$(GPU_VENV)/.installed: envs/gpu/requirements.txt envs/gpu/environment.post-deploy.sh envs/setup.sh
	@sh envs/setup.sh "$(GPU_PYTHON)" "$(GPU_VENV)" gpu

$(BENCH_VENV)/.installed: envs/cpu/requirements.txt benchmarks/requirements.txt envs/setup.sh
	@sh envs/setup.sh "$(PYTHON)" "$(BENCH_VENV)" bench

$(DOCS_VENV)/.installed: envs/docs/requirements.txt envs/setup.sh
	@sh envs/setup.sh "$(PYTHON)" "$(DOCS_VENV)" docs

COMPILE := uv pip compile --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet
ANYWHERE := --universal --python-version 3.11
# In environments for GPUs, other packages have their contents; and PaddlePaddle 3 that of 2.6.
FOR_GPUS := --no-emit-package onnxruntime --no-emit-package nvidia-dali-cuda110
PADDLE_3 := --override envs/paddle3.txt

# Needs uv (https://docs.astral.sh/uv/).
lock:
	$(COMPILE) $(ANYWHERE) envs/cpu/requirements.in envs/cpu/checks.in -o envs/cpu/requirements.txt
	$(COMPILE) --python-version 3.10 --python-platform x86_64-manylinux_2_28 \
	    envs/gpu/requirements.in -o envs/gpu/requirements.txt
	$(COMPILE) $(ANYWHERE) envs/docs/requirements.in -o envs/docs/requirements.txt
	for kind in deploy-gpu deploy-gpu-cu13; do \
	    $(COMPILE) $(ANYWHERE) $(FOR_GPUS) envs/$$kind/requirements.in -o envs/$$kind/requirements.txt || exit; \
	done
	$(COMPILE) $(ANYWHERE) $(PADDLE_3) envs/cpu-paddle3/requirements.in -o envs/cpu-paddle3/requirements.txt
	$(COMPILE) $(ANYWHERE) $(PADDLE_3) $(FOR_GPUS) --no-emit-package paddlepaddle \
	    envs/train-gpu/requirements.in -o envs/train-gpu/requirements.txt
	python3 envs/conda.py cpu 3.11
	python3 envs/conda.py gpu 3.10
