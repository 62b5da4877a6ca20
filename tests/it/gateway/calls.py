# Runs calls by wechatpy: calls.py BASE APPID SECRET CALL… prints {"CALL": {"answer": …} or {"error": "…"}, …}.
import hashlib
import io
import json
import sys

import requests
from wechatpy import WeChatClient

base, app_id, secret, *calls = sys.argv[1:]
PERSON = "oAbcdefghijklmnopqrstuvwxyz0"
WORDS = "你好 & 再见 <'{}'> +%20"
PAGE = "https://shop.example.com/a?b=1"
PICTURE = bytes((at * 7) % 251 for at in range(100_000))


class Gateway(requests.adapters.HTTPAdapter):
    def send(self, request, **options):
        request.url = request.url.replace("https://api.weixin.qq.com", base, 1)
        return super().send(request, **options)


client = WeChatClient(app_id, secret)
client._http.trust_env = False
client._http.mount("https://api.weixin.qq.com/", Gateway())


def ticket(_):
    ticket = client.jsapi.get_jsapi_ticket()
    signature = client.jsapi.get_jsapi_signature("nonce", ticket, "1589203758", PAGE)
    return {"ticket": ticket, "signature": signature, "timestamp": "1589203758", "nonceStr": "nonce"}


NAMES = {
    "ip": lambda _: client.misc.get_wechat_ips(),
    "message": lambda _: client.message.send_text(PERSON, WORDS),
    "upload": lambda _: client.media.upload("image", ("picture.jpg", io.BytesIO(PICTURE), "image/jpeg")),
    "download": lambda media: hashlib.sha256(client.media.download(media).content).hexdigest(),
    "ticket": ticket,
    "session": lambda code: client.wxa.code_to_session(code),
}

answers = {}
for call in calls:
    name, _, given = call.partition("=")
    if name == "download" and not given:
        given = answers.get("upload", {}).get("answer", {}).get("media_id", "")
    try:
        answers[name] = {"answer": NAMES[name](given)}
    except Exception as error:
        answers[name] = {"error": str(error), "code": getattr(error, "errcode", None)}
print(json.dumps(answers))
