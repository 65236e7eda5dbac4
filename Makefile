# kvtap: telemetry for KV-cache transfers
#
#   make             library, exporter and tools, into build/release
#   make demo        real transfers, a real scrape: SECONDS=10 WORKERS=2 THREADS=2 KEEP=1 (installs
#                    what it needs)
#   make check       all tests, unit and end to end (installs what they need); T=ring: only these
#   make asan tsan   the unit tests under sanitizers
#   make fuzz        libFuzzer over the segment image, FUZZ_SECONDS=60
#   make soak        the exporter's memory while workers come and go, SOAK_SECONDS=120
#   make bench       what it all costs; B=record: only these. make bench-deps installs what kvtap is
#                    compared with; bench/render.py makes README's tables of the output
#   make check-gpu   what needs a GPU and its driver; without one, says what it skips
#   make gpu-bundle  the same to carry to a machine with nothing else: build/gpu, started by run.sh
#   make ptx         the GPU's code again from its sources, by nvcc; it lies beside them
#   make install     PREFIX=/usr/local DESTDIR=
#   make deps        install the packages that are missing (Debian)
#   make arrows symbols format-check format clean help
#
# MODE=release|asan|tsan  CC=gcc|clang  V=1 shows the commands. CFLAGS and LDFLAGS are yours. A CUDA
# toolkit is used where there is one, and never needed: CUDA_HOME=/usr/local/cuda, CUDA=0 for none.

.DEFAULT_GOAL := all
MODE    ?= release
PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
SECONDS ?= 10
WORKERS ?= 2
THREADS ?= 2
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 120
flavour  = $(if $(filter gcc cc,$(1)),,-$(notdir $(lastword $(1))))
BUILD   ?= build/$(MODE)$(call flavour,$(CC))
Q       := $(if $(V),,@)
SAY      = $(if $(V),,@printf '  %-5s %s\n' $(1) $@)
VERSION := $(shell sed -n 's/^.define KVTAP_VERSION "\(.*\)"/\1/p' include/kvtap.h)
SOVERSION := 0

SAN_asan := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# gcc warns that it knows no fences: ours order atomics, which it watches anyway
SAN_tsan := -fsanitize=thread $(if $(findstring clang,$(CC)),,-Wno-tsan)
SAN_fuzz := -fsanitize=fuzzer-no-link $(SAN_asan)
CFLAGS  ?= $(if $(SAN_$(MODE)),-O1,-O2) -g
WARN    := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
           -Wvla -Wundef -Wformat=2 -Wwrite-strings
ALL_CFLAGS = -std=c11 -D_GNU_SOURCE -Iinclude $(WARN) $(SAN_$(MODE)) -MMD -MP $(CFLAGS)
ALL_LDFLAGS = $(SAN_$(MODE)) $(LDFLAGS)

programs = $(patsubst %.c,$(BUILD)/%,$(wildcard $(1)))
objects  = $(addsuffix .o,$(call programs,$(1)))
# lib/cuda: spans, device rings and markers are in the library; cupti*.c is a library of its own
CUPTI_OBJ := $(call objects,lib/cuda/cupti*.c)
LIB_OBJ  := $(call objects,lib/*.c) $(filter-out $(CUPTI_OBJ),$(call objects,lib/cuda/*.c))
EXP_OBJ  := $(call objects,exporter/*.c)
PARTS    := $(addprefix $(BUILD)/,support.a parts.a libkvtap.a)
DEMO_OBJ := $(call objects,tests/demo/*.c) $(BUILD)/bench/cuda_driver.o
TESTS    := $(filter-out $(BUILD)/tests/test_main,$(call programs,tests/test_*.c))
BENCHES  := $(call programs,bench/bench_*$(B)*.c)
# whom bench_scrape and bench_peers compare with: those that are installed
peer      = $(if $(wildcard $(addprefix /usr/include/,$(1))),$(2))
PEERS    := $(addprefix $(BUILD)/bench/,peer_kvtap peer_lttng.sh $(notdir $(wildcard bench/peer*.py)) \
            $(call peer,ck_ring.h,peer_ck) $(call peer,lttng/tracepoint.h */lttng/tracepoint.h,peer_lttng) \
            $(call peer,prometheus/exposer.h,peer_prometheus_cpp peer_prometheus_record))
FUZZERS  := $(call programs,tests/fuzz_*.c)
DEMO     := $(if $(DEMO_OBJ),$(BUILD)/kvtap-demo)
EXP_LIBS := -lmicrohttpd -lgnutls -lyaml -lcrypt -lurcu-bp -lurcu-cds -lz -lpthread -lm
# doubles of the driver and of CUPTI, under the names that programs find the real ones by
DOUBLES  := $(patsubst tests/double_%.h,$(BUILD)/doubles/lib%.so,$(wildcard $(addprefix tests/double_,cuda.h cupti.h)))

# root, version, include, cupti, nvcc, library, missing: what there is of a CUDA toolkit
CUDA_FOUND := $(shell CUDA='$(CUDA)' CUDA_HOME='$(CUDA_HOME)' CUDA_PATH='$(CUDA_PATH)' lib/cuda/find-cuda.sh)
cuda      = $(patsubst $(1)=%,%,$(filter $(1)=%,$(CUDA_FOUND)))
underline := _
CUDA_TEXT := $(if $(call cuda,root),$(call cuda,root) ($(call cuda,version)$(subst $(underline), ,$(call cuda,missing))),none: $(subst $(underline), ,$(call cuda,missing)))
# for what looks for its headers with __has_include, and nothing else
CUDA_INCLUDE := $(or $(addprefix -isystem ,$(sort $(call cuda,include) $(call cuda,cupti))),-DKVTAP_NO_CUDA)
CUDA_SOURCES := $(shell grep -lE '__has_include.<(cu|nvtx)' lib/cuda/*.c tests/*.c)
CUDA_OBJ := $(CUDA_SOURCES:%.c=$(BUILD)/%.o)
NVCC    ?= $(or $(call cuda,nvcc),nvcc)
PTX_SOURCES := $(wildcard lib/cuda/*.cu tests/*.cu)
PRODUCTS := $(addprefix $(BUILD)/,libkvtap.a libkvtap.so $(if $(EXP_OBJ),kvtap-exporter) $(if $(CUPTI_OBJ),libkvtap-cupti.so)) $(DEMO)

all: $(BUILD)/cuda $(PRODUCTS)
	@:
GPU_TESTS := $(call programs,tests/gpu_*.c)
tests: $(PRODUCTS) $(DOUBLES) $(TESTS) $(GPU_TESTS) $(call programs,tests/e2e_*.c)
benches: $(PRODUCTS) $(BENCHES) $(PEERS)

$(BUILD)/lib/%.o: ALL_CFLAGS += -fPIC -fvisibility=hidden -fno-semantic-interposition -ftls-model=initial-exec
$(BUILD)/lib/record.o: ALL_CFLAGS += -fno-tree-slp-vectorize # see fill_transfer
$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(call SAY,CC)
	$Q$(CC) $(ALL_CFLAGS) -c -o $@ $<

# said once, and again when it changes
$(BUILD)/cuda: FORCE
	@mkdir -p $(@D)
	@echo '$(CUDA_FOUND)' | cmp -s - $@ || { echo '$(CUDA_FOUND)' >$@; echo '  CUDA  $(CUDA_TEXT)'; }
$(CUDA_OBJ): $(BUILD)/cuda
$(CUDA_OBJ): ALL_CFLAGS += $(CUDA_INCLUDE)
$(BUILD)/lib/cuda/kernels.o: lib/cuda/marker.ptx

# a program takes from an archive only what it needs
$(BUILD)/libkvtap.a: $(LIB_OBJ)
$(BUILD)/parts.a: $(filter-out $(BUILD)/exporter/main.o,$(EXP_OBJ))
$(BUILD)/support.a: $(call objects,tests/support*.c)
$(BUILD)/%.a:
	$(call SAY,AR)
	$Qrm -f $@ && $(AR) rcs $@ $^

# the link beside it carries the soname, so that a program linked with it runs from here
$(BUILD)/libkvtap.so: $(LIB_OBJ) lib/libkvtap.map
	$(call SAY,LD)
	$Q$(CC) -shared -Wl,-soname,libkvtap.so.$(SOVERSION) -Wl,--version-script=lib/libkvtap.map \
		-Wl,-z,nodelete -Wl,-z,now $(if $(SAN_$(MODE)),,-Xlinker --no-undefined) \
		$(ALL_LDFLAGS) -o $@ $(LIB_OBJ)
	$Qln -sf libkvtap.so $@.$(SOVERSION)

# carries the worker's library, hidden: what it is loaded into may have another one
$(BUILD)/libkvtap-cupti.so: $(CUPTI_OBJ) $(BUILD)/libkvtap.a lib/cuda/libkvtap-cupti.map
	$(call SAY,LD)
	$Q$(CC) -shared -Wl,-soname,libkvtap-cupti.so -Wl,--version-script=lib/cuda/libkvtap-cupti.map \
		-Wl,-z,nodelete -Wl,-z,now -Wl,--exclude-libs,ALL $(if $(SAN_$(MODE)),,-Xlinker --no-undefined) \
		$(ALL_LDFLAGS) -o $@ $(CUPTI_OBJ) $(BUILD)/libkvtap.a

DOUBLE_SONAME_cuda := libcuda.so.1
DOUBLE_SONAME_cupti := libcupti.so.13
# initial-exec: the leak sanitizer dies of dynamic TLS of threads that a test leaves running
$(BUILD)/tests/double_%.o: ALL_CFLAGS += -fPIC -ftls-model=initial-exec
.SECONDEXPANSION:
$(BUILD)/doubles/lib%.so: $$(call objects,tests/double_$$*.c tests/double_$$*_*.c)
	@mkdir -p $(@D)
	$(call SAY,LD)
	$Q$(CC) -shared -Wl,-soname,$(DOUBLE_SONAME_$*) $(ALL_LDFLAGS) -o $@ $^
	$Qln -sf $(@F) $(@D)/$(DOUBLE_SONAME_$*)

define link
	$(call SAY,LD)
	$Q$(CC) $(1) $(ALL_LDFLAGS) -o $@ $^ $(2)
endef

$(BUILD)/kvtap-exporter: $(EXP_OBJ) $(BUILD)/libkvtap.a
	$(call link,,$(EXP_LIBS))

$(BUILD)/kvtap-demo: $(DEMO_OBJ) $(BUILD)/libkvtap.a
	$(call link,,-lpthread -lm)

$(BUILD)/tests/test_paired: $(BUILD)/bench.a
$(BUILD)/tests/test_%: $(BUILD)/tests/test_%.o $(BUILD)/tests/test_main.o $(PARTS)
	$(call link,,$(EXP_LIBS) -ldl)

$(BUILD)/tests/gpu_device.o: tests/gpu_records.ptx
$(BUILD)/tests/gpu_program: $(BUILD)/tests/gpu_program.o
	$(call link,,-ldl)
$(BUILD)/tests/gpu_%: $(BUILD)/tests/gpu_%.o $(BUILD)/tests/test_main.o $(BUILD)/support.a $(BUILD)/libkvtap.a
	$(call link,,-lpthread -lm -ldl)

$(BUILD)/tests/e2e_scrapers: $(BUILD)/bench.a
$(BUILD)/tests/e2e_%: $(BUILD)/tests/e2e_%.o $(BUILD)/support.a $(BUILD)/libkvtap.a
	$(call link,,-lpthread -lm)

$(BUILD)/tests/fuzz_seeds: $(BUILD)/tests/fuzz_seeds.o $(PARTS)
	$(call link,,$(EXP_LIBS))

$(BUILD)/tests/fuzz_%: $(BUILD)/tests/fuzz_%.o $(PARTS)
	$(call link,-fsanitize=fuzzer,$(EXP_LIBS))

$(BUILD)/bench.a: $(filter-out $(BUILD)/bench/bench_% $(BUILD)/bench/peer_%,$(call objects,bench/*.c))
$(BUILD)/bench/bench.o: ALL_CFLAGS += -DBENCH_FLAGS='"$(CFLAGS)"'
$(BUILD)/bench/bench_%: $(BUILD)/bench/bench_%.o $(BUILD)/bench.a $(BUILD)/parts.a $(BUILD)/libkvtap.a
	$(call link,,$(EXP_LIBS))
$(BUILD)/bench/peer_lttng.o: ALL_CFLAGS += -Ibench
$(BUILD)/bench/peer_lttng: PEER_LIBS := -llttng-ust -ldl
$(BUILD)/bench/peer_%: $(BUILD)/bench/peer_%.o $(BUILD)/bench.a $(BUILD)/libkvtap.a
	$(call link,,$(PEER_LIBS) -lpthread)
$(BUILD)/bench/peer_prometheus%: bench/peer_prometheus%.cpp $(BUILD)/bench.a
	$(call SAY,CXX)
	$Q$(CXX) -O2 -Wall -Wextra -DPEER_VERSION='"$(or $(shell pkg-config --modversion prometheus-cpp-core 2>/dev/null),unknown)"' \
		-o $@ $^ $(ALL_LDFLAGS) -lprometheus-cpp-pull -lprometheus-cpp-core
$(BUILD)/bench/peer%: bench/peer%
	@mkdir -p $(@D)
	$Qcp -p $< $@

# ---- what to do with them ----

# another mode or compiler, in a folder beside this one
beside = $(MAKE) --no-print-directory MODE=$(1) CC=$(2) BUILD=$(dir $(BUILD))$(1)$(call flavour,$(2))
OTHER_CC := $(if $(findstring clang,$(CC)),gcc,clang)
# sanitizers of this age can't place their shadow where addresses are randomised over 32 bits
RUNNER := $(if $(SAN_$(MODE)),$(shell setarch -R true 2>/dev/null && echo setarch -R))
export BUILD RUNNER T

deps:
	@tests/install-deps.sh build check

bench-deps:
	@tests/install-deps.sh build bench

demo:
	@tests/install-deps.sh build
	@+$(MAKE) --no-print-directory all
	@$(BUILD)/kvtap-demo --exporter $(BUILD)/kvtap-exporter --seconds $(SECONDS) --workers $(WORKERS) --threads $(THREADS) $(if $(KEEP),--keep)

check: deps
	@+command -v $(OTHER_CC) >/dev/null || { echo "$(OTHER_CC) is missing: not tried"; exit 0; }; \
		test -n "$T" || $(call beside,$(MODE),$(OTHER_CC)) all tests benches
	@+$(MAKE) --no-print-directory tests benches
	@tests/run.sh

unit: tests
	@tests/run.sh unit

asan tsan:
	@tests/install-deps.sh build
	@+$(call beside,$@,$(CC)) unit

fuzz: deps
	@+if ! echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' | \
		clang -fsanitize=fuzzer -x c -o /dev/null - 2>/dev/null; then \
		echo "skip fuzz # clang's libFuzzer is missing"; echo "0 passed, 0 failed, 1 skipped"; \
	else $(call beside,fuzz,clang) fuzz-run; fi

fuzz-run: $(FUZZERS)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz.sh

# runs on a machine with a driver and nothing else
GPU_BUNDLE := $(dir $(BUILD))gpu
gpu-bundle: tests $(BUILD)/bench/bench_cuda
	@tests/gpu-bundle.sh $(BUILD) $(GPU_BUNDLE) '$(call cuda,library)'

# where there is no compiler, what was carried there
check-gpu:
	@+! command -v $(CC) >/dev/null || $(MAKE) --no-print-directory gpu-bundle
	@$(GPU_BUNDLE)/run.sh

soak: deps
	@+$(MAKE) --no-print-directory tests
	@SOAK_SECONDS=$(SOAK_SECONDS) tests/soak.sh

bench: benches
	@export BENCH_COMMIT=$$(git describe --always --dirty 2>/dev/null); \
		failed=; for bench in $(BENCHES); do $$bench || failed="$$failed $${bench##*/}"; done; \
		test -z "$$failed" || { echo "failed:$$failed" >&2; exit 1; }

arrows format-check:
	@tests/check-$(@:-check=).sh

symbols: all
	@tests/check-symbols.sh

format:
	clang-format -i $(wildcard $(addsuffix /*.[ch],include lib lib/* exporter tests tests/demo bench))

ptx:
	@for source in $(PTX_SOURCES); do \
		lib/cuda/make-ptx.sh '$(NVCC)' $$source $${source%.cu}.ptx || exit 1; done

install: all
	install -d $(addprefix $(DESTDIR),$(PREFIX)/bin $(PREFIX)/include $(LIBDIR)/pkgconfig $(PREFIX)/share/man/man1 $(PREFIX)/share/man/man3 $(PREFIX)/share/man/man7)
	install -m 755 $(BUILD)/kvtap-exporter $(DESTDIR)$(PREFIX)/bin/
	install -m 644 include/*.h include/*.cuh $(DESTDIR)$(PREFIX)/include/
	install -m 644 $(BUILD)/libkvtap.a $(DESTDIR)$(LIBDIR)/
	install -m 755 $(BUILD)/libkvtap.so $(DESTDIR)$(LIBDIR)/libkvtap.so.$(VERSION)
	install -m 755 $(BUILD)/libkvtap-cupti.so $(DESTDIR)$(LIBDIR)/
	ln -sf libkvtap.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libkvtap.so.$(SOVERSION)
	ln -sf libkvtap.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libkvtap.so
	printf '%s\n' 'libdir=$(LIBDIR)' 'includedir=$(PREFIX)/include' '' 'Name: kvtap' \
		'Description: telemetry for KV-cache transfers' 'Version: $(VERSION)' \
		'Cflags: -I$${includedir}' 'Libs: -L$${libdir} -lkvtap' >$(DESTDIR)$(LIBDIR)/pkgconfig/kvtap.pc
	for page in $(wildcard exporter/*.1 lib/*.3 lib/cuda/*.[37]); do \
		install -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/ || exit 1; done

clean:
	rm -rf build

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

.PHONY: FORCE all tests benches deps bench-deps demo check unit asan tsan fuzz fuzz-run check-gpu gpu-bundle soak bench arrows symbols format format-check ptx install clean help
.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
