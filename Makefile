# `make up` and `make test` are all one needs to know. One cargo profile, so that nothing is compiled twice.

CARGO := cargo
PROFILE := --release --locked
# All members, always: choosing some would choose other features of shared crates, and compile those twice.
WORKSPACE := --workspace

include tests/tests.mk

.PHONY: up
up: ## A secured broker on this machine, with topics, users and ACLs from Terraform
	@scripts/requirements
	@$(CARGO) build $(PROFILE) $(WORKSPACE) --bins
	@scripts/up

.PHONY: down
down: ## Stop it; the data stays
	@scripts/down

.PHONY: build
build:
	$(CARGO) build $(PROFILE) $(WORKSPACE) --all-targets

.PHONY: test
test: ## Everything that CI checks
	@scripts/requirements test
	@$(MAKE) --no-print-directory test-deps
	$(CARGO) fmt --all --check
	$(CARGO) build $(PROFILE) $(WORKSPACE) --all-targets
	$(CARGO) test $(PROFILE) $(WORKSPACE)
	@$(MAKE) --no-print-directory deny lint test-up

.PHONY: lint
lint: ## Warnings are errors; the same profile, so that dependencies are not compiled again
	$(CARGO) clippy $(PROFILE) $(WORKSPACE) --all-targets -- -D warnings

DENY := $(TEST_CACHE)/cargo/bin/cargo-deny
DENY_VERSION := 0.20.2

# Without optimization: it compiles in a third of the time and runs for a second.
$(DENY):
	$(CARGO) install --quiet --root $(TEST_CACHE)/cargo --debug --locked --version $(DENY_VERSION) cargo-deny

.PHONY: deny
deny: $(DENY) ## Licences, sources and banned crates
	$(DENY) --all-features check licenses bans sources

.PHONY: test-up
test-up: ## The commands that README and docs show, in folders of their own
	@scripts/test-up
	@scripts/test-docs

# Other platforms than this one, as far as rustup has them here.
HOST := $(shell rustc -vV | sed -n 's/^host: //p')
OTHER_TARGETS ?= $(filter-out $(HOST),$(shell rustup target list --installed 2>/dev/null))

.PHONY: dist
dist: ## The provider as the Terraform registry wants it, in target/dist; GPG_KEY=... signs it
	@scripts/requirements dist
	$(CARGO) build $(PROFILE) $(WORKSPACE) --bins
	@for target in $(OTHER_TARGETS); do \
		$(CARGO) build $(PROFILE) --package terraform-provider-lockgate --target $$target || exit 1; \
	done
	@scripts/dist $(OTHER_TARGETS)

.PHONY: bench
bench: ## Tables beside a floor in the same run; MIB=256 for a quick look, PART=groups (or throughput, lone, transactions, partitions) for one
	$(CARGO) build $(PROFILE) $(WORKSPACE) --bins
	target/release/bench $(PART) $(MIB)

.PHONY: help
help:
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile
