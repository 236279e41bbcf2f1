# What the tests need besides cargo: the foreign clients, each pinned, all under .cache/.

PYTHON ?= python3
TEST_CACHE := .cache
TEST_VENV := $(TEST_CACHE)/venv
CLIENTS := tests/clients

.PHONY: test-deps
test-deps: $(TEST_CACHE)/venv.done $(TEST_CACHE)/node.done $(TEST_CACHE)/sarama_client java-deps streams-deps conformance-deps kafka-deps tools-deps mirror-deps
	@command -v kcat >/dev/null || { echo "kcat is missing: apt-get install kcat" >&2; exit 1; }

$(TEST_CACHE)/venv.done: $(CLIENTS)/python/requirements.txt
	@mkdir -p $(TEST_CACHE)
	$(PYTHON) -m venv $(TEST_VENV)
	$(TEST_VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# npm looks for node_modules upwards from the program, so the program is installed beside it.
$(TEST_CACHE)/node.done: $(CLIENTS)/node/package-lock.json $(CLIENTS)/node/kafkajs_client.js
	@mkdir -p $(TEST_CACHE)/node
	cp $(CLIENTS)/node/package.json $(CLIENTS)/node/package-lock.json $(CLIENTS)/node/kafkajs_client.js $(TEST_CACHE)/node/
	cd $(TEST_CACHE)/node && npm ci --silent --no-audit --no-fund
	@touch $@

# Debian's sarama is found through GOPATH; its zstd binding warns about a deprecated call.
$(TEST_CACHE)/sarama_client: $(wildcard $(CLIENTS)/go/sarama_client/*.go)
	@mkdir -p $(TEST_CACHE)
	@[ -d /usr/share/gocode/src/github.com/Shopify/sarama ] || \
		{ echo "sarama is missing: apt-get install golang-github-shopify-sarama-dev" >&2; exit 1; }
	cd $(CLIENTS)/go/sarama_client && GOFLAGS= GO111MODULE=off GOPATH=/usr/share/gocode CGO_CFLAGS=-Wno-deprecated-declarations \
		go build -o $(CURDIR)/$@ .

# Times that the tests with faults run longer than in `make test`; at most 255.
LONGER ?= 10

.PHONY: test-long
test-long: test-deps ## Exactly-once and compaction under a broker that is killed, for many minutes
	$(CARGO) build $(PROFILE) $(WORKSPACE) --all-targets
	LOCKGATE_LONGER=$(LONGER) $(CARGO) test $(PROFILE) $(WORKSPACE) --test transactions --test compaction -- --nocapture

# The lifecycle takes all ways to the cluster in `make test`; here every step does.
.PHONY: provider-access
provider-access:
	$(CARGO) build $(PROFILE) $(WORKSPACE) --bins
	for access in password certificate tunnel; do \
		LOCKGATE_ACCESS=$$access $(CARGO) test $(PROFILE) $(WORKSPACE) --test provider || exit 1; \
	done

.PHONY: provider-size
provider-size: ## The Terraform provider with 10,000 topics and ACLs, beside terraform_data; SIZE="1000 10" for a quick look
	$(CARGO) build $(PROFILE) $(WORKSPACE) --bins
	target/release/provider-size $(SIZE)

# Seconds for each fuzz target.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := request record_batch records group_records txn_records catalog_record sasl oauthbearer store_files

.PHONY: fuzz
fuzz:
	@command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
	for target in $(FUZZ_TARGETS); do \
		cargo +nightly fuzz run --fuzz-dir fuzz $$target -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 -max_len=4096 || exit 1; \
	done

# The suites of other projects, fetched by name and pinned version, built where they lie.
SUITES := $(TEST_CACHE)/conformance
SUITE_FILES := tests/conformance
KAFKA_PYTHON_VERSION := 3.0.12

.PHONY: conformance
conformance: conformance-deps ## Foreign test suites against the broker, compared with what is listed
	$(CARGO) build $(PROFILE) $(WORKSPACE) --bins
	target/release/conformance

.PHONY: conformance-write
conformance-write: conformance-deps ## The same, and the outcomes go into the lists
	$(CARGO) build $(PROFILE) $(WORKSPACE) --bins
	target/release/conformance --write

.PHONY: conformance-deps
conformance-deps: $(SUITES)/librdkafka.done $(SUITES)/kafka-python.done

# librdkafka with its tests is inside the crate rdkafka-sys. Kerberos and OpenID Connect are not part of what is judged.
$(SUITES)/librdkafka.done: $(SUITE_FILES)/librdkafka/Cargo.lock
	@mkdir -p $(SUITES)
	cd $(SUITE_FILES)/librdkafka && $(CARGO) vendor --locked --quiet $(CURDIR)/$(SUITES)/crates >/dev/null
	cd $(SUITES)/crates/rdkafka-sys/librdkafka && { ./configure --disable-gssapi --disable-curl && \
		$(MAKE) -j2 libs && $(MAKE) -C tests -j2 test-runner; } >$(CURDIR)/$(SUITES)/librdkafka.log 2>&1 || \
		{ tail -n 20 $(CURDIR)/$(SUITES)/librdkafka.log >&2; exit 1; }
	@touch $@

# The source distribution leaves out two files of its tests' package; ours stand in for them.
$(SUITES)/kafka-python.done: $(wildcard $(SUITE_FILES)/kafka-python/*)
	@mkdir -p $(SUITES)
	rm -rf $(SUITES)/kafka-python $(SUITES)/venv
	$(PYTHON) -m venv $(SUITES)/venv
	$(SUITES)/venv/bin/pip install --quiet --disable-pip-version-check -r $(SUITE_FILES)/kafka-python/requirements.txt
	$(SUITES)/venv/bin/pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
		--dest $(SUITES) kafka-python==$(KAFKA_PYTHON_VERSION)
	tar -xzf $(SUITES)/kafka_python-$(KAFKA_PYTHON_VERSION).tar.gz -C $(SUITES)
	mv $(SUITES)/kafka_python-$(KAFKA_PYTHON_VERSION) $(SUITES)/kafka-python
	cp $(SUITE_FILES)/kafka-python/service.py $(SUITES)/kafka-python/test/
	touch $(SUITES)/kafka-python/test/__init__.py
	@touch $@

# Apache Kafka, to compare with. Maven is on the machine or comes with `scripts/requirements test`.
KAFKA := $(TEST_CACHE)/kafka

.PHONY: kafka-deps
kafka-deps: $(KAFKA)/server.done

$(KAFKA)/server.done: tests/kafka/pom.xml
	@mkdir -p $(KAFKA)
	mvn --quiet --batch-mode --file $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(KAFKA)/server
	@touch $@

# Its MirrorMaker 2, which has a client of its own version.
MIRROR := $(TEST_CACHE)/mirror

.PHONY: mirror-deps
mirror-deps: $(MIRROR)/done

$(MIRROR)/done: tests/mirror/pom.xml
	@mkdir -p $(MIRROR)
	mvn --quiet --batch-mode --file $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(MIRROR)/lib
	@touch $@

# Kafka's command line tools, and a program that runs many of them in one JVM.
TOOLS := $(TEST_CACHE)/tools

.PHONY: tools-deps
tools-deps: $(TOOLS)/done

$(TOOLS)/done: $(CLIENTS)/tools/src/Tools.java $(CLIENTS)/tools/pom.xml
	@mkdir -p $(TOOLS)
	mvn --quiet --batch-mode --file $(CLIENTS)/tools/pom.xml dependency:copy-dependencies \
		-DoutputDirectory=$(CURDIR)/$(TOOLS)/lib
	javac -nowarn --release 17 -cp '$(TOOLS)/lib/*' -d $(TOOLS)/classes $(CLIENTS)/tools/src/*.java
	@touch $@

.PHONY: tools
tools: kafka-deps tools-deps ## Kafka's command line tools on Apache Kafka and on the broker, what they print compared
	$(CARGO) build $(PROFILE) $(WORKSPACE) --bins
	target/release/tools

.PHONY: conformance-kafka
conformance-kafka: differential tools ## All comparisons with Apache Kafka: requests, tools, and the same attack on both
	$(CARGO) test $(PROFILE) $(WORKSPACE) --test claims -- --include-ignored --nocapture

# The load generator of librdkafka, which is built for its tests anyway.
RDKAFKA_PERFORMANCE := $(SUITES)/crates/rdkafka-sys/librdkafka/examples/rdkafka_performance

$(RDKAFKA_PERFORMANCE): $(SUITES)/librdkafka.done
	$(MAKE) -C $(@D) $(@F) >/dev/null

.PHONY: bench-kafka
bench-kafka: kafka-deps tools-deps $(RDKAFKA_PERFORMANCE) ## Apache Kafka and the broker side by side, as a table; MIB=256 for a quick look, WORKLOADS="produce-tls java" with it for some
	$(CARGO) build $(PROFILE) $(WORKSPACE) --bins
	target/release/bench-kafka $(MIB) $(WORKLOADS)

.PHONY: bench-kafka-write
bench-kafka-write: kafka-deps tools-deps $(RDKAFKA_PERFORMANCE) ## The same, and the table and the picture go into the docs
	$(CARGO) build $(PROFILE) $(WORKSPACE) --bins
	target/release/bench-kafka --write $(MIB)

.PHONY: differential
differential: kafka-deps ## The same requests to Apache Kafka and to the broker, answers compared field by field
	$(CARGO) build $(PROFILE) $(WORKSPACE) --bins
	target/release/differential

# Kafka's own Java client in three versions, and the same programs on each.
JAVA := $(TEST_CACHE)/java
JAVA_VERSIONS := 4.4.0 3.9.1 2.8.2

.PHONY: java-deps
java-deps: $(JAVA_VERSIONS:%=$(JAVA)/%.done)

$(JAVA)/%.done: $(wildcard $(CLIENTS)/java/src/*.java) $(CLIENTS)/java/pom.xml
	@mkdir -p $(JAVA)/$*
	mvn --quiet --batch-mode --file $(CLIENTS)/java/pom.xml -Dkafka.version=$* dependency:copy-dependencies \
		-DoutputDirectory=$(CURDIR)/$(JAVA)/$*/lib
	javac -nowarn -Xlint:-options --release 11 -cp '$(JAVA)/$*/lib/*' -d $(JAVA)/$*/classes $(CLIENTS)/java/src/*.java
	@touch $@

# Kafka Streams, which wants a client of its own version.
STREAMS := $(TEST_CACHE)/streams

.PHONY: streams-deps
streams-deps: $(STREAMS)/done

$(STREAMS)/done: $(wildcard $(CLIENTS)/streams/src/*.java) $(CLIENTS)/streams/pom.xml
	@mkdir -p $(STREAMS)
	mvn --quiet --batch-mode --file $(CLIENTS)/streams/pom.xml dependency:copy-dependencies \
		-DoutputDirectory=$(CURDIR)/$(STREAMS)/lib
	javac -nowarn --release 17 -cp '$(STREAMS)/lib/*' -d $(STREAMS)/classes $(CLIENTS)/streams/src/*.java
	@touch $@
