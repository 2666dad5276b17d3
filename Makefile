# Everything a newcomer runs. Each target says what it does and asks nothing.

.PHONY: demo attack attack-log test test-long commitments bench bench-training bench-training-scale bench-serving soak

# From nothing to a running server with real data: build, load, train, query, verify. KEEP=1 leaves the server running.
demo:
	@scripts/demo

# Eight attacks, live: six on the demo, two on people who sign in. What refuses each, which promise that keeps, where it stands in the log.
attack:
	@scripts/attack

# Every manipulation of the audit log that we know, on copies of a real server's: what three verifiers say to each.
attack-log:
	@scripts/attack-log

# Every check that a change has to pass; the same file that CI runs.
test:
	@bash .ci/run

# Hours rather than minutes: more seeds, more cases, more rows.
test-long:
	@scripts/test-long

# Which promises this build proves: runs the tests that each names, attacks among them.
commitments:
	@scripts/commitments

# Speeds and sizes, printed. Nothing fails for being slow.
bench:
	@scripts/bench

# Training sets against Polars, pandas, DuckDB and Feast, as ratios; target/bench/training.json keeps them.
bench-training:
	@scripts/bench-training

# Training sets of 10 million rows over 50 million facts, within a limit of memory; DIVIDE=10 makes it smaller.
bench-training-scale:
	@scripts/bench-training-scale

# Online queries over TLS against a handler that does nothing, nginx and Feast with Redis, as ratios; target/bench/serving.json keeps them.
bench-serving:
	@scripts/bench-serving

# A quarter of an hour of loads, questions, deploys, killed workers and a killed server against a slow oracle. SECONDS_LONG=900.
soak:
	@scripts/soak
