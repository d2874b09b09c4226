# Everything that people and CI do with this project. `make` alone says what there is.

PREFIX ?= /usr/local
BIN ?= bin
FUZZTIME ?= 5s

STATICCHECK_VERSION := v0.8.2
STATICCHECK := $(BIN)/tools/staticcheck-$(STATICCHECK_VERSION)
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# knockd is for Linux; the client is for every system.
PROGRAMS := knock
ifeq ($(shell go env GOOS),linux)
PROGRAMS += knockd
endif

# Commands that must be there, and the Debian packages that have them.
DEMO_TOOLS := iptables:iptables
# Debian's knock and knockd are asked for by their paths: ours have the same names.
TEST_TOOLS := $(DEMO_TOOLS) nft:nftables nmap:nmap mariadbd:mariadb-server mariadb:mariadb-client \
	/usr/sbin/knockd:knockd /usr/bin/knock:knockd sshd:openssh-server ssh:openssh-client zsh:zsh fish:fish \
	ping:iputils-ping systemd-analyze:systemd setpriv:util-linux gcc:gcc \
	ufw:ufw firewalld:firewalld dbus-daemon:dbus-daemon fail2ban-server:fail2ban

# The folders of system tools are not on everybody's PATH.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

.PHONY: help build build-all demo test fuzz check vuln install clean demo-tools test-tools

help: ## say what there is (the default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build knockd and knock into bin/
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -o $(BIN)/ $(PROGRAMS:%=./cmd/%)

build-all: ## build the client for Linux, macOS and Windows into dist/
	@for os in linux darwin windows; do for arch in amd64 arm64; do \
		ext=; test $$os != windows || ext=.exe; \
		GOOS=$$os GOARCH=$$arch CGO_ENABLED=0 go build -trimpath -buildvcs=false -o dist/knock-$$os-$$arch$$ext ./cmd/knock || exit 1; \
	done; done

demo: demo-tools build ## watch a closed port open, in a throw-away sandbox
	@$(BIN)/knockd demo

test: test-tools ## run every test with the race detector, then fuzz for a moment
	CGO_ENABLED=1 go test -race -timeout 9m ./...
	@$(MAKE) --no-print-directory fuzz

# Each fuzz target of each package, found by its name: a new one cannot be forgotten.
fuzz: ## fuzz every parser for FUZZTIME (5s)
	@found=0; for file in $$(grep -rl --include='*_test.go' '^func Fuzz' .); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' $$file); do \
			found=1; echo "fuzz $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$(dirname $$file) || exit 1; \
		done; \
	done; test $$found = 1 || { echo "there is no fuzz target" >&2; exit 1; }

check: $(STATICCHECK) ## look for mistakes without running anything
	@unformatted=$$(gofmt -l bench cmd client internal packaging protocol server); \
		test -z "$$unformatted" || { echo "gofmt -w these: $$unformatted" >&2; exit 1; }
	go vet ./...
	GOOS=darwin go vet ./client/... ./cmd/knock
	GOOS=windows go vet ./client/... ./cmd/knock
	$(STATICCHECK) ./...
	go mod tidy -diff
	@! grep -rnwE --include='*.go' --include='*.md' --include='*.toml' --include='*.txtar' \
		'TODO|FIXME|XXX' . || { echo "finish these, or make issues of them" >&2; exit 1; }

$(STATICCHECK):
	@mkdir -p $(@D)
	GOBIN=$(abspath $(@D)) go install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)
	@mv $(@D)/staticcheck $@

vuln: ## look for known holes in what we use (asks the network)
	go run $(GOVULNCHECK) ./...

# It builds nothing: root's PATH often has no Go.
install: ## copy the programs of `make build` to PREFIX/bin (/usr/local)
	@for program in $(PROGRAMS); do \
		test -x $(BIN)/$$program || { echo "$(BIN)/$$program is missing: run make build first" >&2; exit 1; }; \
	done
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(PROGRAMS:%=$(BIN)/%) $(DESTDIR)$(PREFIX)/bin/

clean: ## remove what was built
	rm -rf $(BIN) dist

demo-tools:
	@$(call need,$(DEMO_TOOLS))

test-tools:
	@$(call need,$(TEST_TOOLS))

# need installs the packages of missing commands, where that is possible. A package
# may bring a service that would start at once: while policy-rc.d is there, none does.
# Nor is a service of its name to start at the next boot: it may be a firewall.
define need
missing=; \
for tool in $(1); do \
	command -v $${tool%%:*} > /dev/null || missing="$$missing $${tool##*:}"; \
done; \
case " $(1) " in *" gcc:"*) \
	echo '#include <stdlib.h>' | gcc -E - > /dev/null 2>&1 || missing="$$missing libc6-dev";; \
esac; \
test -n "$$missing" || exit 0; \
if test "$$(id -u)" != 0 || ! command -v apt-get > /dev/null; then \
	echo "missing: install these packages (named as in Debian):$$missing" >&2; \
	exit 1; \
fi; \
echo "installing$$missing"; \
if ! test -e /usr/sbin/policy-rc.d; then \
	trap 'rm -f /usr/sbin/policy-rc.d' EXIT INT TERM; \
	printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d; \
	chmod 755 /usr/sbin/policy-rc.d; \
fi; \
export DEBIAN_FRONTEND=noninteractive; \
apt-get update -qq < /dev/null && \
apt-get install -y -qq --no-install-recommends $$missing < /dev/null && \
for package in $$missing; do \
	! command -v systemctl > /dev/null || systemctl disable --quiet $$package 2> /dev/null || true; \
done
endef

# What the benchmark compares us with, beside the tools of the tests. A program that
# is not there is "not measured".
BENCH_TOOLS := iptables:iptables nft:nftables knock:knockd fwknopd:fwknop-server fwknop:fwknop-client

.PHONY: bench
bench: ## measure everything and write docs/performance.md (root, six to ten minutes)
	@$(call need,$(BENCH_TOOLS))
	go run ./bench
