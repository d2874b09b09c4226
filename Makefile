# Everything that people and CI do with this project. `make` alone says what there is.

PREFIX ?= /usr/local
BIN ?= bin
DIST ?= dist
# A number of inputs: a time ends now and then in "context deadline exceeded" (go.dev/issue/75804).
FUZZTIME ?= 10000x

# What the packages are called; the programs say the same.
VERSION ?= $(shell sed -n 's/^var Version = "\(.*\)"$$/\1/p' internal/command/version.go)

STATICCHECK_VERSION := v0.8.2
STATICCHECK := $(BIN)/tools/staticcheck-$(STATICCHECK_VERSION)
NFPM_VERSION := v2.45.2
NFPM := $(BIN)/tools/nfpm-$(NFPM_VERSION)
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

# knockd is for Linux; the client is for every system. go is not asked: root's PATH often
# has none.
PROGRAMS := knock
ifeq ($(or $(GOOS),$(shell uname -s | tr A-Z a-z)),linux)
PROGRAMS += knockd
HELPERS := knockd-fleet
endif

# "0" for root, else nothing.
ROOT := $(filter 0,$(shell id -u))

# The test of xt_recent as a module boots a kernel of its own where this is set.
VM := $(if $(ROOT),$(filter x86_64,$(shell uname -m)))

# Commands that must be there, and the Debian packages that have them.
DEMO_TOOLS := iptables:iptables
# Debian's knock and knockd are asked for by their paths: ours have the same names.
TEST_TOOLS := $(DEMO_TOOLS) nft:nftables nmap:nmap mariadbd:mariadb-server mariadb:mariadb-client \
	/usr/sbin/knockd:knockd /usr/bin/knock:knockd sshd:openssh-server ssh:openssh-client zsh:zsh fish:fish /usr/share/bash-completion/bash_completion:bash-completion \
	ping:iputils-ping systemd-analyze:systemd setpriv:util-linux gcc:gcc strace:strace /usr/bin/time:time \
	python3:python3 autossh:autossh jq:jq ss:iproute2 ufw:ufw firewalld:firewalld dbus-daemon:dbus-daemon fail2ban-server:fail2ban \
	lintian:lintian rpm:rpm man:man-db systemd-nspawn:systemd-container $(if $(ROOT),debootstrap:debootstrap) \
	$(if $(VM),qemu-system-x86_64:qemu-system-x86 busybox:busybox-static modprobe:kmod cpio:cpio)

# The folders of system tools are not on everybody's PATH.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

.PHONY: help build build-all package demo test fuzz check vuln install uninstall clean demo-tools test-tools

help: ## say what there is (the default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build knockd and knock into bin/, with manual pages and completions, and what knockd starts
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "$(GO_LDFLAGS)" -o $(BIN)/ $(PROGRAMS:%=./cmd/%) $(HELPERS:%=./cmd/%)
	@GO_LDFLAGS="$(GO_LDFLAGS)" sh packaging/share.sh $(BIN) $(PROGRAMS)

build-all: ## build the client for Linux, macOS and Windows into dist/
	@for os in linux darwin windows; do for arch in amd64 arm64; do \
		ext=; test $$os != windows || ext=.exe; \
		GOOS=$$os GOARCH=$$arch CGO_ENABLED=0 go build -trimpath -buildvcs=false -o $(DIST)/knock-$$os-$$arch$$ext ./cmd/knock || exit 1; \
	done; done

package: $(NFPM) ## build the Debian and the RPM package into dist/
	@NFPM=$(NFPM) VERSION=$(VERSION) sh packaging/build.sh $(DIST)

demo: demo-tools build ## watch a closed port open, in a throw-away sandbox
	@$(BIN)/knockd demo

test: test-tools ## run every test with the race detector, then fuzz for a moment
	CGO_ENABLED=1 go test -race -timeout 40m -p 3 $(LONGEST) ./...
	@$(MAKE) --no-print-directory fuzz

# The packages whose tests take longest begin, so that none of them is what all wait for. Many
# wait for the kernel's time: so there is one more at once than a small machine has processors.
LONGEST := ./server ./cmd/knockd

# Each fuzz target of each package, found by its name: a new one cannot be forgotten.
fuzz: ## fuzz every parser with FUZZTIME inputs (10000x)
	@found=0; for file in $$(grep -rl --include='*_test.go' '^func Fuzz' .); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' $$file); do \
			found=1; echo "fuzz $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1000x $$(dirname $$file) || exit 1; \
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

$(NFPM):
	@mkdir -p $(@D)
	GOBIN=$(abspath $(@D)) go install github.com/goreleaser/nfpm/v2/cmd/nfpm@$(NFPM_VERSION)
	@mv $(@D)/nfpm $@

vuln: ## look for known holes in what we use (asks the network)
	go run $(GOVULNCHECK) ./...

# It builds nothing, and needs no Go.
install: ## copy what `make build` made, and the systemd unit, to PREFIX (/usr/local)
	@BIN="$(BIN)" DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" FORCE="$(FORCE)" sh packaging/install.sh install $(PROGRAMS)

uninstall: ## remove what `make install` has put there
	@BIN="$(BIN)" DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" sh packaging/install.sh uninstall $(PROGRAMS)

clean: ## remove what was built
	rm -rf $(BIN) $(DIST)

demo-tools:
	@$(call need,$(DEMO_TOOLS))

# What takes time to make is made side by side: the one computes, the other downloads.
test-tools:
	@$(call need,$(TEST_TOOLS))
	@$(MAKE) --no-print-directory -j2 $(NFPM) $(if $(ROOT),$(DEBIAN)) $(if $(VM),$(KERNEL))

# A whole Debian for the tests of the packages and of the README, made once, and again when
# the list changes: this machine's release, from where this machine has it. Among its
# packages is the one that ours clashes with; a person there needs the last line.
DEBIAN := $(BIN)/debian.tar
DEBIAN_PACKAGES := iptables,nftables,knockd,systemd,$\
	sudo,make,openssh-server,openssh-client

# The list, written when it is not what is there.
$(DEBIAN).packages: FORCE
	@mkdir -p $(@D); echo '$(DEBIAN_PACKAGES)' | cmp -s - $@ || echo '$(DEBIAN_PACKAGES)' > $@

FORCE:

$(DEBIAN): $(DEBIAN).packages
	@echo "making $@"
	@set -e; tree=$$(mktemp -d); trap 'rm -rf --one-file-system "$$tree"' EXIT; \
	release=$$(. /etc/os-release; echo "$$VERSION_CODENAME"); \
	mirror=$$(apt-get indextargets --format '$$(REPO_URI)' \
		'Created-By: Packages' 'Origin: Debian' 'Component: main' "Codename: $$release" | head -n 1); \
	chmod 755 "$$tree"; mkdir -p "$$tree/etc/dpkg/dpkg.cfg.d"; \
	echo force-unsafe-io > "$$tree/etc/dpkg/dpkg.cfg.d/unsafe-io"; \
	debootstrap --variant=minbase --include=$(DEBIAN_PACKAGES) "$$release" "$$tree" "$$mirror" > $@.log 2>&1 || \
		{ tail -n 20 $@.log >&2; exit 1; }; \
	tar -C "$$tree" --exclude ./var/cache/apt --exclude ./var/lib/apt/lists --exclude './usr/share/doc/*' \
		--exclude './usr/share/locale/*' --exclude './usr/share/zoneinfo/*' -cf $@.new .; \
	mv $@.new $@

# A kernel of Debian's, which is not installed: in it, xt_recent is a module.
KERNEL := $(BIN)/kernel.deb
KERNEL_PACKAGE := linux-image-cloud-amd64

$(KERNEL):
	@echo "making $@"
	@set -e; mkdir -p $(@D); dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	apt-cache show $(KERNEL_PACKAGE) > /dev/null 2>&1 || apt-get update -qq < /dev/null; \
	package=$$(apt-cache depends $(KERNEL_PACKAGE) | sed -n 's/^ *Depends: *//p'); \
	(cd "$$dir" && apt-get -o APT::Sandbox::User=root download -qq "$$package" > /dev/null); \
	mv "$$dir"/*.deb $@

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
BENCH_TOOLS := iptables:iptables nft:nftables /usr/bin/time:time knock:knockd fwknopd:fwknop-server fwknop:fwknop-client

.PHONY: bench
bench: ## measure everything and write docs/performance.md (root, ten to fifteen minutes)
	@$(call need,$(BENCH_TOOLS))
	go run ./bench
