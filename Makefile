# What a user or developer runs. `make demo` and `make test` come first.
.DEFAULT_GOAL := help
.PHONY: help demo test lint doc release bench instructions instructions-update prerequisites

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 24

demo: prerequisites ## Start the lab and walk through the operator's workflow with real traffic
	@echo "building; the first time this takes some minutes"
	@cargo build --quiet --workspace --bins --locked
	@cargo run --quiet --locked --package netlog-examples --bin netlog-demo

test: prerequisites ## Run all tests, the live ones included
	cargo build --workspace --bins --locked
	@netlog-agent/tests/openstack-client; client=$$?; \
	$(MAKE) --no-print-directory instructions; counts=$$?; \
	cargo test --workspace --locked --no-fail-fast && exit $$((client + counts))

lint: ## Check formatting, lints and documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

doc: ## Build the documentation of all crates
	cargo doc --workspace --no-deps --locked

release: ## Build the programs that operators run, with profile-guided optimisation
	@scripts/release

bench: release ## Measure the data path beside its stages and the C floor, where there is its source
	target/pgo/netlog-bench table

instructions: prerequisites ## Compare instructions a record with those kept (docs/performance.md)
	cargo run --release --quiet --package netlog-benches --locked -- instructions

instructions-update: prerequisites ## Keep the instructions that are counted now
	cargo run --release --quiet --package netlog-benches --locked -- instructions --update

prerequisites:
	@scripts/prerequisites
