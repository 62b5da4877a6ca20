# Shorthands; `just` without a word lists them. Nothing here is needed: each line is what one would type.

_list:
    @just --list --unsorted

# Everything a change must pass.
check:
    scripts/check

# Format, lints and tests alone.
quick:
    scripts/check --quick

# The server with the configuration beside it.
run *ARGS:
    cargo run --release --locked -- serve {{ ARGS }}

# The server against the built-in sandbox, with a sample account.
demo *ARGS:
    cargo run --release --locked -- demo {{ ARGS }}

# Ratios against a bare actix-web server; see bench/README.md.
bench *ARGS:
    bench/run {{ ARGS }}

# Weeks of renewals at three instances in so many minutes (30); fails unless what they hold stays flat.
soak *ARGS:
    bench/soak {{ ARGS }}
