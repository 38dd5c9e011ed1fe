# Targets that have a "##" comment are listed by "make".

GO      ?= go
TOOLS   := $(CURDIR)/.tools
LINT    := $(TOOLS)/golangci-lint
GOFUMPT := $(TOOLS)/gofumpt
# What a run of all the tests may take, with room for two slow cores.
TIMEOUT ?= 40m

.DEFAULT_GOAL := help
.PHONY: help build demo test proof peers check fmt lint unit torture boot-test fuzz bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/dormouse, linked statically: machines of any distribution run it
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/dormouse ./cmd/dormouse

demo: ## run the demo: a build on an instance that is started for it
	$(GO) run ./cmd/dormouse demo

test: peers check unit points harm ## everything that has to pass: formatting, vet, lint, all tests, some harm

proof: peers ## all crash points, long torture on both stores, fuzzing: an hour or so, before a release
	$(GO) run ./internal/torture -points
	$(GO) run ./internal/torture -runs $(or $(RUNS),500)
	$(GO) run ./internal/torture -runs $(or $(RUNS),500) -store postgres
	$(MAKE) fuzz

# The real programs that some tests talk to. Where they are missing and may not
# be installed, those tests are left out, and said to be; with CI=true that is
# a failure.
peers:
	@sh internal/peers/install.sh

check: fmt lint

fmt: $(GOFUMPT) ## fail where gofumpt would change something
	@changed=$$(git ls-files -z '*.go' | xargs -0 $(GOFUMPT) -l) && \
	if [ -n "$$changed" ]; then echo "gofumpt would change:"; echo "$$changed"; exit 1; fi

lint: $(LINT) ## vet and lint
	$(GO) vet ./...
	$(LINT) run

unit: ## all tests, with the race detector
	$(GO) test -race -timeout $(TIMEOUT) ./...

torture: ## kill, cut and lie, and count what is lost: make torture RUNS=500 [STORE=postgres] [SEED=7]
	$(GO) run ./internal/torture -runs $(or $(RUNS),100) -store $(or $(STORE),sqlite) $(if $(SEED),-seed $(SEED))

boot-test: build ## boot real machines, and reset, kill, fill and cut them off (root, Debian): make boot-test [ONLY=flow,reset]
	$(GO) build -o bin/boottest ./internal/boottest
	bin/boottest -dormouse bin/dormouse $(if $(ONLY),-only $(ONLY)) $(if $(KEEP),-keep)

# One crash point before and one after each kind of write and call, drawn anew
# each time; proof goes through all of them.
.PHONY: points
points:
	$(GO) run ./internal/torture -points -spread

# As much torture as a minute holds, with other lots each time. What is missing
# where there is no PostgreSQL, peers has said.
.PHONY: harm
harm:
	$(GO) run ./internal/torture -runs 1000 -for 30s
	@set -- /usr/lib/postgresql/*/bin/initdb; if [ -x "$$1" ]; then set -x; \
	  $(GO) run ./internal/torture -runs 1000 -for 30s -store postgres; fi

fuzz: ## run each fuzz target for a while: make fuzz TIME=30s
	@for package in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz'); do \
	    echo "$$package $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(or $(TIME),30s) $$package || exit 1; \
	  done; done

bench: ## run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

clean: ## remove what was built here
	rm -rf bin .tools

# The tools have their own module, so that the product's dependencies are its
# own. They are built once, into .tools.
$(LINT): tools/go.mod tools/go.sum
	cd tools && $(GO) build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(GOFUMPT): tools/go.mod tools/go.sum
	cd tools && $(GO) build -o $@ mvdan.cc/gofumpt
