# Two commands do all the set-up on a fresh machine: `make book` and `make test`. They, and
# `make check`, are made of stages; .ci/stages.py says which runs and sums up what each took.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PROFILE ?= smoke
# What `make mutate` breaks: so many lines, drawn with this seed.
N ?= 100
SEED ?= 0
# What `make marked` runs.
MARK ?= gpu
# More of the extras in pyproject.toml, such as EXTRAS=bench.
EXTRAS  ?=
STAGES  = +@$(PYTHON) .ci/stages.py
# The order of a busy machine's threads: sleep instead of spinning at barriers.
export OMP_WAIT_POLICY ?= PASSIVE
export TOKENIZERS_PARALLELISM ?= false
# Containers often forbid Python to keep what it compiles; then each process compiles all libraries.
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help book test check serve environment chapters site lint types unit notebooks nearest \
	nightly marked kills plain shake mutate format bench gpu-check clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Not compiled: a third of the packages' code is ever imported, and compiled then.
$(READY): pyproject.toml src/okml/__init__.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "okml needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip  # the one that comes with Python 3.11 takes twice the time
	$(PIP) --no-compile --editable '.[book,test$(EXTRAS:%=,%)]'
	touch $@

book:  ## Create the environment, run the chapters, build the site
	$(STAGES) book environment chapters site

environment: $(READY)  ## Create the environment alone
	@:

chapters: $(READY)
	$(BIN)/okml run --profile $(PROFILE)

site: $(READY)
	$(BIN)/okml book --profile $(PROFILE)

serve: book  ## Build the site and serve it on http://127.0.0.1:8000
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/site 8000

# The check of types takes one core, so the tests begin beside it.
test:  ## Lint, types, unit tests, and the notebooks under nbval
	$(STAGES) test environment lint types+unit notebooks

check:  ## Lint, types, and the quick tests nearest to what changed since main
	$(STAGES) check environment lint types+nearest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell src tests book benchmarks notebooks *.md

types: $(READY)
	$(BIN)/mypy

# A worker a core with one thread each: the networks of tests are too small to share out. Tests of
# one file stay together, since they share what it sets up; those that take longest start first.
WORKERS := -n auto --dist loadfile --no-loadscope-reorder -p tests.tools.rooms

unit nearest nightly marked notebooks: export OMP_NUM_THREADS = 1
unit: $(READY)
	$(BIN)/python -m pytest $(WORKERS) --dearest 40 tests

nearest: $(READY)
	$(BIN)/python -m tests.tools.changed $(WORKERS) -m 'not (slow or browser)'

nightly: $(READY)  ## Run what `make test` leaves out or samples
	$(BIN)/python -m pytest $(WORKERS) -m nightly tests

marked: $(READY)  ## Run the tests of one mark (MARK=gpu, realdata, browser, slow)
	$(BIN)/python -m pytest $(WORKERS) -m '$(MARK)' tests

kills: export OMP_NUM_THREADS = 1
kills: $(READY)  ## Kill runs two hundred times and record what it did
	$(BIN)/python -m tests.survival.matrix --out results/benchmarks/survival.json

notebooks: export TQDM_DISABLE = 1
# The notebooks of a chapter share its run, so one waits for the other. A comment on the line of a
# value would leave its spaces in the value.
notebooks: export OKML_WAIT = 1
notebooks: export JUPYTER_DEFAULT_PROVISIONER_NAME = okml-warm
notebooks: $(READY)
	$(BIN)/python -m pytest $(WORKERS) --nbval --nbval-current-env --nbval-cell-timeout 600 \
		--nbval-kernel-startup-timeout 600 -p no:cacheprovider notebooks

# Stored outputs must not belong to one machine: KERNELS=plain computes as any x86-64 processor can.
ifeq ($(KERNELS),plain)
export ATEN_CPU_CAPABILITY = default
# Without a tag torch takes code that was compiled for other kernels from its cache.
export TORCH_COMPILE_CACHE_KEY_TAG = default
export MKL_CBWR = COMPATIBLE
export ONEDNN_MAX_CPU_ISA = SSE41
endif

# Runs at the smallest scale are made anew, since kept steps would come from this machine's kernels.
plain:  ## Compare the notebooks on the kernels of a plain processor
	rm -rf _build/runs/*/smoke
	$(MAKE) --no-print-directory notebooks KERNELS=plain

shake: $(READY)  ## Run tests and notebooks on other arithmetic and name what moves
	$(BIN)/python -m tests.tools.shake $(PLACES)

mutate: export OMP_NUM_THREADS = 1
mutate: $(READY)  ## Break N random lines one at a time and name those that no test notices
	@$(BIN)/python -m tests.tools.mutate --count $(N) --seed $(SEED)

format: $(READY)  ## Rewrite the sources in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## Measure okml beside its peers and record the ratios
	$(PIP) --editable '.[bench]'
	for script in benchmarks/*.py; do $(BIN)/python $$script --out results/benchmarks/$$(basename $$script .py).json || exit 1; done

gpu-check: $(READY)  ## Measure what one GPU shows in 25 minutes, without a network
	$(BIN)/python -m benchmarks.gpu.check --out results/benchmarks/gpu_check.json

clean:  ## Remove what can be built again
	rm -rf _build
