# shellcheck shell=bash
# What bench/run and bench/soak share: programs that are installed when missing, processes that end with the script, free ports. Sourced,
# with `set -euo pipefail`.

fail() {
    echo "bench/${0##*/}: $*" >&2
    exit 1
}

need() {
    PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null && return
    command -v apt-get >/dev/null || fail "$1 is missing (Debian: $2)"
    echo "installing $2"
    if [[ $(id -u) == 0 ]]; then set -- "$1" "$2"; else set -- "$1" "$2" sudo -n; fi
    ${3:+sudo -n} env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "$2" >/dev/null
}
work=$(mktemp -d) started=()
finish() {
    if ((${#started[@]})); then kill "${started[@]}" 2>/dev/null || true; fi
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM
export RUST_LOG=error

# start CORE COMMAND...: leaves the process id in $pid.
start() {
    taskset -c "$1" "${@:2}" >>"$work/log" 2>&1 &
    pid=$!
    started+=("$pid")
}

stop() {
    kill "$1"
    wait "$1" 2>/dev/null || true
}

# free_port: a port that nobody listens on, never the same twice.
last_port=$((20000 + RANDOM % 10000))
free_port() {
    until last_port=$((last_port + 1)) && ! (: <"/dev/tcp/127.0.0.1/$last_port") 2>/dev/null; do :; done
    port=$last_port
}

# await URL: until it answers at all.
await() {
    local end=$((SECONDS + 15))
    until curl -s -o "$work/answer" "$1"; do
        ((SECONDS < end)) || fail "$1 never answered: $(tail -3 "$work/log")"
        sleep 0.02
    done
}
