# `make quick` checks a change in a minute, `make test` everything a merge needs, `make nightly` everything there is.
# Needs bash and Python 3.11 or newer; everything else is installed below this folder and checked against hashes.

PYTHON ?=
# Number of parallel test processes, usually one for each core; with WORKERS=0 the output is easier to read.
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
BENCH := .bench/venv
DOCS := .docs/venv
TOOLS := .tools/venv
SOURCES := airflow_audit_provider bench dags demo harness tests tools
PYTEST := $(BIN)/python -m pytest
# Folders with no test that `make quick` runs.
NOT_QUICK := tests/live tests/packaging tests/pipelines/load
# Set by some containers; each test process would then compile every test file again (8 s).
unexport PYTHONDONTWRITEBYTECODE

.PHONY: quick test nightly campaign lint types types-daemon contracts style demo readme-picture bench bench-growth bench-loading bench-task-start bench-goals bench-eighteen-months docs screenshots matrix coverage lock constraints wheel check-dist sbom workflows changelog clean environment tool-environment help

help:
	@echo "make quick       lint, import contracts, types and the tests without servers (warm: less than a minute)"
	@echo "make test        make quick, and the tests with real servers, on the oldest and the newest Airflow"
	@echo "make nightly     all tests: large sizes, long campaigns, all combinations, all four Airflow versions"
	@echo "make campaign    docs/auditors/lying-servers.md: 4,000 windows from servers that answer correctly and wrongly (some minutes)"
	@echo "make demo        a real Airflow against a fake Cloudflare, with pictures in .demo/pictures (KEEP=1 leaves Airflow running)"
	@echo "make bench       measure this provider and others (GO_ON=1 continues, QUICK=1 this provider only, PROFILE=1 its stages)"
	@echo "make bench-goals all figures of docs/explanation/goals.md in one run, which is part of make bench (GO_ON=1 continues)"
	@echo "make docs        the documentation site, in site/"
	@echo "make screenshots take the pictures of the documentation again (make readme-picture: the one in README)"
	@echo "make matrix      build, install and run in the four Airflow versions, without a scheduler"
	@echo "make coverage    branch coverage of the core"
	@echo "make workflows   lint .github, the issue forms, CITATION.cff and the changelog's fragments"
	@echo "make wheel       the wheel and the sdist, in dist/ (then: make check-dist, make sbom)"
	@echo "make changelog   show the changelog entry of the next release (VERSION=1.0.0 writes it into CHANGELOG.md)"
	@echo "make style       format the sources and fix what ruff can fix"
	@echo "make lock        write the lock files and constraints files again (UPGRADE=--upgrade for newer versions)"
	@echo "make constraints write constraints/ again from the lock files"
	@echo "make clean       remove everything these targets made"

quick: lint contracts types-daemon
	$(PYTEST) -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not integration and not live and not nightly" $(addprefix --ignore=,$(NOT_QUICK))

# The types are checked beside the tests, by the same script.
test: lint contracts
	tools/tests $(WORKERS)

nightly: lint contracts
	tools/tests $(WORKERS) nightly

lint: environment
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: environment
	$(BIN)/mypy

# The same check by a daemon, which takes seconds after a change. The daemon ends after an hour without a check.
types-daemon: environment
	$(BIN)/dmypy run --timeout 3600

contracts: environment
	PYTHONPATH=. $(BIN)/lint-imports

style: environment
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

matrix: environment
	$(PYTEST) tests/live/versions

campaign: environment
	$(BIN)/python -m tests.campaign --write

coverage: environment
	$(BIN)/coverage run --branch --source airflow_audit_provider/core -m pytest tests/core
	$(BIN)/coverage report

demo:
	@python="$$(tools/python $(PYTHON))" && "$$python" -m demo $(if $(KEEP),--keep)

# The picture with which README.md begins, from a new run of the demo.
readme-picture: demo
	$(BIN)/python -m tools.small_png .demo/pictures/coverage.png docs/pictures/coverage.png

bench:
	@python="$$(tools/python $(PYTHON))" && "$$python" tools/environment.py $(BENCH) requirements/bench.txt
	$(BENCH)/bin/python -m bench$(if $(PROFILE),.profiling $(if $(FUNCTIONS),--functions),$(if $(GO_ON), --go-on)$(if $(QUICK), --quick))
ifeq ($(PROFILE)$(QUICK),)
	$(MAKE) bench-goals
endif

# Measures everything of the three targets below as well, and writes their pages.
bench-goals: environment
	@python="$$(tools/python $(PYTHON))" && "$$python" tools/environment.py $(BENCH) requirements/bench.txt
	$(BIN)/python -m bench.goals --write$(if $(GO_ON), --go-on)

bench-growth: environment
	$(BIN)/python -m bench.growth --write

bench-loading: environment
	@python="$$(tools/python $(PYTHON))" && "$$python" tools/environment.py $(BENCH) requirements/bench.txt
	$(BIN)/python -m bench.loading --write --runs 5

bench-task-start: environment
	$(BIN)/python -m bench.task_start --write

bench-eighteen-months: environment
	@tools/system-packages
	$(BIN)/python -m bench.eighteen_months --write

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
	$(BIN)/python tools/constraints.py $(UPGRADE)

constraints: environment
	$(BIN)/python tools/constraints.py

environment:
	@python="$$(tools/python $(PYTHON))" && "$$python" tools/environment.py $(VENV) requirements/test.txt

tool-environment:
	@python="$$(tools/python $(PYTHON))" && "$$python" tools/environment.py $(TOOLS) requirements/tools.txt

clean:
	rm -rf $(VENV) .tools .demo .matrix .bench .docs site .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf dist sbom build .coverage
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
