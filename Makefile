PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?=
BENCHMARK_ARGS ?=

bin := $(VENV)/bin
uv := VIRTUAL_ENV=$(VENV) $(bin)/uv

# uv does not read pip's configuration: point it at the same wheels.
ifndef UV_FIND_LINKS
  find_links := $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)
  ifneq ($(find_links),)
    comma := ,
    export UV_FIND_LINKS := $(subst $() ,$(comma),$(find_links))
  endif
endif

.DEFAULT_GOAL := help
.PHONY: help demo unit test lint check sweep docs benchmark lock package release clean
.DELETE_ON_ERROR:

help: ## list these targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-9s %s\n", $$1, $$2}'
	@echo "PYTHON=python3.12 chooses another Python (3.10 to 3.13) for a new $(VENV)."

demo: $(VENV)/.demo ## train on iris, make a scaffold, serve it, predict
	@$(bin)/python examples/iris.py

unit: $(VENV)/.dev ## the tests without a server, rendering or Docker
	@$(bin)/python -m pytest tests/unit tests/runtime $(PYTEST_ARGS)

# Three processes, each with a file at a time: some tests wait for servers.
by_file := --dist loadfile --no-loadscope-reorder
parallel := -n 3 $(by_file)

test: $(VENV)/.dev ## the tests (PYTEST_ARGS="-k name" for some of them, "-n0" for one process)
	@$(bin)/python -m pytest $(parallel) $(PYTEST_ARGS)

lint: $(VENV)/.dev ## ruff, mypy, and the spelling and the sentences of the prose
	@echo "Checking style (ruff check)"
	@$(bin)/ruff check
	@echo "Checking format (ruff format --check)"
	@$(bin)/ruff format --check
	@echo "Checking types (mypy)"
	@$(bin)/mypy
	@echo "Checking spelling (codespell)"
	@$(bin)/codespell
	@echo "Checking sentences (docs/building/prose.py)"
	@$(bin)/python docs/building/prose.py

check: lint test ## lint, then test

sweep: $(VENV)/.dev ## the long tests that `make test` leaves out
	@$(bin)/python -m pytest -m sweep $(parallel) $(PYTEST_ARGS)

benchmark: $(VENV)/.dev ## compare with other servers (QUICK=1 four minutes, SMOKE=1 one case; needs wrk)
	@$(bin)/python benchmarks/compare.py $(if $(QUICK),--quick) $(if $(SMOKE),--smoke) \
	  $(BENCHMARK_ARGS)

docs: $(VENV)/.docs ## the documentation's site, into .site/ (strict: a broken link is an error)
	@# With --quiet, MkDocs counts no warnings, and --strict lets them pass.
	@said=$$(NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build --strict 2>&1) || { \
	  echo "$$said" | grep -v '^INFO' >&2; exit 1; }
	@echo "Wrote .site/index.html"

define lock_header
# The server's environment: everything it needs, each at one version, with hashes. CPython 3.10 to 3.13. Install it
# with --no-deps: it is whole, and leaves out what the server's own package asks for and does not need.
# The template owns this file: `copier update` brings a newer one. Your model's packages go in requirements.txt.
# In the template's repository, `make lock` refreshes it from server-requirements/.
endef
export lock_header

lock: | $(bin)/uv ## refresh the servers' locks from server-requirements/
	@for server in kserve standalone kfserving; do \
	  echo "Resolving server-requirements/$$server.in"; \
	  overrides=server-requirements/$$server.overrides; \
	  echo "$$lock_header" > server-requirements.new; \
	  UV_FIND_LINKS= $(uv) pip compile --quiet --universal --generate-hashes --python-version 3.10 --no-header \
	    $$(test -f $$overrides && echo --overrides $$overrides) server-requirements/$$server.in \
	    >> server-requirements.new || { rm -f server-requirements.new; exit 1; }; \
	  mv server-requirements.new "template/{% if server == '$$server' %}server-requirements.txt{% endif %}"; \
	  echo "Wrote template/{% if server == '$$server' %}server-requirements.txt{% endif %}"; \
	done

package: $(VENV)/.dev ## wheel and sdist into dist/, with their metadata checked
	@rm -rf dist
	@$(bin)/python -m build --installer uv
	@$(bin)/twine check --strict dist/*

version := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' pyproject.toml)

release: ## check all that a release needs, and stop before publishing
	@test -z "$$(git status --porcelain)" || { \
	  echo "there are uncommitted changes: commit them" >&2; exit 1; }
	@! git rev-parse --quiet --verify refs/tags/v$(version) >/dev/null || { echo \
	  "v$(version) has been released: raise version in pyproject.toml" >&2; exit 1; }
	@sed -n '/^## $(version) (/,/^## [0-9]/p' CHANGELOG.md | grep -q '^### For owners of scaffolds' || { echo \
	  "CHANGELOG.md needs the heading '## $(version) (DATE)' and, under it, '### For owners of scaffolds'" >&2; exit 1; }
	@$(MAKE) --no-print-directory check package
	@echo "$(version) can be released. What is left to do:"
	@echo "  git tag v$(version) && git push origin main v$(version)"
	@echo "The tag starts .github/workflows/release.yml, which uploads to PyPI. Without it:"
	@echo "  $(bin)/twine upload dist/*"

clean: ## remove what make made, .venv included
	rm -rf $(VENV) build dist demo .mypy_cache .pytest_cache .ruff_cache .site
	find . -name __pycache__ -prune -exec rm -rf {} +

$(bin)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' || { echo \
	  "$$($(PYTHON) --version) is not supported: use Python 3.10 to 3.13 (make PYTHON=python3.12 ...)" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@$(bin)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.demo: pyproject.toml | $(bin)/uv
	@echo "Installing the generator and scikit-learn into $(VENV)"
	@$(uv) pip install --quiet --compile-bytecode --editable . --group demo
	@touch $@

$(VENV)/.docs: pyproject.toml | $(bin)/uv
	@echo "Installing the generator and what its documentation needs into $(VENV)"
	@$(uv) pip install --quiet --compile-bytecode --editable . --group docs
	@touch $@

$(VENV)/.dev: pyproject.toml | $(bin)/uv
	@echo "Installing the generator and what its tests need into $(VENV)"
	@$(uv) pip install --quiet --compile-bytecode --editable . --group dev
	@touch $@ $(VENV)/.demo $(VENV)/.docs
