# Everything runs in an environment of its own, made from nothing with Python 3.11, pip and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: install demo test lint slow clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -e '.[dev]'
	@touch $@

demo: install
	$(BIN)/python docs/demo.py

test: install
	$(BIN)/pytest

lint: install
	$(BIN)/ruff format --check core plugins tests docs
	$(BIN)/ruff check core plugins tests docs
	$(BIN)/pyright --pythonpath $(BIN)/python

slow: install
	$(BIN)/pytest -m slow

clean:
	rm -rf $(VENV) runs build dist
