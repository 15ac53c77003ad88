# Every command a person needs; `make help` lists them. The work is done by the tools named in each recipe.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

COLLECTION := collections/ansible_collections/shtetl/zmanim
VENV := $(CURDIR)/build/venv
INVENTORY ?= lab
PROFILE ?= fast
ROLES ?=
IMAGE_VERSION ?= 0.0.0
REHEARSE ?=

export PATH := $(VENV)/bin:$(CURDIR)/build/tools/bin:$(PATH)
export PACKER_PLUGIN_PATH := $(CURDIR)/build/tools/plugins
export CONTAINERS_CONF := $(CURDIR)/lab/containers.conf
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export CHECKPOINT_DISABLE := 1
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##### setting up
.PHONY: setup setup-python setup-packer setup-system lock
setup: ## Install everything that the checks, the lab and the rehearsal need
	@python3 tools/setup.py all
setup-python:
	@python3 tools/setup.py python
setup-packer:
	@python3 tools/setup.py packer
setup-system:
	@python3 tools/setup.py system
lock: setup-python ## Write requirements/dev.txt from dev.in, with hashes
	@python3 tools/lock.py

##### the daily loop
.PHONY: check lint unit
check: lint unit ## Lint and unit tests: the daily loop, under three minutes
lint: setup-python setup-packer ## ansible-lint, yamllint, ruff, mypy, shellcheck, packer fmt and validate
	@python tools/lint.py
unit: setup-python ## Unit tests: no machine, no root
	pytest -q -n 2 -m "not lab and not moto and not edge and not molecule and not packer and not living"

##### the whole suite
.PHONY: test test-playbooks test-edge test-lab test-image test-living test-roles
test: setup check test-edge test-playbooks test-lab test-roles ## Everything: lint, unit tests, playbooks, the lab, every role in a real machine
test-edge: setup-python ## The API and CDN modules and roles, and real requests through them
	pytest -q -m edge
test-playbooks: setup-python ## The playbooks against an emulated AWS without machines
	pytest -q -n 2 --dist loadfile -m moto
test-lab: setup ## The lab itself: machines, volumes, addresses, nothing left behind
	pytest -q -m lab
test-image: setup ## Bake in the lab with the real Packer, then ask the booted image: content, hygiene, boot
	python -m lab up
	trap 'python -m lab down' EXIT; . build/lab/env; $(MAKE) image INVENTORY=lab; pytest -q -m packer
test-living: setup ## Bad input, full disks, killed controllers: playbooks on a whole production in the lab
	pytest -q -m living
test-roles: setup ## Each role: check, converge, idempotence, verify (ROLES="redis7 ..." for some)
	ROLES="$(ROLES)" pytest -q -n 2 -m molecule

##### the lab and the rehearsal
.PHONY: rehearse lab lab-down image
image: setup-python ## Bake an image and say which AMI it is (INVENTORY=production IMAGE_VERSION=1.0.0)
	packer init packer
	packer build -var-file=inventories/$(INVENTORY)/packer.pkrvars.hcl -var image_version=$(IMAGE_VERSION) \
	  -var git_commit=$$(git rev-parse --short HEAD) packer
rehearse: setup ## The whole production on this machine, from bake to destroy, with a report (PROFILE=fast|aws)
	python -m tests.rehearsal --profile $(PROFILE) $(REHEARSE)
lab: setup ## Start the emulated AWS (PROFILE=fast|aws); build/lab/env has the exports
	python -m lab up --profile $(PROFILE)
lab-down: setup-python ## Stop the lab and leave nothing behind
	python -m lab down

##### collection
.PHONY: collection docs clean
collection: setup-python ## Build the collection's artefact into build/
	ansible-galaxy collection build --force --output-path build $(COLLECTION)
docs: setup-python ## Write the role READMEs and docs/ pages that are generated
	python tools/docs.py
clean: ## Remove what was generated, but the cache
	rm -rf build
