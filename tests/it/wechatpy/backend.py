"""A back end as its author wrote it for WeChat: wechatpy checks the signature, reads the message and writes the reply."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlsplit

from wechatpy import create_reply, parse_message
from wechatpy.utils import check_signature

TOKEN = sys.argv[1]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        body = self.rfile.read(int(self.headers["content-length"]))
        check_signature(TOKEN, query["signature"], query["timestamp"], query["nonce"])
        message = parse_message(body)
        reply = create_reply("wechatpy heard %s from %s" % (message.content, query["openid"]), message).render().encode()
        self.send_response(200)
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *arguments):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
