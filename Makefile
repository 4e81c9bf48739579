# The commands of the project, the same on a desk and in .ci/run. What a command needs it installs by
# scripts/tools, into .tools/ of this checkout, or it fails with the line that installs it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

comma := ,

# Packages that build natively and need no running programs.
UNIT := --workspace --exclude ringside-filter --exclude ringside-e2e

# End-to-end tests start several processes each.
E2E_THREADS ?= 2

# Steps share the machine one after the other, whatever -j says.
.NOTPARALLEL:
.PHONY: help build wasm demo bench bench-filter bench-micro test test-unit test-wasm test-e2e test-deploy soak test-kill test-differential fuzz lint doc fmt

help: ## these lines
	@awk -F ' ## ' '/^[a-z0-9-]+:.* ## / { sub(/:.*/, "", $$1); printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the sidecar binary, release build: target/release/ringside
	cargo build --release -p ringside

wasm: ## the module for Envoy
	scripts/tools wasm
	scripts/build-wasm

demo: ## the whole system on this machine, with load, a killed sidecar and a check of every sample
	@echo "demo: programs, then two builds (some minutes the first time), then the demo itself"
	scripts/tools envoy prometheus s3 wasm
	cargo build --release -p ringside -p ringside-e2e
	scripts/build-wasm
	cargo run --quiet --release -p ringside-e2e --bin demo

bench: ## the storage beside Prometheus and VictoriaMetrics, 20 minutes; ONLY=a,b1,b2,c,d SYSTEMS=ringside,… for less
	scripts/tools prometheus victoria-metrics
	cargo build --release -p ringside -p ringside-e2e --bins
	target/release/bench $(addprefix --only=,$(ONLY)) $(addprefix --systems=,$(SYSTEMS))

bench-filter: wasm ## the filter in one worker of Envoy, and the whole path; SCRAPES=40 WHAT=wasm,… RINGS=6 for less, RENDER=… for another setting, BESIDE=other.wasm to compare
	scripts/tools envoy
	cargo build --release -p ringside -p ringside-e2e --bins
	target/release/bench filter $(addprefix --scrapes=,$(SCRAPES)) $(addprefix --what=,$(WHAT)) $(addprefix --rings=,$(RINGS)) $(addprefix --render=,$(RENDER)) $(addprefix --beside=,$(BESIDE))

bench-micro: ## the hot path's parts by themselves, compared with the run before
	cargo bench -p ringside-tsdb --bench hot_path

test: test-unit test-wasm test-e2e ## everything below

test-unit: ## unit and property tests, natively
	cargo test $(UNIT)

test-wasm: ## the tests of placement and of the write path under wasm, in Node
	scripts/tools wasm wasm-bindgen
	scripts/test-wasm

test-e2e: wasm ## real Envoy, Prometheus and S3 around our binaries; the Kubernetes files too
	scripts/tools envoy prometheus s3 k8s
	MODULE=target/ringside-trap.wasm scripts/build-wasm --features trap
	cargo build -p ringside
	RUST_TEST_THREADS=$(E2E_THREADS) cargo test -p ringside-e2e

test-deploy: wasm ## the Kubernetes files: against their schemas, each other and the programs
	scripts/tools envoy k8s
	cargo build -p ringside
	cargo test -p ringside-e2e --test deploy

N ?= 1000
test-kill: ## N=1000 times kill -9 of one sidecar under load, each with a restart; some ten minutes
	scripts/tools prometheus
	cargo build -p ringside
	RINGSIDE_KILLS=$(N) cargo test -p ringside-e2e --test engine kills -- --nocapture

SECONDS ?= 600
soak: wasm ## SECONDS=600 of writes at half of full speed, with a sidecar restarted every 20 s and a ring change every minute
	scripts/tools envoy
	cargo build -p ringside
	RINGSIDE_SOAK_SECONDS=$(SECONDS) cargo test -p ringside-e2e --test e2e soak -- --nocapture

SEEDS ?= 0..200
test-differential: ## SEEDS=0..200 random streams into Prometheus 2.42 and into a sidecar
	scripts/tools prometheus
	cargo build -p ringside
	RINGSIDE_SEEDS=$(SEEDS) cargo test -p ringside-e2e --test engine differential -- --nocapture

fuzz: ## every decoder on any bytes, each for SECONDS=600; ONLY=index,record,… for less
	scripts/fuzz $(SECONDS) $(subst $(comma), ,$(ONLY))

lint: ## format, clippy natively and for wasm, scripts, image files, licences, paths in documents
	cargo fmt --all --check
	cargo clippy --workspace --exclude ringside-filter --all-targets -- -D warnings
	scripts/lint-wasm
	scripts/tools shellcheck hadolint deny
	.tools/bin/shellcheck -x $$(grep -lE '^#!/usr/bin/env bash|^# shellcheck shell=bash' scripts/* .ci/* deploy/images/*)
	.tools/bin/hadolint $(addprefix deploy/images/Dockerfile.,sidecar envoy filter)
	.tools/bin/cargo-deny --log-level warn check licenses bans sources
	scripts/lint-docs

doc: ## the documentation of the code; a warning fails
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps $(UNIT) --document-private-items

fmt: ## format the code
	cargo fmt --all
