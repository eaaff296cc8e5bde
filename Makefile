# Leyden: build, test, run.

VERSION := 0.1.0
TOOLS   := leyden pg-ingest pg-snapshot pg-publish log-store ws-gateway auth-check http-api
TOOLS   := $(foreach t,$(TOOLS),$(if $(wildcard cmd/$t/main.c),$t))

BUILD_DEPS := build-essential pkg-config libpq-dev libprotobuf-c-dev protobuf-c-compiler libwslay-dev libjwt-dev \
	liblmdb-dev libev-dev libjansson-dev libzip-dev libxxhash-dev libssl-dev libseccomp-dev libpg-query-dev \
	libmicrohttpd-dev libgnutls28-dev libhttp-parser-dev
DEPS := $(BUILD_DEPS) check libsqlite3-dev postgresql-15 postgresql-client-15 python3 curl clang clang-format clang-tidy \
	cppcheck mandoc man-db zip s6 systemd prometheus

comma   := ,
space   := $() $()
BUILD   ?= build
CC      ?= cc
PREFIX  ?= /usr/local
PKGS    := libpq libprotobuf-c libjwt jansson libzip libcrypto libmicrohttpd
SAN     :=
CFLAGS  ?= -O2 -g
CFLAGS  += -std=c11 -D_GNU_SOURCE -DLEYDEN_VERSION='"$(VERSION)"' -Wall -Wextra -Werror -Wshadow \
	-Wstrict-prototypes -Wmissing-prototypes -fstack-protector-strong -fPIE -fno-strict-aliasing $(SAN)
ifeq ($(SAN),)
CFLAGS  += -D_FORTIFY_SOURCE=2
endif
CPPFLAGS := -Ilib -isystem $(BUILD)/gen $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDFLAGS += -pie -Wl,-z,relro,-z,now $(SAN)

# What each tool needs beyond the library that all share: a parser or a credential is linked where it is used only.
LIBS_common      := -lev -lprotobuf-c -ljansson -lseccomp
LIBS_leyden      := -lpq
LIBS_pg-ingest   := -lpq -lpg_query -lxxhash
LIBS_pg-snapshot := -lpq
LIBS_pg-publish  := -lpq -lssl -lcrypto
LIBS_log-store   := -llmdb -lxxhash
LIBS_ws-gateway  := -lwslay -lhttp_parser -lssl -lcrypto
LIBS_auth-check  := -ljwt -lcrypto
LIBS_http-api    := -lmicrohttpd -lgnutls -lzip -lcrypto

GEN      := $(BUILD)/gen/satellite.pb-c.c $(BUILD)/gen/pipeline.pb-c.c
GEN_H    := $(GEN:.c=.h)
LIB_OBJS := $(patsubst lib/%.c,$(BUILD)/lib/%.o,$(wildcard lib/*.c)) $(GEN:.c=.o)
BINS     := $(addprefix $(BUILD)/bin/,$(TOOLS))

.PHONY: all compile
all compile: $(BINS)

$(BUILD)/gen/%.pb-c.c $(BUILD)/gen/%.pb-c.h: proto/%.proto
	@mkdir -p $(@D)
	@protoc-c --proto_path=proto --c_out=$(@D) $(<F)

# The SQL that pg-ingest installs, as one string: the files in the order of their names.
SQL := $(sort $(wildcard cmd/pg-ingest/sql/*.sql))
$(BUILD)/gen/schema_sql.c: $(SQL)
	@mkdir -p $(@D)
	@awk 'BEGIN { print "extern const char schema_sql[];\nconst char schema_sql[] =" } \
	     { gsub(/\\/, "&&"); gsub(/"/, "\\\""); print "\"" $$0 "\\n\"" } END { print ";" }' $(SQL) > $@

$(BUILD)/lib/%.o: lib/%.c $(GEN_H)
	@mkdir -p $(@D)
	@echo "  CC    $<"; $(CC) $(CFLAGS) $(CPPFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/gen/%.o: $(BUILD)/gen/%.c $(GEN_H)
	@$(CC) $(CFLAGS) -w $(CPPFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/libleyden.a: $(LIB_OBJS)
	@rm -f $@ && ar rcs $@ $^

$(BUILD)/cmd/%.o: cmd/%.c $(GEN_H)
	@mkdir -p $(@D)
	@echo "  CC    $<"; $(CC) $(CFLAGS) $(CPPFLAGS) -I$(<D) -MMD -MP -c -o $@ $<

define tool_rule
$(BUILD)/bin/$1: $$(patsubst %.c,$(BUILD)/%.o,$$(wildcard cmd/$1/*.c)) $(if $(filter pg-ingest,$1),$(BUILD)/gen/schema_sql.o) $(BUILD)/libleyden.a
	@mkdir -p $$(@D)
	@echo "  LD    $$@"; $(CC) $(LDFLAGS) -o $$@ $$^ $$(LIBS_$1) $$(LIBS_common)
endef
$(foreach t,$(TOOLS),$(eval $(call tool_rule,$t)))

-include $(shell find $(BUILD) -name '*.d' -type f 2>/dev/null)

.SECONDARY:

# ---- what a fresh machine needs

.PHONY: deps build-deps demo run check tests start_dev_env stop_dev_env shell install uninstall clean
deps:
	@wanted='$(DEPS)'; command -v node >/dev/null && command -v npm >/dev/null || wanted="$$wanted nodejs npm libnode-dev"; \
	$(INSTALL_WANTED)

# What compiling alone needs.
build-deps:
	@wanted='$(BUILD_DEPS)'; $(INSTALL_WANTED)

INSTALL_WANTED = missing=$$(for p in $$wanted; do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q ' installed' || echo $$p; done); \
	if [ -z "$$(echo $$missing)" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then echo "run as root: apt-get update && apt-get install -y $$(echo $$missing)" >&2; exit 77; fi; \
	apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing

# Each of these is one command on a fresh machine. The build is a make of its own: what deps installs is seen by it.
demo: deps
	@$(MAKE) --no-print-directory compile
	@scripts/demo

run: deps
	@$(MAKE) --no-print-directory compile
	@scripts/run

check tests: deps
	@$(MAKE) --no-print-directory compile test-programs
	@scripts/check

start_dev_env: deps
	@scripts/dev_env start

shell: deps
	@$(MAKE) --no-print-directory compile
	@scripts/dev_env shell

stop_dev_env:
	@scripts/dev_env stop

clean:
	rm -rf $(BUILD) build-asan build-fuzz

# ---- tests: each tests/unit/test_*.c and tests/integration/test_*.c is a program

SUPPORT  := $(BUILD)/tests/libsupport.a
PROGRAMS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/test_*.c tests/integration/test_*.c))

# The objects of a tool that a unit test looks at.
UNDER_test_jwt      := $(addprefix $(BUILD)/cmd/auth-check/,jwt.o signature.o keys.o base64.o)
UNDER_test_pgoutput := $(BUILD)/cmd/pg-ingest/pgoutput.o
UNDER_test_schema   := $(patsubst %,$(BUILD)/cmd/pg-ingest/%.o,catalog history sqlite_ddl sqlite_expr sqlite_table) \
	$(BUILD)/gen/schema_sql.o
LIBS_test_schema    := -lsqlite3 -lpg_query -lxxhash
LIBS_test_upgrade   := -llmdb

.PHONY: test-programs
test-programs: $(PROGRAMS)

$(SUPPORT): $(patsubst tests/%.c,$(BUILD)/tests/%.o,$(wildcard tests/support/*.c))
	@rm -f $@ && ar rcs $@ $^

$(BUILD)/tests/%.o: tests/%.c $(GEN_H)
	@mkdir -p $(@D)
	@echo "  CC    $<"; $(CC) $(CFLAGS) $(CPPFLAGS) -DTEST_BIN='"$(BUILD)/bin"' -Itests/support \
		$(foreach t,$(TOOLS),-Icmd/$t) -MMD -MP -c -o $@ $<

.SECONDEXPANSION:
$(PROGRAMS): $(BUILD)/tests/%: $(BUILD)/tests/%.o $$(UNDER_$$(notdir $$*)) $(SUPPORT) $(BUILD)/libleyden.a
	@echo "  LD    $@"; $(CC) $(LDFLAGS) -o $@ $^ -lcheck -lsubunit -lrt -lm -lpthread -lwslay -lpq -ljwt -lssl -lcrypto $(LIBS_common) $(LIBS_$(*F))

# Chaos: KILLS of tools, Postgres and sockets; SEED repeats a run.
CHAOS := $(patsubst tests/%.c,$(BUILD)/tests/%.o,$(wildcard tests/chaos/*.c))

test-programs: $(BUILD)/tests/chaos/chaos
$(BUILD)/tests/chaos/chaos: $(CHAOS) $(SUPPORT) $(BUILD)/libleyden.a
	@echo "  LD    $@"; $(CC) $(LDFLAGS) -o $@ $^ -lwslay -lpq -lcrypto $(LIBS_common)

# Convergence: SEEDS scenarios, from FIRST on.
CONVERGE := $(patsubst tests/%.c,$(BUILD)/tests/%.o,$(wildcard tests/converge/*.c))

test-programs: $(BUILD)/tests/converge/converge
$(BUILD)/tests/converge/converge: $(CONVERGE) $(SUPPORT) $(BUILD)/libleyden.a
	@echo "  LD    $@"; $(CC) $(LDFLAGS) -o $@ $^ -lwslay -lpq -lcrypto $(LIBS_common)

# Exactness: SUBSCRIPTIONS that begin at random moments; EPOCH moves the transaction ids.
test-programs: $(BUILD)/tests/exact/exact
$(BUILD)/tests/exact/exact: $(BUILD)/tests/exact/exact.o $(SUPPORT) $(BUILD)/libleyden.a
	@echo "  LD    $@"; $(CC) $(LDFLAGS) -o $@ $^ -lwslay -lpq -lcrypto $(LIBS_common)

.PHONY: chaos converge exact
exact: deps
	@$(MAKE) --no-print-directory compile test-programs
	@$(BUILD)/tests/exact/exact $(or $(SUBSCRIPTIONS),2000) $(or $(SEED),1) $(EPOCH)

converge: deps
	@$(MAKE) --no-print-directory compile test-programs
	@$(BUILD)/tests/converge/converge $(or $(SEEDS),1000) $(or $(FIRST),$$(date +%s)) $(INSTANCES)

chaos: deps
	@$(MAKE) --no-print-directory compile test-programs
	@$(BUILD)/tests/chaos/chaos $(or $(KILLS),200) $(or $(SEED),$$(date +%s)) $(INSTANCES)

# Fuzz targets: each tests/fuzz/NAME.c but slice.c, which runs a target on its seeds and changes of them, the same each
# time. make fuzz builds them with clang for as long as SECONDS or RUNS say; FUZZ names one.
FUZZ_TARGETS := $(filter-out slice,$(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c)))
FUZZERS      := $(FUZZ_TARGETS:%=$(BUILD)/tests/fuzz/%)
FUZZ_MAIN    ?= $(BUILD)/tests/fuzz/slice.o

# The objects of the tools that a target looks at.
UNDER_fuzz_jwt       := $(addprefix $(BUILD)/cmd/auth-check/,jwt.o signature.o keys.o base64.o)
UNDER_fuzz_handshake := $(BUILD)/cmd/ws-gateway/handshake.o
UNDER_fuzz_frames    := $(addprefix $(BUILD)/cmd/ws-gateway/,conn.o conn_in.o chunk.o handshake.o queue.o wire.o)
UNDER_fuzz_satellite := $(BUILD)/cmd/ws-gateway/version.o
UNDER_fuzz_pgoutput  := $(BUILD)/cmd/pg-ingest/pgoutput.o
UNDER_fuzz_publisher := $(addprefix $(BUILD)/cmd/pg-publish/,incoming.o literal.o transaction.o)

test-programs fuzz-programs: $(FUZZERS)
$(FUZZERS): $(BUILD)/tests/fuzz/%: $(BUILD)/tests/fuzz/%.o $$(UNDER_fuzz_%) $(BUILD)/tests/fuzz/slice.o $(BUILD)/libleyden.a
	@echo "  LD    $@"; $(CC) $(LDFLAGS) -o $@ $(filter-out %/slice.o,$^) $(FUZZ_MAIN) -lwslay -lhttp_parser -ljwt -lssl -lcrypto $(LIBS_common)

.PHONY: fuzz fuzz-programs
fuzz: deps
	@$(MAKE) --no-print-directory BUILD=build-fuzz CC=clang FUZZ_MAIN=-fsanitize=fuzzer \
		SAN='-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined -fno-omit-frame-pointer' fuzz-programs
	@for f in $(or $(FUZZ),$(FUZZ_TARGETS)); do echo "== $$f"; mkdir -p build-fuzz/corpus/$$f; \
		build-fuzz/tests/fuzz/$$f -max_len=4096 -artifact_prefix=build-fuzz/$$f- -print_final_stats=1 \
		$(if $(RUNS),-runs=$(RUNS),-max_total_time=$(or $(SECONDS),60)) \
		build-fuzz/corpus/$$f tests/fuzz/corpus/$$f 2>build-fuzz/$$f.log || { tail -n 40 build-fuzz/$$f.log; exit 1; }; \
		grep -E '^(Done|stat::number_of_executed_units)' build-fuzz/$$f.log; done

# Schemas of others, in SCHEMAS_DIR: how much of them can be electrified.
test-programs: $(BUILD)/tests/schemas/electrify
$(BUILD)/tests/schemas/electrify: $(BUILD)/tests/schemas/electrify.o $(UNDER_test_schema) $(SUPPORT) $(BUILD)/libleyden.a
	@echo "  LD    $@"; $(CC) $(LDFLAGS) -o $@ $^ -lwslay -lpq -lcrypto $(LIBS_test_schema) $(LIBS_common)

.PHONY: schemas
schemas: deps
	@$(MAKE) --no-print-directory compile test-programs
	@tests/schemas/run

# Benchmarks: every tests/bench/*.sh in turn, or the one that BENCH names. Each prints ratios of one run.
BENCHES := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/bench/*.c))

$(BENCHES): %: %.o $(SUPPORT) $(BUILD)/libleyden.a
	@echo "  LD    $@"; $(CC) $(LDFLAGS) -o $@ $^ -lwslay -lpq -lcrypto $(LIBS_common)

.PHONY: bench
bench: deps
	@$(MAKE) --no-print-directory compile $(BENCHES)
	@for b in $(or $(BENCH:%=tests/bench/%.sh),$(wildcard tests/bench/*.sh)); do echo "== $$b"; BUILD=$(BUILD) $$b || exit; done

# ---- install

BINDIR   := $(PREFIX)/bin
MANDIR   := $(PREFIX)/share/man
UNITDIR  := $(PREFIX)/lib/systemd/system
SHAREDIR := $(PREFIX)/share/leyden

MAN      := $(notdir $(wildcard man/*.[78]))
UNITS    := $(notdir $(wildcard scripts/systemd/*.service scripts/systemd/*.socket scripts/systemd/*.target))
DROP_INS := leyden.service.d leyden-.service.d
# What a supervisor runs names the tools' place.
PLACED   := sed 's|/usr/bin/|$(BINDIR)/|'

install: compile
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(MANDIR)/man7 $(DESTDIR)$(MANDIR)/man8 $(DROP_INS:%=$(DESTDIR)$(UNITDIR)/%) \
		$(DESTDIR)$(PREFIX)/lib/sysusers.d $(DESTDIR)$(PREFIX)/lib/tmpfiles.d $(DESTDIR)$(SHAREDIR)/config
	install -m 755 $(BINS) $(DESTDIR)$(BINDIR)
	@for page in $(MAN); do install -m 644 man/$$page $(DESTDIR)$(MANDIR)/man$${page##*.}/ || exit; done
	@for unit in $(UNITS); do $(PLACED) scripts/systemd/$$unit | install -m 644 /dev/stdin $(DESTDIR)$(UNITDIR)/$$unit || exit; done
	@for d in $(DROP_INS); do install -m 644 scripts/systemd/common.conf $(DESTDIR)$(UNITDIR)/$$d || exit; done
	install -m 644 scripts/systemd/tool.conf $(DESTDIR)$(UNITDIR)/leyden-.service.d
	install -m 644 scripts/systemd/leyden.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/leyden.conf
	install -m 644 scripts/systemd/leyden.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/leyden.conf
	install -m 644 scripts/config/*.env $(DESTDIR)$(SHAREDIR)/config
	install -m 644 scripts/grafana.json scripts/alerts.yml $(DESTDIR)$(SHAREDIR)
	@for service in $(TOOLS); do d=$(DESTDIR)$(SHAREDIR)/s6/$$service; install -d $$d && \
		echo 3 | install -m 644 /dev/stdin $$d/notification-fd && $(PLACED) scripts/s6/run | install -m 755 /dev/stdin $$d/run && \
		install -m 755 scripts/s6/finish $$d || exit; done

uninstall:
	rm -f $(TOOLS:%=$(DESTDIR)$(BINDIR)/%) $(foreach p,$(MAN),$(DESTDIR)$(MANDIR)/man$(patsubst .%,%,$(suffix $p))/$p) \
		$(UNITS:%=$(DESTDIR)$(UNITDIR)/%) $(DESTDIR)$(PREFIX)/lib/sysusers.d/leyden.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/leyden.conf
	rm -rf $(DROP_INS:%=$(DESTDIR)$(UNITDIR)/%) $(DESTDIR)$(SHAREDIR)

# The Debian package, in $(BUILD)/deb.
.PHONY: deb
deb:
	@wanted='$(BUILD_DEPS) debhelper lintian fakeroot'; $(INSTALL_WANTED)
	@scripts/deb $(VERSION) '$(subst $(space),$(comma) ,$(strip $(filter-out build-essential,$(BUILD_DEPS))))'

# What is installed where it is to run: the package in a Debian that systemd boots, the steps of the container file.
.PHONY: check-deploy
check-deploy: deps deb
	@wanted=debootstrap; $(INSTALL_WANTED)
	@for t in systemd container; do echo "== $$t"; BUILD=$(BUILD) tests/install/$$t.sh || failed=1; done; [ -z "$$failed" ]

# What depends on Postgres, on other VERSIONS of it than Debian's.
.PHONY: check-postgres
check-postgres: deps
	@$(MAKE) --no-print-directory compile test-programs
	@tests/postgres/run $(or $(VERSIONS),14 16 17)

# ---- watching over the code

C_FILES := $(wildcard lib/*.[ch] cmd/*/*.[ch] tests/*/*.[ch])

.PHONY: lint check-asan docker-build
lint: compile
	clang-format --dry-run --Werror $(C_FILES)
	cppcheck --quiet --std=c11 --enable=warning,portability,performance --error-exitcode=1 -Ilib -I$(BUILD)/gen lib cmd
	@for f in lib/*.c cmd/*/*.c; do clang-tidy --quiet --warnings-as-errors='*' $$f -- \
		$(filter-out -Werror -fPIE $(SAN),$(CFLAGS)) $(CPPFLAGS) -I$$(dirname $$f) 2>/dev/null || exit 1; done
	@BUILD=$(BUILD) tests/docs/pages.sh

# gcc's check of printf formats errs where the sanitizers look on.
check-asan:
	@$(MAKE) --no-print-directory BUILD=build-asan SAN='-fsanitize=address,undefined -fno-omit-frame-pointer -Wno-error=format-truncation' \
		compile test-programs
	@BUILD=build-asan LEYDEN_BIN=$(CURDIR)/build-asan/bin/leyden scripts/check

docker-build:
	docker build -t leyden -f scripts/Containerfile .
