#!/usr/bin/env bash
# Asks jsdkd for a credential with curl and prints its value:  clients/query.sh [token|ticket|card_ticket]
#   JSDKD_URL=http://127.0.0.1:3030 JSDKD_APPID=wx… JSDKD_REALM=… JSDKD_SECRET=…   JSDKD_ALGORITHM=md5 signs as version 1.
# Neither the secret nor the signed address is ever an argument of a command, where `ps` would show it.
set -euo pipefail
LC_ALL=C # One character is one byte below.

# Percent-encodes everything but A-Z a-z 0-9 - . _ ~.
encode() {
    local char out='' i
    for ((i = 0; i < ${#1}; i++)); do
        char=${1:i:1}
        case $char in [A-Za-z0-9._~-]) out+=$char ;; *) printf -v out '%s%%%02X' "$out" "$((($(printf %d "'$char") + 256) % 256))" ;; esac
    done
    printf %s "$out"
}

hex() { od -An -v -tx1 | tr -d ' \n'; }
unhex() { printf '%b' "$(sed 's/../\\x&/g')"; }
sha256() { sha256sum | cut -c1-64; }

# HMAC-SHA256 of stdin under the key $1, by its definition in RFC 2104.
hmac_sha256() {
    local key inner='' outer='' byte i
    key=$(printf %s "$1" | hex)
    if ((${#key} > 128)); then key=$(printf %s "$1" | sha256); fi
    while ((${#key} < 128)); do key+=00; done
    for ((i = 0; i < 128; i += 2)); do
        byte=$((16#${key:i:2}))
        printf -v inner '%s%02x' "$inner" $((byte ^ 0x36))
        printf -v outer '%s%02x' "$outer" $((byte ^ 0x5c))
    done
    inner=$({ unhex <<<"$inner" && cat; } | sha256)
    unhex <<<"$outer$inner" | sha256
}

query() { # KEY
    local url=${JSDKD_URL%/} host path pairs nonce ts sign answer status
    url+=/jsapi/$(encode "$JSDKD_APPID")/query
    host=${url#*://}
    path=/${host#*/}
    nonce=$(head -c 16 /dev/urandom | hex)
    ts=$(date +%s)000
    # The pairs in the order of their encoded names: that is what version 2 signs.
    pairs="key=$(encode "$1")&nonce=$nonce&realm=$(encode "$JSDKD_REALM")&ts=$ts"
    if [[ ${JSDKD_ALGORITHM:-} == md5 ]]; then
        sign=$(printf 'realm=%s&nonce=%s&ts=%s.%s' "$JSDKD_REALM" "$nonce" "$ts" "$JSDKD_SECRET" | md5sum | cut -c1-32)
    else
        sign=$(printf 'GET\n%s\n%s\n%s' "$path" "$pairs" "$(sha256 </dev/null)" | hmac_sha256 "$JSDKD_SECRET")
    fi
    answer=$(curl -sS --max-time 15 -w '\n%{http_code}' -K - <<<"url = \"$url?$pairs&sign=$sign\"")
    status=${answer##*$'\n'}
    if [[ $status != 200 ]]; then
        sed -n 's/.*"detail": *"\(\([^"\\]\|\\.\)*\)".*/jsdkd: \1/p; $s/^/jsdkd: HTTP /p' <<<"$answer" >&2
        return 1
    fi
    sed -n 's/.*"value": *"\([^"]*\)".*/\1/p' <<<"$answer"
}

: "${JSDKD_URL:?}" "${JSDKD_APPID:?}" "${JSDKD_REALM:?}" "${JSDKD_SECRET:?}"
query "${1:-token}"
