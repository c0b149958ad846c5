# Faultline. Every target sets itself up on a machine that has python3 (3.11) and make; nobody types "activate".
PYTHON ?= python3
BIN    := .venv/bin
FN     ?= triage
SEEDS  ?= 20000
SCENARIO ?= memory
DOCKER ?= docker

.DEFAULT_GOAL := help
.PHONY: help demo dev debug build image test unit check fix cover coverage-of-spec bench simulate lock sbom audit vendor deploy clean apt

help: ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Each environment is made from its lock, once, and made again when the lock has changed.
.venv/ready: requirements/dev.txt pyproject.toml
.venv-kn/ready: requirements/kn.txt pyproject.toml
.venv/ready .venv-kn/ready:
	@echo "== $(@D): installing from $< (about a minute, once)"
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "python3 is %s, Faultline needs 3.11 or newer: set PYTHON=/path/to/python3.11" % sys.version.split()[0])'
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: .venv/ready ## an alert and a fault become a pull request: no cluster, no key
	@$(BIN)/faultline demo --scenario $(SCENARIO)

dev: .venv/ready ## the whole line in one process on 127.0.0.1:8080, Ctrl-C stops it
	@$(BIN)/faultline dev

debug: .venv/ready ## the same with every line of the log, and whole tracebacks
	@LOG_LEVEL=debug $(BIN)/python -X dev -m faultline dev

build: .venv/ready ## the wheel, in dist/
	@$(BIN)/uv build --quiet --wheel --no-build-isolation --python $(BIN)/python --out-dir dist

image: ## the two images: faultline, and faultline-agent on top of it
	$(DOCKER) build --tag faultline .
	$(DOCKER) build --tag faultline-agent --build-arg FAULTLINE=faultline agent-job

test: check apt unit .venv-kn/ready ## everything that needs no cluster
	.venv-kn/bin/python -m pytest -q tests/contract/test_shells.py tests/contract/test_wire.py

# Real servers and the browser that some tests start. Without root those tests skip and say so.
apt:
	@tools/install-real-parts.sh

unit: .venv/ready ## the tests alone, two at a time, file by file
	$(BIN)/python -m pytest -q -m "not cluster" -n 2 --dist loadfile || { \
	  echo "== once more, one at a time: what failed above may have failed for want of time"; \
	  $(BIN)/python -m pytest -q -m "not cluster" --last-failed --last-failed-no-failures none; }

check: .venv/ready ## format, lint, types, imports; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: .venv/ready ## format and repair what ruff can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

cover: .venv/ready ## the tests with branch coverage
	$(BIN)/coverage run -m pytest -q -m "not cluster"
	$(BIN)/coverage report

coverage-of-spec: .venv/ready ## which requirements and reliability cases a test shows
	@$(BIN)/python tools/coverage_of_spec.py

bench: .venv/ready ## the figures of docs/benchmarks.md, each beside its floor
	@$(BIN)/python benchmarks/run.py

simulate: .venv/ready ## crash simulation over the whole line: make simulate SEEDS=20000
	@$(BIN)/python tests/crash/simulate.py --seeds $(SEEDS)

COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 \
          --generate-hashes --no-emit-index-url --custom-compile-command 'make lock'
lock: .venv/ready ## resolve the requirements again
	$(COMPILE) --extra s3 --extra kubernetes --extra github --output-file requirements/runtime.txt
	$(COMPILE) --extra s3 --extra kubernetes --extra github --extra functions-framework --group dev --output-file requirements/dev.txt
	$(COMPILE) --extra s3 --extra kubernetes --extra kn --group shell --output-file requirements/kn.txt

sbom: .venv/ready ## what the image gets from the lock, as CycloneDX: dist/faultline.cdx.json
	@mkdir -p dist
	@$(BIN)/python tools/supply.py sbom > dist/faultline.cdx.json

audit: .venv/ready ## known vulnerabilities in the locks; needs pip-audit and an index with advisories
	@$(BIN)/python tools/supply.py audit requirements/*.txt

vendor: ## bring the package into functions/$(FN), as a copy of its source
	rm -rf functions/$(FN)/vendor
	mkdir -p functions/$(FN)/vendor
	cp -R src/faultline functions/$(FN)/vendor/faultline
	mkdir -p functions/$(FN)/vendor/faultline/broker
	cp infra/knative/triggers.yaml functions/$(FN)/vendor/faultline/broker/triggers.yaml
	find functions/$(FN)/vendor -name __pycache__ -type d -prune -exec rm -rf {} +

deploy: vendor ## vendor, then `func deploy` functions/$(FN)
	func deploy --path functions/$(FN)

clean: ## remove environments, caches and local state
	rm -rf .venv .venv-kn .faultline .mypy_cache .pytest_cache .ruff_cache functions/*/vendor dist
