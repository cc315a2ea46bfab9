# The house: `make test` proves everything, `make check` what can be proved in a minute, `make demo` shows it.
# Needs bash and Python 3.11 or newer; everything else is installed below this folder, by hash.

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
BENCH := .bench/venv
DOCS := .docs/venv
TOOLS := .tools/venv
SOURCES := airflow_audit_provider bench dags demo tests tools
PYTEST := $(BIN)/python -m pytest

.PHONY: quick test nightly check lint types arrows style demo bench docs screenshots matrix coverage lock wheel check-dist sbom workflows changelog clean environment tool-environment help

help:
	@echo "make test      everything: style, types, arrows, all tests, the four Airflow versions"
	@echo "make check     the same without the slow tests"
	@echo "make demo      the story in a terminal (KEEP=1 leaves Airflow running afterwards)"
	@echo "make bench     docs/explanation/benchmarks.md: this provider against others (GO_ON=1 the rest, QUICK=1 ours, PROFILE=1 our stages)"
	@echo "make docs      the documentation site, in site/"
	@echo "make screenshots the pictures of Airflow's pages in docs/pictures, taken anew"
	@echo "make matrix    the four Airflow versions alone"
	@echo "make coverage  branch coverage of the core"
	@echo "make workflows lint .github, the issue forms, CITATION.cff and the changelog's fragments"
	@echo "make wheel     the wheel and the sdist, in dist/; then make check-dist and make sbom check and describe them"
	@echo "make changelog show the next release's entry (VERSION=1.0.0 writes it into CHANGELOG.md)"
	@echo "make style     rewrite the sources in house style"
	@echo "make lock      write the lock files again (UPGRADE=--upgrade for newer versions)"
	@echo "make clean     remove everything these targets made"

test: lint types arrows
	tools/tests

check: lint types arrows
	$(PYTEST) -m "not integration and not live and not nightly"

quick: check

nightly: test

lint: environment
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: environment
	$(BIN)/mypy

arrows: environment
	PYTHONPATH=. $(BIN)/lint-imports

style: environment
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

matrix: environment
	$(PYTEST) tests/live/versions

coverage: environment
	$(BIN)/coverage run --branch --source airflow_audit_provider/core -m pytest tests/core
	$(BIN)/coverage report

demo:
	@python="$$(tools/python $(PYTHON))" && "$$python" -m demo $(if $(KEEP),--keep)

bench:
	@python="$$(tools/python $(PYTHON))" && "$$python" tools/environment.py $(BENCH) requirements/bench.txt
	$(BENCH)/bin/python -m bench$(if $(PROFILE),.profiling $(if $(FUNCTIONS),--functions),$(if $(GO_ON), --go-on)$(if $(QUICK), --quick))

docs:
	@python="$$(tools/python $(PYTHON))" && "$$python" tools/environment.py $(DOCS) requirements/docs.txt
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --strict

screenshots: environment
	@tools/system-packages
	$(BIN)/python -m tests.live.pictures

wheel: environment
	$(BIN)/python -m build --no-isolation --outdir dist

check-dist: tool-environment
	$(TOOLS)/bin/twine check --strict dist/*
	$(TOOLS)/bin/check-wheel-contents dist/*.whl

sbom: tool-environment
	$(TOOLS)/bin/python tools/sbom.py dist

workflows: tool-environment
	tools/workflows

changelog: tool-environment
	$(TOOLS)/bin/towncrier build $(if $(VERSION),--yes --version $(VERSION),--draft --version next)

lock: environment
	tools/lock $(UPGRADE)

environment:
	@python="$$(tools/python $(PYTHON))" && "$$python" tools/environment.py $(VENV) requirements/test.txt

tool-environment:
	@python="$$(tools/python $(PYTHON))" && "$$python" tools/environment.py $(TOOLS) requirements/tools.txt

clean:
	rm -rf $(VENV) .tools .demo .matrix .bench .docs site .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf dist sbom build .coverage
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
