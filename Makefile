# Two commands do all the set-up on a fresh machine: `make book` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
PROFILE ?= smoke
# What `make mutate` breaks: so many lines, drawn with this seed.
N ?= 100
SEED ?= 0
# More of the extras in pyproject.toml, such as EXTRAS=spark.
EXTRAS  ?=
# The order of a busy machine's threads: sleep instead of spinning at barriers.
export OMP_WAIT_POLICY ?= PASSIVE
export TOKENIZERS_PARALLELISM ?= false

.DEFAULT_GOAL := help
.PHONY: help book test serve lint types unit notebooks plain shake mutate format bench clean

help:  ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(READY): pyproject.toml src/okml/__init__.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "okml needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[book,test]'
	$(if $(EXTRAS),$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]')
	touch $@

book: $(READY)  ## Create the environment, run the chapters, build the site
	$(BIN)/okml run --profile $(PROFILE)
	$(BIN)/okml book --profile $(PROFILE)

serve: book  ## Build the site and serve it on http://127.0.0.1:8000
	$(BIN)/python -m http.server --bind 127.0.0.1 --directory _build/site 8000

test: lint types unit notebooks  ## Lint, types, unit tests, and the notebooks under nbval

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell src tests book benchmarks notebooks *.md

types: $(READY)
	$(BIN)/mypy

# A worker a core with one thread each: the networks of tests are too small to share out. Tests of
# one file stay together, since they share what it sets up.
unit: export OMP_NUM_THREADS = 1
unit: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile tests

notebooks: export TQDM_DISABLE = 1
notebooks: $(READY)
	$(BIN)/python -m pytest --nbval --nbval-current-env --nbval-cell-timeout 600 -p no:cacheprovider notebooks

# What any x86-64 processor has: outputs that are stored must not belong to one machine.
plain: export ATEN_CPU_CAPABILITY = default
plain: export MKL_CBWR = COMPATIBLE
plain: export ONEDNN_MAX_CPU_ISA = SSE41
plain: export OPENBLAS_CORETYPE = Nehalem
plain: notebooks  ## Compare the notebooks on the kernels of a plain processor

shake: $(READY)  ## Run tests and notebooks on other arithmetic and name what moves
	$(BIN)/python -m tests.tools.shake $(PLACES)

mutate: export OMP_NUM_THREADS = 1
mutate: $(READY)  ## Break N random lines one at a time and name those that no test notices
	@$(BIN)/python -m tests.tools.mutate --count $(N) --seed $(SEED)

format: $(READY)  ## Rewrite the sources in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## Measure okml beside its peers and record the ratios
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	for script in benchmarks/*.py; do $(BIN)/python $$script --out results/benchmarks/$$(basename $$script .py).json || exit 1; done

clean:  ## Remove what can be built again
	rm -rf _build
