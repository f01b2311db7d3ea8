# Two commands do all the set-up: `make lab` opens the labs, `make test` runs every test.

PYTHON ?= $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
    $(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: help setup lab test app labs bench claims clean

help:
	@echo "make lab     install, and open the labs in JupyterLab (on your own copy, my_labs/)"
	@echo "make test    install, and run every test, the labs among them"
	@echo "make app     install, and start an app (NAME=stripes_explorer)"
	@echo "make labs    execute the notebooks in labs/ anew and clean them"
	@echo "make bench   measure speed, as ratios"
	@echo "make claims  run all recorded experiments again (hours) and say what moved"
	@echo "make clean   remove the environment"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "visionlab needs Python 3.11 or newer, and found: $$(python3 --version 2>&1)."; \
	    echo "Install one (for example: apt install python3.11 python3.11-venv, or brew install python), or name yours:"; \
	    echo "    make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "visionlab needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
	    echo "Name a newer one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make a virtual environment: its venv module is missing."; \
	    echo "Install it (for example: apt install python3-venv) and run this again."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m ipykernel install --sys-prefix --name python3 --display-name "Python (visionlab)"
	touch $(READY)

lab: $(READY)
	$(BIN)/visionlab lab $(NAME)

test: $(READY)
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist loadfile
	$(ONE_THREAD) $(BIN)/python -m pytest --nbval labs/ -n 2 --dist loadfile

NAME_OR_FIRST = $(or $(NAME),stripes_explorer)
app: $(READY)
	$(BIN)/visionlab app $(NAME_OR_FIRST)

labs: $(READY)
	$(ONE_THREAD) $(BIN)/python -m visionlab.notebooks labs/*.ipynb

bench: $(READY)
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest benchmarks -o python_files='bench_*.py' -s

claims: $(READY)
	$(BIN)/visionlab run all --record

clean:
	rm -rf $(VENV)
