# Tasks, in an environment that holds the project: make PYTHON=.venv/bin/python test
PYTHON ?= .venv/bin/python
BIN = $(dir $(PYTHON))
ROUNDS ?= 100000

.PHONY: help test slow lint format docs made cover bench fuzz mutants pages ci

help:      ## these tasks
	@sed -n 's/^\([a-z]*\):  *## /\1\t/p' $(MAKEFILE_LIST)

test:      ## the tests, but the slow ones
	$(PYTHON) -m pytest -n auto

slow:      ## what the tests repeat at length
	$(PYTHON) -m pytest -n auto -m slow

lint:      ## style, types and import layers
	$(BIN)ruff check
	$(BIN)ruff format --check
	$(BIN)mypy
	$(BIN)lint-imports

format:    ## lay the code out
	$(BIN)ruff check --fix
	$(BIN)ruff format

docs:      ## the site of the documents, in site/ (pip install -e '.[docs]')
	NO_MKDOCS_2_WARNING=1 $(BIN)mkdocs build --strict --quiet

made:      ## what is made of commands and of the code: pictures, pages, the notebook, man pages
	$(PYTHON) docs/pictures.py
	$(PYTHON) -m docs.screens
	$(PYTHON) docs/pages.py
	$(PYTHON) docs/notebook.py
	$(PYTHON) packaging/pages.py

cover:     ## branch coverage, with the lines that are missed
	$(PYTHON) -m pytest -n auto --cov --cov-report=term-missing --cov-report=html

bench:     ## speed and memory, beside other programs: make bench NAMES="lookup pool"
	$(PYTHON) -m benchmarks $(NAMES)

fuzz:      ## mutated files, ROUNDS of each format, others each time
	$(PYTHON) -m tests.fuzz --rounds $(ROUNDS)

mutants:   ## mutation testing of the fold, the scores and the readers; SAMPLE=50 of each file alone
	OPENBLAS_NUM_THREADS=1 $(PYTHON) -m tests.mutation $(if $(SAMPLE),--sample $(SAMPLE))

pages:     ## man pages and completions, anew from the commands
	$(PYTHON) packaging/pages.py

ci:        ## all that a change must pass, from an empty environment
	.ci/run
