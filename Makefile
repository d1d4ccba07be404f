PYTHON_BIN := .venv/bin/python
# Tests run in so many processes, of one thread each: mxnet's own threads hardly help with networks this small.
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -le 4 ] && echo $$n || echo 4)
SEVERAL = OMP_NUM_THREADS=1 $(PYTHON_BIN) -m pytest -n $(JOBS) --dist loadfile
PYTEST = $(if $(filter 1,$(JOBS)),$(PYTHON_BIN) -m pytest,$(SEVERAL))
# Looked up when it is used, because `make setup` installs it.
CLANG_FORMAT = $(shell PATH=".venv/bin:$$PATH" command -v clang-format)

.DEFAULT_GOAL := help
.PHONY: help setup demo lint test test-all test-reader docs dist two-at-once clean

help:
	@echo 'make setup   .venv with the project and all that its tests need (PYTHON=... chooses the interpreter)'
	@echo 'make demo    pack, train, interrupt, retrain, predict and plot on real handwritten digits'
	@echo 'make test    lint, format checks, types and tests (JOBS=N: in N processes)'
	@echo 'make test-all  also the tests of networks and options that are like others'
	@echo 'make test-reader  the tests of the reader, without mxnet, with the newest numpy (PYTHON_READER=... chooses Python)'
	@echo 'make lint    the first three of make test'
	@echo 'make docs    the pages of docs and the Python reference as a site: docs/_build/html/index.html'
	@echo 'make dist    dist/: source archive and wheel, tried in an environment without a compiler'
	@echo 'make two-at-once CIFAR10=... PACS=...  does IBN generalise? trains 66 networks; goes on where it was'
	@echo 'make clean   remove .venv, caches and the files of the demo'

setup:
	@tools/setup_env.sh

demo: setup
	@$(PYTHON_BIN) tools/demo.py

lint: setup
	@$(PYTHON_BIN) -m ruff check .
	@$(PYTHON_BIN) -m ruff format --check .
	@$(PYTHON_BIN) -m mypy
	@if [ -n '$(CLANG_FORMAT)' ]; then git ls-files '*.c' '*.cc' '*.cpp' '*.h' '*.hpp' | xargs '$(CLANG_FORMAT)' --dry-run --Werror; \
	else echo 'lint: C and C++ are not checked, because clang-format is missing: pip install clang-format'; fi

test: lint
	@$(PYTEST) -m 'not slow and not thorough'

test-all: lint
	@$(PYTEST)

test-reader: setup
	@JOBS=$(JOBS) tools/test_reader.sh

# Sphinx and its theme go into .venv, beside what is pinned there.
docs: setup
	@if ! $(PYTHON_BIN) -c 'import furo, myst_parser' 2>/dev/null; then \
	if $(PYTHON_BIN) -c 'import pip' 2>/dev/null; then \
	$(PYTHON_BIN) -m pip install -qq --disable-pip-version-check --no-warn-conflicts -c constraints.txt -r docs/requirements.txt; \
	else uv pip install --quiet --python $(PYTHON_BIN) -c constraints.txt -r docs/requirements.txt; fi; fi
	@$(PYTHON_BIN) -m sphinx -q -W --keep-going -c docs -b html . docs/_build/html
	@echo 'docs: docs/_build/html/index.html'

dist: setup
	@tools/make_dist.sh

# Either of the two may be left out: an archive, or what tools/im2rec_wrapper.py made of it (PACS: DOMAIN/CLASS folders).
two-at-once: setup
	@$(PYTHON_BIN) experiments/two_at_once/run.py $(if $(CIFAR10),--cifar10 $(CIFAR10)) $(if $(PACS),--pacs $(PACS))

clean:
	rm -rf .venv .venv-reader .venv-dist build dist demo docs/_build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
