# SPDX-FileCopyrightText: 2026 The depthclip_ros maintainers
# Everything on a machine without ROS: real ROS 2 Jazzy and this package in .venv, then the demo; torch too, then the tests.
# In a ROS 2 workspace use colcon instead: README, "On a robot with ROS 2".
.DEFAULT_GOAL := help
.PHONY: help setup dev demo test fuzz lint bench clean distclean

DURATION ?= 20
SOURCE ?= room
PYTEST_ARGS ?=
COVERAGE ?= --cov --cov-report=term

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LIGHT := $(VENV)/.light
LINKED := $(VENV)/.linked

# A sourced ROS distribution or another virtual environment must not leak in: its Python packages and libraries are of
# other versions than the wheels', and a mixture of two distributions fails at import or, worse, at run time.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV UV_PROJECT_ENVIRONMENT AMENT_PREFIX_PATH COLCON_PREFIX_PATH CMAKE_PREFIX_PATH
unexport ROS_DISTRO ROS_VERSION ROS_PYTHON_VERSION RMW_IMPLEMENTATION
FOREIGN_PREFIXES := $(subst :, ,$(AMENT_PREFIX_PATH):$(COLCON_PREFIX_PATH))
LD_LIBRARY_PATH := $(subst $() $(),:,$(strip $(filter-out /opt/ros/% $(addsuffix /%,$(FOREIGN_PREFIXES)),$(subst :, ,$(LD_LIBRARY_PATH)))))
ifneq ($(LD_LIBRARY_PATH),)
export LD_LIBRARY_PATH
else
unexport LD_LIBRARY_PATH
endif
export PYTHONNOUSERSITE := 1

# What the environment is made of; directories are named too, so that a deleted file counts as a change.
BUILT_FROM := pyproject.toml uv.lock depthclip_trainer/pyproject.toml CMakeLists.txt package.xml scripts/setup.sh \
	$(wildcard msg msg/* tf2_msgs tf2_msgs/* tf2_msgs/msg/* launch launch/* config config/* executables executables/* depthclip_ros/data depthclip_ros/data/*)
# With `make dev` the environment holds links to the sources, which need no rebuild.
ifeq ($(wildcard $(LINKED)),)
BUILT_FROM += $(shell find depthclip_ros \( -type d ! -name __pycache__ -o -name '*.py' \) 2>/dev/null)
endif

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18

setup: $(READY) ## the whole environment in .venv (ROS 2 Jazzy, torch, trainer); done once, repeated when sources change
	@if [ -e $(LINKED) ]; then sh scripts/link_sources.sh $(VENV); fi

$(READY): $(BUILT_FROM)
	@sh scripts/setup.sh
	@touch $@ $(LIGHT)

# What runs the node and the demo: no torch.
$(LIGHT): $(BUILT_FROM)
	@sh scripts/setup.sh light
	@touch $@

dev: $(READY) ## link the sources into .venv: edits take effect without a rebuild (again after adding a file)
	@sh scripts/link_sources.sh $(VENV)
	@touch $(LINKED)

demo: $(if $(wildcard $(READY)),setup,$(LIGHT)) ## rendered camera, depth node and recorder for DURATION=20 s; SOURCE=room, or images, a video, a bag
	@$(BIN)/depthclip demo --duration $(DURATION) --source '$(subst ','\'',$(SOURCE))' --out demo

lint: setup ## ruff, format check and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One gate. The linters come first and never hide the tests: all findings in one run, pytest's summary last.
test: setup ## the whole gate: linters, types, tests; PYTEST_ARGS="tests/core -k name" for a part
	@status=0; \
	for check in "ruff check ." "ruff format --check ." mypy; do \
		echo "$$check"; $(BIN)/$$check || status=1; \
	done; \
	echo pytest; $(BIN)/pytest $(COVERAGE) $(PYTEST_ARGS) || status=1; \
	exit $$status

# Seeds from SEED on: a fault names its own. docs/reliability.md says what was run and found.
MESSAGES ?= 100000
FILES ?= 20000
SEED ?= 1
fuzz: setup ## wild messages and broken files for hours: MESSAGES=100000 FILES=20000 SEED=1
	FUZZ_MESSAGES=$(MESSAGES) FUZZ_NODE_MESSAGES=$(MESSAGES) FUZZ_READINGS=$(MESSAGES) FUZZ_FILES=$(FILES) FUZZ_SEED=$(SEED) $(BIN)/pytest tests/ros/fuzz -s

bench: setup ## the engine's and the node's figures on this machine
	@$(BIN)/depthclip bench

clean: ## remove what demo, tests and builds wrote
	rm -rf build install log dist demo out .pytest_cache .mypy_cache .ruff_cache

distclean: clean ## remove the environment as well
	rm -rf $(VENV) .cache
