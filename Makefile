# make test    set up .venv and run every check
# make demo    set up .venv, edit a drawn picture, say what came out
# make app     set up .venv, and open a page in the browser on which pictures are edited
# make format  let ruff rewrite the code
# make benchmarks  measure what steering costs, and write docs/benchmarks.md
# make gpu     measure on a CUDA GPU; WHEELS=folder brings packages along (docs/benchmarks.md)
# make gpu-features  try every feature on a CUDA GPU, against docs/features.md; DEVICE=elsewhere on a stand-in, without one
# make canary  run the suite on the newest PyTorch, diffusers and transformers that pip finds; TESTS=folder for a part of it
# make reports  run experiments/shapes-ablation.yaml, and write its page into docs/reports
# make docs    build the site into out/site, strictly
# make gallery  draw the pictures of docs/gallery.md and of the how-to pages
# make features  try every feature on every kind of model, and write docs/features.md
#
# PYTHON=python3.12 chooses the interpreter that .venv is made with.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/with-test
PIP := $(BIN)/python -m pip --quiet --quiet --no-input --disable-pip-version-check

.DEFAULT_GOAL := test
.PHONY: setup browser test canary lint demo docs gallery format features reports benchmarks gpu gpu-features clean

setup: $(STAMP) browser

# Debian's Chromium and its driver, for the tests of pages; those fail with a sentence where it cannot be installed.
browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || ( apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium chromium-driver fonts-dejavu-core ) >/dev/null || \
		echo "Chromium is not installed, and apt-get cannot install it here: the tests of pages will fail."

# The package with one of its extras. For the page, Python compiles what is imported, when it is: sooner than pip compiles all.
$(VENV)/with-app: HOW := --no-compile
$(VENV)/with-%: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install $(HOW) -c constraints.txt torch==2.13.0 -e '.[$*]'
	touch $@

lint: $(STAMP)
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo

test: export HF_HUB_OFFLINE := 1
test: export OMP_NUM_THREADS := 1
test: lint browser
	$(BIN)/pytest -q -n 2 --durations=10

# An environment of its own, brought up to date at each run. The second line may go past what pyproject.toml allows.
CANARY := .canary/bin/python -m
NEWEST ?= torch diffusers transformers
TESTS ?=
canary: export HF_HUB_OFFLINE := 1
canary: export OMP_NUM_THREADS := 1
canary:
	test -x .canary/bin/python || $(PYTHON) -m venv .canary
	$(CANARY) pip --quiet --quiet --no-input --disable-pip-version-check install -e '.[test]'
	$(CANARY) pip --quiet --quiet --no-input --disable-pip-version-check install --upgrade $(NEWEST)
	$(CANARY) pip list --disable-pip-version-check | grep -E '^(torch|diffusers|transformers) '
	$(CANARY) pytest -q -n 2 $(TESTS)

app: $(VENV)/with-app
	$(BIN)/headrouter app

demo: $(STAMP)
	$(BIN)/headrouter demo

format: $(STAMP)
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

docs: export NO_MKDOCS_2_WARNING := 1
docs: $(STAMP)
	$(BIN)/mkdocs build --strict

gallery: export HF_HUB_OFFLINE := 1
gallery: export OMP_NUM_THREADS := 1
gallery: $(STAMP)
	$(BIN)/python -W ignore -m benchmarks.gallery
	$(BIN)/python -W ignore -m benchmarks.howto

features: export HF_HUB_OFFLINE := 1
features: export OMP_NUM_THREADS := 1
features: $(STAMP)
	cd tests && ../$(BIN)/python -W ignore -m features.test_features

reports: export HF_HUB_OFFLINE := 1
reports: export OMP_NUM_THREADS := 1
reports: $(STAMP)
	$(BIN)/headrouter experiment run experiments/shapes-ablation.yaml -o runs/shapes-ablation
	rm -rf docs/reports/shapes-ablation
	$(BIN)/headrouter experiment report runs/shapes-ablation --page docs/reports/shapes-ablation

benchmarks: export HF_HUB_OFFLINE := 1
benchmarks: export OMP_NUM_THREADS := 1
benchmarks: $(STAMP)
	$(BIN)/python -m benchmarks

# No .venv and no network: the interpreter with PyTorch for CUDA as it is, other packages from wheels.
OUT ?= out/gpu
ROUNDS ?= 5
DEVICE ?= cuda
gpu: export HF_HUB_OFFLINE := 1
gpu: export PYTHONPATH := $(CURDIR)/.gpu:$(CURDIR):$(CURDIR)/adapters:$(CURDIR)/inversions:$(CURDIR)/plugins:$(PYTHONPATH)
gpu:
	$(if $(WHEELS),$(PYTHON) -m pip install --quiet --no-index --no-deps --upgrade --target .gpu $(WHEELS)/*.whl)
	$(PYTHON) -m benchmarks.gpu --device $(DEVICE) --rounds $(ROUNDS) --out "$(OUT)" $(TINY) $(PARTS)

gpu-features: export HF_HUB_OFFLINE := 1
gpu-features: export OMP_NUM_THREADS := 1
gpu-features: export PYTHONPATH := $(CURDIR)/.gpu:$(CURDIR):$(CURDIR)/adapters:$(CURDIR)/inversions:$(CURDIR)/plugins:$(CURDIR)/tests:$(PYTHONPATH)
gpu-features:
	$(PYTHON) -W ignore -m features.on_device --device $(DEVICE) --out "$(OUT)" $(CELLS)

clean:
	rm -rf .gpu .canary $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
