# `make demo` and `make test` need nothing but Python 3.11 or newer, and make.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PHOTO := src/densewatch/assets/astronaut.jpg
OUTPUT := demo-output
JOBS := 2

# The first interpreter that is new enough; `make PYTHON=/path/to/python3.12 demo` chooses another one.
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)

.PHONY: help demo test test-slow lint format clean

help:
	@echo "make demo       find the objects in $(PHOTO), print them, draw them"
	@echo "make test       install what the tests need (PyTorch among it: several GB) and run them; JOBS=4: four at a time"
	@echo "make test-slow  the same for the tests that take minutes, which make test leaves out"
	@echo "make lint       check style and types"
	@echo "make format     put the code into the project's style"
	@echo "make clean      remove $(VENV), $(OUTPUT) and caches"

demo: $(VENV)/.installed
	@echo "densewatch detect $(PHOTO) --save $(OUTPUT)"
	@echo
	@$(BIN)/densewatch detect $(PHOTO) --save $(OUTPUT)
	@echo
	@echo "The picture with boxes: $(CURDIR)/$(OUTPUT)/$(notdir $(PHOTO))"
	@echo "Try next:"
	@echo "  $(BIN)/densewatch detect YOUR-PHOTO.jpg --save $(OUTPUT)"
	@echo "  $(BIN)/densewatch detect YOUR-FOLDER/ --only person,chair --threshold 0.3 --format csv"
	@echo "  $(BIN)/densewatch --help"

# One process for three files: with PyTorch, OpenVINO and ONNX Runtime all in use in one process for minutes, starting a
# child process has ended in a segmentation fault of the parent. The cause is not found yet. Several at a time, each of
# which computes on one core (OMP_NUM_THREADS). (5: only slow tests in these files; 255 ends xargs.)
test: $(VENV)/.installed-test
	@printf '%s\n' tests/test_*.py | OMP_NUM_THREADS=1 xargs -P $(JOBS) -n 3 sh -c '\
		output=$$($(BIN)/python -m pytest -m "not slow" "$$@" 2>&1); status=$$?; \
		printf "%s\n%s\n" "$$*" "$$output"; \
		[ $$status -eq 0 ] || [ $$status -eq 5 ] || exit 255' sh

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(OUTPUT) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.created:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "densewatch needs Python 3.11 or newer; found: $(or $(PYTHON),none). Install one, or name it:" >&2; \
		echo "  make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
		exit 1; \
	}
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Installed in place (-e), so that neither target ever runs an old copy of the code.
$(VENV)/.installed: $(VENV)/.created pyproject.toml
	@echo "Installing densewatch into $(VENV) ..."
	@$(PIP) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.created pyproject.toml
	@echo "Installing densewatch and what its tests need into $(VENV); PyTorch takes minutes ..."
	@$(PIP) -e '.[test]'
	@touch $@ $(VENV)/.installed

# mypy reads the types of what the tests import, so linting needs the same packages.
$(VENV)/.installed-lint: $(VENV)/.installed-test
	@$(PIP) -e '.[test,lint]'
	@touch $@
