# The front door. CI calls only this. `make` alone prints the list.
#
# Whatever is tested is built in the release profile, for the whole workspace at once: so dependencies are
# compiled once, whatever is asked for first. What people run and what is measured is built in the profile
# `dist`, which takes 10 minutes.

SHELL := /bin/bash
.DEFAULT_GOAL := help

CARGO ?= cargo
# `make CARGO_FLAGS= build` after a change of the dependencies.
CARGO_FLAGS ?= --locked
BUILD := --release --workspace $(CARGO_FLAGS)

# Where `make run` listens, and which guest it serves: greet_p2 is written against wasi:http 0.2,
# greet_p3 against 0.3.
ADDR ?= 127.0.0.1:8080
GUEST ?= greet_p2

# Tests, guests and the bench look here, whatever the environment says.
export CARGO_TARGET_DIR := $(CURDIR)/target

# For guest/build.sh, whose head says what the two toolchains are.
export GUEST_TOOLCHAIN ?= auto

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: guests
guests: ## Build the guests into target/guests (GUEST_TOOLCHAIN=rustup|debian|auto)
	@guest/build.sh

.PHONY: guests-js
guests-js: ## Build two large guests from JavaScript, if npm is here and reaches its registry
	@guest/js/build.sh

.PHONY: guests-python
guests-python: ## Build a large guest from Python, if its registry can be reached
	@guest/python/build.sh

.PHONY: templates
templates: build ## Write, build and test what `host new` writes, in each language whose tools can be had
	@host/templates/wit.sh --check
	@host/templates/try.py

.PHONY: build
build: ## Build the host: target/release/host
	$(CARGO) build $(BUILD)

# No path of this machine is in what people run, so that it is the same bytes wherever it is built.
CARGO_HOME ?= $(HOME)/.cargo
PLACES := $(CURDIR)=/host $(CARGO_HOME)=/cargo
DIST_RUSTFLAGS := $(addprefix --remap-path-prefix=,$(PLACES))
# Files in C say so too, and when they were compiled.
DIST_CFLAGS := $(addprefix -ffile-prefix-map=,$(PLACES)) -Wno-builtin-macro-redefined -D__DATE__=\"\" -D__TIME__=\"\"

# The two of them in one go, always: by itself, one of them may get other features of what they share, which
# would then be compiled twice.
DIST := RUSTFLAGS="$(DIST_RUSTFLAGS) $$PGO_FLAG" CFLAGS="$(DIST_CFLAGS)" \
    $(CARGO) build --profile dist $(CARGO_FLAGS) --package host --package bench-native

# What is run and measured; nothing is packed.
.PHONY: dist-program
ifndef PGO
dist-program:
	$(DIST)
else
# Profile-guided: a first build counts what it does under the load of bench/train.py, and the second is laid out by
# those counts. With --target, so that what runs while building does not count.
TRIPLE := $(shell rustc -vV | sed -n 's/^host: //p')
PROFDATA := $(shell rustc --print sysroot)/lib/rustlib/$(TRIPLE)/bin/llvm-profdata
COUNTING := target/counting/$(TRIPLE)/dist
GUIDED := target/guided/$(TRIPLE)/dist
PROFILED := target/pgo/profile

dist-program: guests guests-js
	@[ -x $(PROFDATA) ] || rustup component add llvm-tools || \
	    { echo "PGO=1 takes llvm-profdata of this compiler: rustup component add llvm-tools" >&2; exit 1; }
	export CARGO_TARGET_DIR=target/counting PGO_FLAG=-Cprofile-generate=$(CURDIR)/target/pgo/counts; $(DIST) --target $(TRIPLE)
	@if [ ! $(PROFILED) -nt $(COUNTING)/host ] || [ ! $(PROFILED) -nt $(COUNTING)/bench-native ]; then rm -rf target/pgo && \
	    bench/train.py --profile $(COUNTING:target/%=%) && \
	    $(PROFDATA) merge --output $(PROFILED) target/pgo/counts; fi
	export CARGO_TARGET_DIR=target/guided PGO_FLAG=-Cprofile-use=$(CURDIR)/$(PROFILED); $(DIST) --target $(TRIPLE)
	install -D --target-directory target/dist $(addprefix $(GUIDED)/,host bench-native bench-load)
endif

# What is measured.
.PHONY: released
released:
	@$(MAKE) --no-print-directory dist-program PGO=1
	@stat --printf '%n: %s bytes\n' target/dist/host

# What is packed is the program of this profile: `make deb PROFILE=release` takes minutes less, to try it.
PROFILE ?= dist
PROGRAM := target/$(PROFILE)/host
BUILD_PROGRAM := $(if $(filter dist,$(PROFILE)),dist-program,build)

CARGO_DEB ?= target/tools/bin/cargo-deb
CARGO_CYCLONEDX ?= target/tools/bin/cargo-cyclonedx
SBOM := target/$(PROFILE)/sbom.cdx.json

target/tools/bin/cargo-deb:
	$(CARGO) install cargo-deb --version '^3.8' --locked --root target/tools

target/tools/bin/cargo-cyclonedx:
	$(CARGO) install cargo-cyclonedx --version '^0.5.9' --locked --root target/tools

.PHONY: sbom
sbom: $(CARGO_CYCLONEDX)
	@CARGO_CYCLONEDX='$(abspath $(CARGO_CYCLONEDX))' package/sbom.sh $(SBOM)

.PHONY: dist
dist: $(BUILD_PROGRAM) sbom ## Build what people run, slowly and well, and pack it: target/dist/host-*.tar.gz (PGO=1: slower, and better)
	@SBOM=$(SBOM) package/pack.sh $(PROGRAM) target/$(PROFILE)
	@stat --printf '%n: %s bytes\n' $(PROGRAM)
	@[ $$(stat --format %s $(PROGRAM)) -lt 40000000 ] || [ $(PROFILE) != dist ] || \
	    { echo "$(PROGRAM) has more than 40 MB" >&2; exit 1; }

# Takes twice the time. Not with PGO=1: what is counted under load is never the same.
.PHONY: dist-twice
dist-twice: $(CARGO_CYCLONEDX) ## Build and pack this commit in two directories, and compare the bytes
	rm -rf target/twice
	@for place in one two/deeper; do git clone --quiet . target/twice/$$place || exit; done
	@for place in one two/deeper; do set -x; $(MAKE) --no-print-directory -C target/twice/$$place dist PROFILE=dist PGO= \
	        CARGO_CYCLONEDX='$(abspath $(CARGO_CYCLONEDX))' || exit; done
	cmp target/twice/one/target/dist/host target/twice/two/deeper/target/dist/host
	cd target/twice && cmp one/target/dist/host-*.tar.gz two/deeper/target/dist/host-*.tar.gz
	@sha256sum target/twice/one/target/dist/host-*.tar.gz
	@echo "the same bytes"

.PHONY: deb
deb: $(BUILD_PROGRAM) sbom $(CARGO_DEB) ## Pack Debian's package, wasm-host (PROFILE=dist)
	@CARGO_DEB='$(abspath $(CARGO_DEB))' SBOM=$(abspath $(SBOM)) package/deb.sh $(PROGRAM) target/$(PROFILE)

PREFIX ?= /usr/local

.PHONY: install
install: $(BUILD_PROGRAM) ## Install program, man pages, completions, units and WIT (PREFIX=/usr/local DESTDIR= PROFILE=dist PGO=1)
	@PREFIX='$(PREFIX)' package/stage.sh $(PROGRAM) target/package/install
	@FROM=target/package/install PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' package/install.sh

.PHONY: uninstall
uninstall: ## Remove what `make install` has installed (PREFIX=/usr/local DESTDIR=)
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' package/install.sh --uninstall

.PHONY: run
run: build guests ## Build and serve an example guest (GUEST=greet_p3 ADDR=HOST:PORT)
	@echo
	@echo "Try, in another terminal:  curl http://$(ADDR)/world"
	@echo "Stop with Ctrl-C: what is in flight finishes first."
	@echo
	@exec target/release/host serve target/guests/$(GUEST).wasm --addr $(ADDR) --access-log stderr --access-log-format combined

.PHONY: test
test: guests ## Run all tests
	@if $(CARGO) nextest --version >/dev/null 2>&1; then set -x; \
	    $(CARGO) nextest run --cargo-profile release --workspace --no-fail-fast $(CARGO_FLAGS); \
	else set -x; \
	    $(CARGO) test --no-fail-fast $(BUILD); \
	fi

.PHONY: test-unit
test-unit: ## Run the tests inside our libraries only: no guests, no processes
	$(CARGO) test --no-fail-fast $(BUILD) --lib

# A check links nothing, so the library of the fuzzer, in C++, is not compiled for it.
FUZZ_LINT := CUSTOM_LIBFUZZER_PATH=/not/linked/libfuzzer.a

.PHONY: lint
lint: ## Check formatting, clippy, docs and the shape of the sources; a warning fails
	$(CARGO) fmt --all --check
	$(CARGO) fmt --all --check --manifest-path guest/Cargo.toml
	$(CARGO) fmt --all --check --manifest-path fuzz/Cargo.toml
	$(CARGO) clippy --all-targets $(BUILD) -- -D warnings
	$(FUZZ_LINT) $(CARGO) clippy --release --locked --manifest-path fuzz/Cargo.toml -- -D warnings
	@echo "what the benchmarks read out of their tools (bench/tests.py)"
	@python3 -m unittest discover --quiet --start-directory bench --pattern tests.py
	@echo "files, functions, circles of files and names of types (docs/adr/0032)"
	@$(CARGO) run --quiet --release $(CARGO_FLAGS) --package tidy
	@echo "every fuzz target has its source and its seeds"
	@for target in $(FUZZ_TARGETS); do \
	    ls fuzz/fuzz_targets/$$target.rs fuzz/corpus/$$target/* > /dev/null || exit 1; \
	done
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items $(BUILD)
	@echo "README.md shows guest/examples/greet"
	@awk '/^```rust$$/ { on = 1; next } /^```$$/ { on = 0 } on' README.md \
	    | diff - guest/examples/greet/src/lib.rs
	@echo "the diff of ARCHITECTURE.md applies"
	@awk '/^```diff$$/ { on = 1; next } /^```$$/ { on = 0 } on' ARCHITECTURE.md | git apply --check
	@echo "docs/guests.md and docs/plugins.md show guest/examples"
	@for shown in guests/{events,events_p3,tally,tally_p3} plugins/{headers,apikey_p2}; do \
	    example=$${shown#*/}; \
	    awk -v start="<!-- guest/examples/$$example -->" \
	        '$$0 == start { here = 1 } here && /^```$$/ { exit } on; here && /^```rust$$/ { on = 1 }' \
	        docs/$${shown%/*}.md | diff - guest/examples/$$example/src/lib.rs || exit 1; \
	done

.PHONY: tidy
tidy: ## List files over 400 lines, functions over 60, circles of files, types of one name
	@$(CARGO) run --quiet --release $(CARGO_FLAGS) --package tidy

.PHONY: doc
doc: ## Build the documentation of the code: target/doc/host/index.html
	$(CARGO) doc --no-deps --document-private-items $(BUILD)

# The same part of the time for each target. What is found goes below target/; fuzz/corpus has the seeds.
# Without a sanitizer: there is no unsafe code of ours to watch, and inputs go through much faster.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := manifest routes authority uri allow_list forwarding proxy_header
CARGO_FUZZ := target/tools/bin/cargo-fuzz
FUZZ := RUSTUP_TOOLCHAIN=nightly $(CARGO_FUZZ)

$(CARGO_FUZZ):
	$(CARGO) install cargo-fuzz --version '^0.13' --locked --root target/tools

# Steps of the model of an HTTP/1 connection (net/src/connection_model/).
MODEL_STEPS ?= 10000000

.PHONY: fuzz-model
fuzz-model: ## Play a peer and a stop by dice against HTTP/1 connections (MODEL_STEPS=10000000)
	HOST_MODEL_STEPS=$(MODEL_STEPS) $(CARGO) test --release $(CARGO_FLAGS) --package host-net --lib -- \
	    connection_model --nocapture

.PHONY: fuzz
fuzz: $(CARGO_FUZZ) fuzz-model ## Fuzz what reads text from outside, with a nightly toolchain (FUZZ_SECONDS=60 in all)
	$(FUZZ) build --sanitizer none
	@for target in $(FUZZ_TARGETS); do \
	    mkdir -p target/fuzz/$$target || exit 1; \
	    echo "fuzz $$target"; \
	    $(FUZZ) run --sanitizer none $$target target/fuzz/$$target fuzz/corpus/$$target -- \
	        -max_total_time=$$(( $(FUZZ_SECONDS) / $(words $(FUZZ_TARGETS)) )) \
	        -max_len=16384 -verbosity=0 -print_final_stats=1 || exit 1; \
	done

# Twelve loss tests, 84 stops each; four of canaries, 25 each; three hosts behind HAProxy, restarted 67 times each and
# swapped 10 times.
.PHONY: soak
soak: guests ## Stop the host 1,000 times under load, upgrade it 500 times, begin 100 canaries, roll 261 hosts; print what was lost
	HOST_SOAK_STOPS=84 $(CARGO) test $(BUILD) --test end_to_end -- \
	    loss:: --test-threads=1 --nocapture
	HOST_SOAK_CANARIES=25 $(CARGO) test $(BUILD) --test end_to_end -- \
	    canary_load:: --test-threads=1 --nocapture
	HOST_SOAK_ROLLS=67 $(CARGO) test $(BUILD) --test end_to_end -- \
	    behind_haproxy_by_restart --test-threads=1 --nocapture
	HOST_SOAK_ROLLS=10 $(CARGO) test $(BUILD) --test end_to_end -- \
	    behind_haproxy_by_swap --test-threads=1 --nocapture
	HOST_SOAK_ROLLS=10 $(CARGO) test $(BUILD) --test end_to_end -- \
	    behind_haproxy_by_upgrade --test-threads=1 --nocapture
	HOST_SOAK_UPGRADES=100 $(CARGO) test $(BUILD) --test end_to_end -- \
	    upgrade_load:: --test-threads=1 --nocapture
	HOST_SOAK_IDLE=10000 $(CARGO) test $(BUILD) --test end_to_end -- \
	    many_idle_connections_go_over --nocapture

# HOST_BUDGET_FUNCTIONS=N lists the N functions that take most, and the callers of the allocator;
# HOST_BUDGET_BINARY=FILE counts another host than the built one.
.PHONY: budget
budget: guests ## Count what a request costs: instructions, allocations (HOST_BUDGET_FUNCTIONS=40)
	@$(CARGO) test $(BUILD) --test end_to_end -- \
	    budget:: --nocapture --test-threads=1 2>&1 | tee target/budget.log; \
	    code=$${PIPESTATUS[0]}; grep -h '^|' tests/budget.md | head -2; grep '^| ' target/budget.log; exit $$code

# `make bench WASMTIME=PATH` measures `wasmtime serve` too.
.PHONY: bench
bench: released guests guests-js guests-python ## Measure against a native server (BENCH="--write": into bench/README.md)
	bench/run.py $(BENCH)

.PHONY: bench-swap
bench-swap: released guests guests-js ## Measure what a swap costs (BENCH="--write": into bench/README.md)
	bench/swap.py $(BENCH)

.PHONY: bench-plugins
bench-plugins: released guests ## Measure many routes and many idle components (BENCH="--write")
	bench/plugins.py $(BENCH)

.PHONY: bench-warm
bench-warm: released guests ## Measure a start of 50 ms in each request, and with a snapshot
	bench/warm.py $(BENCH)

.PHONY: bench-tenants
bench-tenants: released guests ## Start 10,000 components, ask cold ones, reload one (a quarter of an hour to compile them first)
	bench/tenants.py $(BENCH)

.PHONY: bench-slow
bench-slow: released guests ## Send one request after the other beside 1,000 slow clients
	bench/slow.py $(BENCH)

.PHONY: bench-overload
bench-overload: released guests ## Ask for twice of what a host can do, for a minute each; fails if an aim is missed
	bench/overload.py $(BENCH)

.PHONY: bench-crowd
bench-crowd: released guests ## Have 18,000 clients arrive at once at a host with 20,000 descriptors
	bench/crowd.py $(BENCH)

.PHONY: bench-fleet
bench-fleet: released guests ## Measure cores, hosts, HAProxy and requests in flight (BENCH="--write": into docs/scaling.md)
	bench/fleet.py $(BENCH)

BENCH_PYTHON := target/bench-venv/bin/python

# Touched only after pip has succeeded, so that a broken environment is made again.
$(BENCH_PYTHON).made: bench/requirements.txt
	python3 -m venv --clear target/bench-venv
	$(BENCH_PYTHON) -m pip install --quiet --requirement bench/requirements.txt
	touch $@

.PHONY: bench-scale
bench-scale: released guests $(BENCH_PYTHON).made ## Draw requests/s, CPU time, memory by connections, components, bodies, workers
	$(BENCH_PYTHON) bench/scale.py $(BENCH)

# `nginx`, `haproxy`, `node` and `go` where they are installed.
.PHONY: evidence
evidence: build guests ## Stop other servers and ours under load, and count what is lost (EVIDENCE="--write": into docs/drain-test.md)
	evidence/run.py $(EVIDENCE)

.PHONY: dashboard-picture
dashboard-picture: guests ## Make the picture of the dashboard anew: docs/dashboard.png (takes chromium)
	HOST_DASHBOARD_PICTURE=$(CURDIR)/docs/dashboard.png $(CARGO) test --release $(CARGO_FLAGS) --package host \
	    --test end_to_end -- --ignored dashboard::picture_of_the_dashboard

.PHONY: ci
ci: ## What CI runs, and nothing else
	.ci/run

.PHONY: clean
clean: ## Remove everything that was built
	rm -rf target
