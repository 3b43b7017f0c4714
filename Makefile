# `make` alone lists the targets.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
SETUP := .venv/.installed

# The generator of the stubs wants an older protobuf than the gRPC that we run, hence an
# environment of its own.
PROTO_BIN := .venv-proto/bin
PROTO_TOOLS := grpcio-tools==1.76.0 mypy-protobuf==5.1.0
PROTO_SETUP := .venv-proto/.installed
PROTOS := $(wildcard proto/*.proto)

# The first of these that is new enough.
PYTHON = $(shell for python in python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; \
	done)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(SETUP) ## install Sparring and its tools into .venv

.PHONY: train
train: $(SETUP) ## harden a policy: from the public zoo with ZOO=DIR, else from scratch; options in ARGS
ifdef ZOO
	$(BIN)/sparring train pbt2 --zoo '$(ZOO)' $(ARGS)
else
	@echo 'No ZOO=DIR was given, so this training starts from scratch. To start from the public zoo:'
	@echo '  git clone https://github.com/openai/multiagent-competition'
	@echo '  make train ZOO=multiagent-competition/agent-zoo'
	$(BIN)/sparring train pbt2-scratch $(ARGS)
endif

.PHONY: test
test: $(SETUP) $(PROTO_SETUP) ## run the tests; options of pytest in ARGS
	$(BIN)/python -m pytest $(ARGS)

.PHONY: check
check: $(SETUP) ## lint, formatting, types, and who imports whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# protoc gets proto/ under the name common/rpc, so that the generated files import one another by
# the names under which they are installed.
OUT ?= .
.PHONY: proto
proto: $(PROTO_SETUP) ## generate common/rpc from proto/ (or into OUT=DIR)
	$(PROTO_BIN)/python -m grpc_tools.protoc -Icommon/rpc=proto \
		--plugin=$(PROTO_BIN)/protoc-gen-mypy --plugin=$(PROTO_BIN)/protoc-gen-mypy_grpc \
		--python_out='$(OUT)' --grpc_python_out='$(OUT)' \
		--mypy_out=quiet:'$(OUT)' --mypy_grpc_out=quiet:'$(OUT)' \
		$(PROTOS:proto/%=common/rpc/%)

BENCHMARKS ?= $(filter-out __init__ report,$(patsubst benchmarks/%.py,%,$(wildcard benchmarks/*.py)))
.PHONY: bench
bench: $(SETUP) ## run every benchmark in benchmarks/
	@set -e; for benchmark in $(BENCHMARKS); do \
		echo "== $$benchmark"; $(BIN)/python -m "benchmarks.$$benchmark" $(ARGS); done

.PHONY: system
system: ## install the system packages that are missing (rendering, venv), as root
	.ci/system

.PHONY: clean
clean: ## remove environments, caches and builds; runs stay
	rm -rf .venv .venv-proto build dist *.egg-info .hypothesis .*_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

# Makes the folder of the target an environment, unless it is one.
define venv
	@test -n '$(PYTHON)' || { echo 'Sparring needs Python 3.11 or newer: make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || .ci/system
	test -x $(@D)/bin/pip || $(PYTHON) -m venv --clear $(@D)
endef

$(SETUP): pyproject.toml constraints.txt
	$(venv)
	$(BIN)/pip install -q -c constraints.txt -e '.[dev,analysis,search,video]'
	@touch $@

$(PROTO_SETUP): Makefile
	$(venv)
	$(PROTO_BIN)/pip install -q $(PROTO_TOOLS)
	@touch $@
