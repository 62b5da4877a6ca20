#!/usr/bin/env python3
"""Asks jsdkd for a credential and prints its value:  python3 clients/query.py [token|ticket|card_ticket]

JSDKD_URL=http://127.0.0.1:3030 JSDKD_APPID=wx… JSDKD_REALM=… JSDKD_SECRET=…   JSDKD_ALGORITHM=md5 signs as version 1.
Python 3.8 or later, standard library alone.
"""

import hashlib
import hmac
import json
import os
import secrets
import sys
import time
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import urlopen


def encode(text):
    """Percent-encodes everything but A-Z a-z 0-9 - . _ ~."""
    return quote(text, safe="")


def query(url, appid, realm, secret, key="token", algorithm="hmac-sha256"):
    address = f"{url.rstrip('/')}/jsapi/{encode(appid)}/query"
    nonce, ts = secrets.token_hex(16), str(int(time.time() * 1000))
    # The pairs in the order of their encoded names: that is what version 2 signs.
    pairs = f"key={encode(key)}&nonce={nonce}&realm={encode(realm)}&ts={ts}"
    if algorithm == "md5":
        sign = hashlib.md5(f"realm={realm}&nonce={nonce}&ts={ts}.{secret}".encode()).hexdigest()
    else:
        payload = "\n".join(["GET", urlsplit(address).path, pairs, hashlib.sha256(b"").hexdigest()])
        sign = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
    with urlopen(f"{address}?{pairs}&sign={sign}", timeout=15) as answer:
        return json.load(answer)["value"]


def main():
    names = ["JSDKD_URL", "JSDKD_APPID", "JSDKD_REALM", "JSDKD_SECRET"]
    key = sys.argv[1] if len(sys.argv) > 1 else "token"
    try:
        print(query(*(os.environ[name] for name in names), key, os.environ.get("JSDKD_ALGORITHM")))
    except HTTPError as refused:
        try:
            sys.exit(f"jsdkd: {json.load(refused)['detail']}")
        except (ValueError, KeyError):
            sys.exit(f"jsdkd: HTTP {refused.code}")
    except KeyError as missing:
        sys.exit(f"jsdkd: {missing} is not set")
    except URLError as failed:
        sys.exit(f"jsdkd: {failed.reason}")


if __name__ == "__main__":
    main()
