# Two commands do everything on a machine that has only git, make and Python >= 3.11:
#   make demo   install, learn depth on the synthetic world, judge it, draw it
#   make test   install, then lint, types, floors and tests
# and one more builds the documentation:
#   make docs   install, then build the site, links checked (those within it; none to other hosts)
PYTHON ?= python3
# Where it comes from depends on the package index (on Linux, the public one has the CUDA build); README.md says how to pick another.
TORCH  ?= torch==2.13.0
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := runs/demo
WORLD  := worlds/demo
STREETS := --world.scene simple --world.min_speed 6

.PHONY: demo test lint format docs clean

$(VENV)/made: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "semdepth needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile $(TORCH)
	@touch $@

$(VENV)/train: $(VENV)/made
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[train]'
	@touch $@

$(VENV)/dev: $(VENV)/made
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]'
	@touch $@ $(VENV)/train

$(VENV)/docs: $(VENV)/made
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[docs]'
	@touch $@

demo: $(VENV)/train
	$(BIN)/semdepth synthesise $(WORLD)/train --drives 48 --frames 12 --height 64 --width 192 $(STREETS)
	$(BIN)/semdepth synthesise $(WORLD)/val --split val --drives 8 --frames 3 --height 64 --width 192 $(STREETS)
	$(BIN)/semdepth synthesise $(WORLD)/test --split test --drives 16 --frames 3 --height 128 --width 384 $(STREETS)
	$(BIN)/semdepth train --config recipes/demo.yaml
	$(BIN)/semdepth evaluate $(DEMO) --data.name kitti_raw --data.root $(WORLD)/test --data.labels exact
	$(BIN)/semdepth predict $(WORLD)/test --weights $(DEMO) --out $(DEMO)/predictions --every 6
	$(BIN)/semdepth report $(DEMO)
	@echo
	@echo "Look at $(DEMO)/report.html (all about the run on one page), $(DEMO)/predictions (image, depth, classes, uncertainty), $(DEMO)/panels (what training saw) and $(DEMO)/evaluation.md (the table)."

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/pytest -n auto --dist loadfile

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Open site/index.html in a browser: it needs no server and no connection."

clean:
	rm -rf $(VENV) runs worlds site
