# What a user or developer runs. `make demo` and `make test` come first.
.DEFAULT_GOAL := help
.PHONY: help demo test lint doc bench prerequisites

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 16

demo: prerequisites ## Start the lab and walk through the operator's workflow with real traffic
	@echo "building; the first time this takes some minutes"
	@cargo build --quiet --workspace --bins --locked
	@cargo run --quiet --locked --package netlog-examples --bin netlog-demo

test: prerequisites ## Run all tests, the live ones included
	cargo build --workspace --bins --locked
	@netlog-agent/tests/openstack-client; client=$$?; \
	cargo test --workspace --locked --no-fail-fast && exit $$client

lint: ## Check formatting, lints and documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

doc: ## Build the documentation of all crates
	cargo doc --workspace --no-deps --locked

bench: ## Run the benchmarks
	cargo bench --package netlog-benches --locked

prerequisites:
	@scripts/prerequisites
