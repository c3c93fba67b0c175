# make demo: a small search from nothing. make test: the quick tests. Both install into .venv first, once; PYTHON names another Python.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed

.PHONY: demo install test images browser lint bench docs clean

demo: install
	$(BIN)/python search.py --cfg experiments/synthetic/litepose.yaml

install: $(INSTALLED)

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + \
		": make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e ".[dev]"
	touch $@

test: install
	$(BIN)/python -m pytest -n auto

# The tests that read real images, which are in ../shared/data or where POSE_SUPERNET_SHARED says.
images: install
	$(BIN)/python -m pytest -n auto -m "real_images and not slow"

browser: install
	$(BIN)/python -m pytest -m browser

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install
	$(BIN)/python tools/bench/sharing.py
	$(BIN)/python tools/bench/sharing.py --family all --architectures 1000
	$(BIN)/python tools/bench/cost.py
	$(BIN)/python tools/bench/search.py
	$(BIN)/python tools/bench/search.py --table experiments/synthetic/table.csv --seeds 20
	$(BIN)/python tools/bench/search_speed.py
	$(BIN)/python tools/bench/workers.py --cfg experiments/synthetic/litepose.yaml
	$(BIN)/python tools/bench/grouping.py
	$(BIN)/python tools/bench/bottom_up_sample.py
	$(BIN)/python tools/bench/person_sample.py

docs: install
	$(BIN)/python tools/config_reference.py
	$(BIN)/python tools/cli_reference.py
	$(BIN)/python tools/model_zoo.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
