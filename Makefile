# `make help` lists the targets. Rust and make are enough for `demo` and `run`; the others install what they need.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
TOOLS := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/tools
CARGO_DENY := 0.20.2
MDBOOK := 0.5.4
H2SPEC := v2.2.1+incompatible
GRPC := v1.78.0
AUTOBAHN := 0.8.2
OIDC_PROVIDER := 9.13.3
PUPPETEER := 24.40.0
GATEWAY_API := v1.6.3
WYCHEPROOF := v0.0.0-20260902155932-3fa63dd0344a

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-13s %s\n", $$1, $$2}'

.PHONY: demo run
demo: ## show what Ravelin does with real requests, on free ports; nothing is left running
	cargo build --locked --quiet -p ravelin -p ravelin-echo -p ravelin-demo
	cargo run --locked --quiet -p ravelin-demo

run: ## the demo's gateway, left up, with what to try
	cargo build --locked --quiet -p ravelin -p ravelin-echo -p ravelin-demo
	cargo run --locked --quiet -p ravelin-demo -- --stay

.PHONY: test lint conformance e2e bench
test: ## everything that needs no cluster; installs what it needs
	deploy/install.sh cc bash curl redis-server
	cargo test --locked

lint: $(TOOLS)/bin/cargo-deny ## format, clippy, licences, banned crates, advisories
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	PATH="$(TOOLS)/bin:$$PATH" deploy/deny.sh

conformance: ## outside suites, pinned and unmodified: the Gateway API's manifests, Wycheproof, h2spec, gRPC interop, TLS by its clients and testssl.sh, Autobahn, oidc-provider (needs Go, Node)
	GATEWAY_API=$(GATEWAY_API) WYCHEPROOF=$(WYCHEPROOF) H2SPEC=$(H2SPEC) GRPC=$(GRPC) AUTOBAHN=$(AUTOBAHN) OIDC_PROVIDER=$(OIDC_PROVIDER) PUPPETEER=$(PUPPETEER) TOOLS="$(TOOLS)" deploy/conformance.sh

e2e: ## a kind cluster, the image, helm install, the promises in e2e/, and the cluster is gone again
	e2e/run.sh

bench: ## Ravelin beside nginx and HAProxy, in one run
	bench/run.sh

.PHONY: bench-gate bench-page bench-tails soak stress
bench-page: ## the book's page of results, from those that `make bench` has kept
	cargo run --locked --quiet -p ravelin-bench -- --page bench/results/latest.json > docs/src/results.md

soak: ## edits, load and a WebSocket for SOAK_MINUTES (60): what is lost, what memory does
	bench/run.sh soak

bench-tails: ## one of ten endpoints is slow, a backend is stuck: tails beside HAProxy's (needs Go)
	deploy/install.sh haproxy wrk python3
	cargo build --locked --release -p ravelin
	bench/tails.sh

stress: ## slowhttptest, h2load and a thousand endpoints that come and go, beside good clients
	deploy/install.sh slowhttptest h2load curl python3
	cargo build --locked -p ravelin -p ravelin-echo
	deploy/stress.sh

bench-gate: ## instructions, allocations and system calls a request, against the committed baseline
	bench/gate.sh

.PHONY: image crds docs
image: ## the container image as an OCI archive: target/image.tar
	deploy/image.sh

crds: ## write crds/yaml and the chart's copy
	cargo run --locked --quiet -p ravelin-crds --example write

docs: $(TOOLS)/bin/mdbook ## the book, in book/
	"$(TOOLS)/bin/mdbook" build docs

$(TOOLS)/bin/cargo-deny:
	cargo install --locked --quiet --root "$(TOOLS)" cargo-deny@$(CARGO_DENY)

$(TOOLS)/bin/mdbook:
	cargo install --locked --quiet --root "$(TOOLS)" mdbook@$(MDBOOK)
