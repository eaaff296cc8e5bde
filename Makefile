# Leyden: build, test, run. The targets are the outside of the house; `make help` lists them.

VERSION := 0.1.0
TOOLS   := leyden pg-ingest pg-snapshot pg-publish log-store ws-gateway auth-check http-api
TOOLS   := $(foreach t,$(TOOLS),$(if $(wildcard cmd/$t/main.c),$t))

DEPS := build-essential pkg-config libpq-dev libprotobuf-c-dev protobuf-c-compiler libwslay-dev libjwt-dev \
	liblmdb-dev libev-dev check libjansson-dev libzip-dev libxxhash-dev libssl-dev libpg-query-dev \
	libmicrohttpd-dev libhttp-parser-dev libsqlite3-dev postgresql-15 postgresql-client-15 \
	nodejs npm python3 clang clang-format clang-tidy cppcheck mandoc zip

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
LIBS_common      := -lev -lprotobuf-c -ljansson
LIBS_leyden      := -lpq
LIBS_pg-ingest   := -lpq -lpg_query -lxxhash
LIBS_pg-snapshot := -lpq
LIBS_pg-publish  := -lpq
LIBS_log-store   := -llmdb -lxxhash
LIBS_ws-gateway  := -lwslay -lhttp_parser -lcrypto
LIBS_auth-check  := -ljwt -lcrypto
LIBS_http-api    := -lmicrohttpd -lzip -lcrypto

GEN      := $(BUILD)/gen/satellite.pb-c.c $(BUILD)/gen/pipeline.pb-c.c
GEN_H    := $(GEN:.c=.h)
LIB_OBJS := $(patsubst lib/%.c,$(BUILD)/lib/%.o,$(wildcard lib/*.c)) $(GEN:.c=.o)
BINS     := $(addprefix $(BUILD)/bin/,$(TOOLS))

.PHONY: all compile help
all compile: $(BINS)

help:
	@sed -n 's/^\.PHONY: [a-z_-]* *## /&/p' Makefile | sed 's/^\.PHONY: //; s/ ## /\t/' | sort | column -ts "$$(printf '\t')"

$(BUILD)/gen/%.pb-c.c $(BUILD)/gen/%.pb-c.h: proto/%.proto
	@mkdir -p $(@D)
	@protoc-c --proto_path=proto --c_out=$(@D) $(<F)

# The SQL that pg-ingest installs, as one string: the files in the order of their names.
SQL := $(sort $(wildcard cmd/pg-ingest/sql/*.sql))
$(BUILD)/gen/schema_sql.c: $(SQL)
	@mkdir -p $(@D)
	@awk 'BEGIN { print "extern const char schema_sql[];\nconst char schema_sql[] =" } \
	     { gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); print "\"" $$0 "\\n\"" } END { print ";" }' $(SQL) > $@

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

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

.SECONDARY:
