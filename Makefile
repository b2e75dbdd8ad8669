# make help lists what can be made. Everything sets up what it needs first.

SHELL := /bin/bash
PYTHON ?= python3
POD ?= bridge
SECONDS ?= 60
WORKERS ?= $(shell echo $$((2 * $$(nproc) + 1)))
SYSTEM ?= $(shell . /etc/os-release; [ "$$VERSION_CODENAME" = trixie ] && echo bookworm || echo trixie)
TRY ?= demo test-unit test-clients
TESTS ?= tests/netns/test_unfinished_frames.py tests/netns/test_isolation.py
VENV := .venv
RUN := $(VENV)/bin/python
LOCK = $(VENV)/lock/bin/uv pip compile --quiet --generate-hashes --no-header --no-emit-index-url \
    --python-version 3.11 --upgrade

# The files with tests that are to have the machine to themselves: no other is read for those.
ALONE = $(shell grep -rlF --include='test_*.py' pytest.mark.alone tests)

# First what is to have the machine to itself. Then all others, on more workers than cores: most wait most of the time.
define tests
@code=0; \
$(RUN) -m pytest -m alone $(ALONE) || code=$$?; \
$(RUN) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m 'not alone' $(1) || code=$$?; \
exit $$code
endef

# Each worker reads all tests before it runs some. What pytest makes of them is kept, whatever the caller's shell says.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup parts node-parts demo test test-all test-unit test-readers test-netns test-netns-container test-vm test-image \
    soak fuzz test-clients test-system test-kernel lint format bench share schema lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 23

setup: $(VENV)/.complete ## make the Python environment; the command is then .venv/bin/vmnet

$(VENV)/.complete: requirements.lock pyproject.toml tools/python-packages.txt
	@echo "setting up $(VENV)"
	@tools/install-packages tools/python-packages.txt
	@$(PYTHON) -m venv --clear $(VENV) # one that another Python made would be a mixture of both
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@! $(VENV)/bin/pip show --quiet setuptools 2>/dev/null || \
	    $(VENV)/bin/pip uninstall --quiet --yes setuptools # its .pth would run in every start of every program here
	@$(RUN) -m compileall -q vmnet
	@touch $@

parts: setup ## install the Debian packages that the demo and the tests use (says which)
	@tools/install-packages testbed/apt-packages.txt
	@$(RUN) -m testbed.parts >/dev/null

node-parts: parts # not for the demo: npm is some 350 packages of Debian's
	@command -v npm >/dev/null || tools/install-packages testbed/node-packages.txt

demo: setup parts ## a real guest takes over a pod's network identity (POD=bridge|calico|ptp|cilium|bridge-dual …)
	@$(RUN) -m testbed.demo --pod $(POD)

test: setup node-parts ## the full test suite, in minutes: all that is promised, permutations by sample (WORKERS=N)
	$(call tests)

test-all: export VMNET_EXTENT := all
test-all: setup node-parts ## the same with every permutation: layouts, clients, errors, a million frames; half an hour
	$(call tests)

test-unit: setup ## the tests that need no root
	$(RUN) -m pytest tests/unit

test-readers: setup node-parts ## the tests of what other programs read: completion, manual pages, drawings
	$(RUN) -m pytest tests/readers

test-netns: setup parts ## the tests in network namespaces
	$(call tests,tests/netns)

test-netns-container: export VMNET_TEST_PRIVILEGES := container
test-netns-container: setup parts ## the same with the privileges of a container: NET_ADMIN, NET_RAW, /proc/sys read-only
	$(call tests,tests/netns)

test-clients: setup parts ## this Debian release's DHCP clients lease what the pod had
	$(RUN) -m pytest tests/netns/test_clients.py -k test_guest_is_what_the_pod_was

test-system: setup parts ## make demo and some tests in a clean root of the other Debian (SYSTEM=bookworm|trixie TRY='demo test')
	$(RUN) -m testbed.system $(SYSTEM) make $(TRY)

test-kernel: SYSTEM = bookworm
test-kernel: setup parts ## some tests in namespaces on the kernel of Debian 12, Linux 6.1, in QEMU (TESTS='FILE …')
	$(RUN) -m testbed.own_kernel $(SYSTEM) .venv/bin/python -m pytest -o timeout=0 $(TESTS)

test-vm: setup parts ## the tests with a real guest
	$(RUN) -m pytest tests/vm

soak: export VMNET_EXTENT := soak
soak: setup parts ## crashes, faults and endurance in larger numbers, floods against their limits, for the night (VMNET_SEED=N)
	$(RUN) -m pytest -s -o timeout=0 tests/netns/test_crash.py tests/netns/test_faults.py tests/netns/test_recovery.py \
	    tests/netns/test_state_directory.py tests/netns/test_any_story.py tests/netns/test_soak.py \
	    tests/netns/test_flood.py tests/netns/test_flood6.py tests/netns/test_hostile.py tests/netns/test_hostile6.py \
	    tests/netns/test_server_life.py tests/netns/test_exporter.py tests/netns/test_ipv6_reachability.py \
	    tests/unit/saved/test_stale_journals.py tests/unit/server/dhcp/test_mutations.py tests/unit/server/ipv6/test_mutations.py \
	    tests/unit/server/ipv6/test_neighbour_mutations.py

fuzz: setup ## guided by coverage, look for frames that the server cannot cope with (SECONDS=60)
	$(RUN) -m tests.fuzz $(SECONDS) .cache/fuzz

test-image: setup parts ## the tests of the container images and the manifests
	$(RUN) -m pytest tests/image

lint: setup ## ruff, mypy --strict and the arrows between the rooms
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

format: setup ## put the code into its canonical form
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: setup parts ## measure against dnsmasq and a shell script, side by side
	$(RUN) -m tests.bench

share: setup ## write what a wheel installs below share/, completion scripts and manual pages, to .cache/share
	$(RUN) -m tools.share .cache/share

schema: setup ## write the configuration file's schema anew
	$(RUN) -c 'from vmnet.settings.file import schema; print(schema(), end="")' >deploy/config.schema.json

lock: setup ## renew the locks from pyproject.toml
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --target $(VENV)/lock uv
	$(LOCK) --group dev pyproject.toml -o requirements.lock
	$(LOCK) --extra exporter pyproject.toml -o requirements-runtime.lock
	$(LOCK) --extra exporter --extra libvirt pyproject.toml -o requirements-launcher.lock
	$(LOCK) --group build -o requirements-build.lock

clean: ## remove what was made, but the environment; and what a killed test run left
	ip netns list | grep -oE '^vmnet-[0-9a-f]{8}\b' | xargs -r -n 1 ip netns delete
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .cache
