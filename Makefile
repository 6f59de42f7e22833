# postfleet. `make demo` shows it, `make check` is the inner loop, `make test` is everything.
# Nothing is built or cached inside the checkout but bin/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

GO ?= go
export CGO_ENABLED ?= 0
export CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/postfleet
TOOLS := $(CACHE)/tools
# Named by its version and the compiler's: it refuses code that is newer than the Go that built it.
LINT := $(TOOLS)/golangci-lint-$(shell sed -n 's|.*golangci/golangci-lint/v2 \(v[0-9.]*\).*|\1|p' test/tools/lint/go.mod)-$(shell $(GO) env GOVERSION)
NFPM := $(TOOLS)/nfpm-$(shell sed -n 's|.*goreleaser/nfpm/v2 \(v[0-9.]*\).*|\1|p' test/tools/nfpm/go.mod)
SBOM := $(TOOLS)/cyclonedx-gomod-$(shell sed -n 's|.*CycloneDX/cyclonedx-gomod \(v[0-9.]*\).*|\1|p' test/tools/sbom/go.mod)
# A Consul server on PATH is used as it is (see test/lab).
CONSUL_BIN := $(or $(shell command -v consul),$(TOOLS)/consul)

VERSION ?= $(shell git describe --tags --match 'v*' --dirty 2>/dev/null | sed 's/^v//' | grep . || echo 0.0.0-dev)
# The same source gives the same bytes: no paths, no build id, no VCS stamp.
BUILD := -trimpath -buildvcs=false -ldflags '-s -w -buildid= -X main.version=$(VERSION)'
TOOL_BUILD := $(GO) build -trimpath -buildvcs=false -ldflags '-s -w'

FUZZTIME ?= 10m

.PHONY: build
build: ## build bin/postfleet
	$(GO) build $(BUILD) -o bin/postfleet ./cmd/postfleet

.PHONY: static
static: ## build bin/postfleet-static, which needs no C library; RSA by Go, at a third of libcrypto's speed
	$(GO) build $(BUILD) -tags static -o bin/postfleet-static ./cmd/postfleet

.PHONY: check
check: build vet lint ## the inner loop: build, vet, lint, unit tests
	$(GO) test $$(scripts/packages quick)

.PHONY: vet
vet:
	$(GO) vet ./...

.PHONY: lint
lint: $(LINT) ## golangci-lint, at the version of test/tools/lint
	$(LINT) run ./...

.PHONY: test
test: deps $(LINT) $(CONSUL_BIN) $(NFPM) $(SBOM) build ## every test there is, with its own set-up
	LINT=$(LINT) scripts/test

.PHONY: race
race: ## unit tests with the race detector
	CGO_ENABLED=1 $(GO) test -race $$(scripts/packages unit)

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10m)
	scripts/fuzz $(FUZZTIME)

.PHONY: acceptance
acceptance: $(CONSUL_BIN) build ## real Postfix, Consul, nodes and aggregator
	$(GO) test -count=1 -timeout 20m ./test/acceptance/...

.PHONY: ha
ha: $(CONSUL_BIN) ## load balancing and failover on hosts in network namespaces; prints the figures
	$(GO) test -count=1 -v -timeout 15m ./test/ha/...

.PHONY: browser
browser: build ## the pages in Chromium
	$(GO) test -count=1 -timeout 15m ./test/browser/...

.PHONY: hosts
hosts: $(CONSUL_BIN) $(NFPM) $(SBOM) ## bare Debian hosts that boot, and the playbooks and packages on them
	$(GO) test -count=1 -v -timeout 25m ./test/hosts/...

.PHONY: demo
demo: demo-deps build $(if $(CONSUL),$(CONSUL_BIN)) ## three Postfix nodes and the page, until Ctrl-C; CONSUL=1 with a Consul server
	$(GO) build -buildvcs=false -o bin/demo ./test/demo
	exec bin/demo -postfleet bin/postfleet $(if $(CONSUL),-consul) $(DEMOFLAGS)

.PHONY: packages
packages: $(NFPM) $(SBOM) ## dist/: .deb, .rpm and a static binary for amd64 and arm64, SBOM, checksums; signed with SIGNING_KEY
	VERSION=$(VERSION) NFPM=$(NFPM) SBOM=$(SBOM) scripts/build-packages

.PHONY: bench-quick
bench-quick: bench-deps build ## ratios to bare Postfix, OpenDKIM and rspamd, in under 5 minutes
	$(GO) run -buildvcs=false ./bench -postfleet bin/postfleet

.PHONY: deps demo-deps bench-deps
deps: ## Debian packages that the tests need
	scripts/apt-install postfix opendkim opendkim-tools python3-dkim chromium systemd systemd-journal-remote openssl gcc libc6-dev ca-certificates bind9 bind9-dnsutils haproxy dnsmasq-base unbound iproute2 nftables \
		lintian rpm rpmlint prometheus ansible-core ansible-lint yamllint systemd-container debootstrap dpkg-dev openssh-client binutils gnupg
demo-deps:
	scripts/apt-install postfix ca-certificates
bench-deps:
	scripts/apt-install postfix opendkim opendkim-tools rspamd

.PHONY: consul
consul: $(CONSUL_BIN) ## a Consul server for the tests, built once into the cache
$(TOOLS)/consul:
	@echo "building a Consul server for the tests: four to five minutes, once"
	mkdir -p $(TOOLS)
	cd test/tools/consul && CGO_ENABLED=0 $(TOOL_BUILD) -o $@ github.com/hashicorp/consul

$(LINT):
	mkdir -p $(TOOLS)
	cd test/tools/lint && CGO_ENABLED=0 $(TOOL_BUILD) -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(NFPM):
	mkdir -p $(TOOLS)
	cd test/tools/nfpm && CGO_ENABLED=0 $(TOOL_BUILD) -o $@ github.com/goreleaser/nfpm/v2/cmd/nfpm
$(SBOM):
	mkdir -p $(TOOLS)
	cd test/tools/sbom && CGO_ENABLED=0 $(TOOL_BUILD) -o $@ github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod

.PHONY: clean
clean: ## remove what make build and make packages made; the cache of tools stays
	rm -rf bin dist

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | column -t -s $$'\t'
