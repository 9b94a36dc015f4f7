# The few things one does here. `make demo` and `make test` need a Rust toolchain and make, and find the rest.

# rustup's folder is on the PATH of new shells only; nft and ip live where a user's PATH often does not look.
ifeq (,$(findstring .cargo/bin,$(PATH)))
export PATH := $(if $(wildcard $(HOME)/.cargo/bin/cargo),$(HOME)/.cargo/bin:)$(PATH)
endif
export PATH := $(PATH):/usr/sbin:/sbin
# Nothing that is started from here may send a packet to a real network.
export LANRADIO_INTERFACE := lo

FUZZ_SECONDS ?= 60
PREFIX ?= $(HOME)/.local

.PHONY: help demo test proof bench fuzz soak music install clean

help:
	@echo "make demo     hear it work: a sender and three listeners on this machine, about a minute after the build"
	@echo "make test     everything that must be true: format, lints, docs, tests and fuzz targets (15 minutes)"
	@echo "make proof    the full counts and figures, written to PROOF.md and to the table in README.md (an hour)"
	@echo "make bench    the criterion benches"
	@echo "make soak     random runs of the simulator until one fails or it is stopped; prints the failing seed"
	@echo "make fuzz     each fuzz target for FUZZ_SECONDS ($(FUZZ_SECONDS))"
	@echo "make music    compose the demo's music anew (needs ffmpeg)"
	@echo "make install  put lanradio into PREFIX/bin ($(PREFIX)/bin)"
	@echo "make clean    remove what was built"

demo:
	@scripts/setup.sh build
	@scripts/demo.sh

test:
	@scripts/setup.sh test
	@scripts/test.sh

proof:
	@scripts/setup.sh proof
	@scripts/proof.sh

bench:
	@scripts/setup.sh build
	cargo bench --locked

fuzz:
	@scripts/setup.sh test
	@scripts/fuzz.sh $(FUZZ_SECONDS)

soak:
	@scripts/setup.sh build
	@scripts/soak.sh

music:
	@scripts/setup.sh test
	@scripts/music.sh

install:
	@scripts/setup.sh build
	cargo build --release --locked
	install -d "$(PREFIX)/bin"
	install -m 755 "$${CARGO_TARGET_DIR:-target}/release/lanradio" "$(PREFIX)/bin/lanradio"

clean:
	cargo clean
	rm -rf demo-out fuzz/target fuzz/artifacts
