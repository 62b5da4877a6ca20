"""Answers the questions of wechatpy.rs with wechatpy: a JSON array of them on standard input, one of answers on standard output."""

import json
import sys

import xmltodict
from wechatpy import parse_message
from wechatpy.crypto import WeChatCrypto
from wechatpy.replies import deserialize_reply


def crypto(question):
    return WeChatCrypto(question["token"], question["key"], question["app"])


def seal(question):
    return crypto(question).encrypt_message(question["text"], question["nonce"], question["timestamp"])


def unseal(question):
    return crypto(question).decrypt_message(
        question["xml"], question["signature"], question["timestamp"], question["nonce"]
    )


def message(question):
    parsed = parse_message(question["xml"])
    return {name: plain(getattr(parsed, name)) for name in question["names"]}


def reply(question):
    parsed = deserialize_reply(question["xml"])
    return {name: plain(getattr(parsed, name)) for name in question["names"]}


def tree(question):
    return plain(xmltodict.parse(question["xml"], strip_whitespace=False)["xml"])


def plain(value):
    """What an empty element is to xmltodict is an empty text to us."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return "" if value is None else value


ANSWERS = {"seal": seal, "unseal": unseal, "message": message, "reply": reply, "tree": tree}

json.dump([ANSWERS[question["ask"]](question) for question in json.load(sys.stdin)], sys.stdout)
