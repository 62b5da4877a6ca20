#!/usr/bin/env python3
"""A stand-in for WeChat that takes and sends large bodies, and the clients that move them, for bench/gateway.

upstream.py serve PORT
upstream.py hang|upload|download HOST:PORT TARGET COUNT [BYTES]
"""

import asyncio
import re
import sys

PIECE = b"x" * 65536
SMALL = {
    "/cgi-bin/token": b'{"access_token":"90_real","expires_in":7200}',
    "/cgi-bin/ticket/getticket": b'{"errcode":0,"errmsg":"ok","ticket":"real-ticket","expires_in":7200}',
    "/cgi-bin/getcallbackip": b'{"ip_list":["192.0.2.10","198.51.100.0/25"]}',
    "/cgi-bin/media/upload": b'{"type":"file","media_id":"m","created_at":1}',
}


async def head(reader):
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    fields = dict(re.findall(r"(?m)^([^:\r\n]+): *([^\r\n]*)", text.lower()))
    return text.split("\r\n", 1)[0], fields


async def body(reader, fields):
    """Reads a body and drops it."""
    whole = 0
    if fields.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            whole += len(await reader.readexactly(size + 2)) - 2
        await reader.readline()
        return whole
    left = int(fields.get("content-length", 0))
    while left:
        piece = await reader.read(min(left, 65536))
        if not piece:
            raise ConnectionError("the body was cut")
        whole, left = whole + len(piece), left - len(piece)
    return whole


async def send(writer, size):
    while size:
        piece = PIECE[: min(size, len(PIECE))]
        writer.write(piece)
        await writer.drain()
        size -= len(piece)


async def answer(reader, writer):
    try:
        while True:
            line, fields = await head(reader)
            path, _, query = line.split(" ")[1].partition("?")
            if path == "/cgi-bin/hang":
                await asyncio.sleep(3600)
            if path == "/cgi-bin/media/upload":
                # Slow to begin, so that whoever is before us must hold back its callers.
                await asyncio.sleep(1)
            await body(reader, fields)
            kind, small = "application/json", SMALL.get(path, b'{"errcode":0,"errmsg":"ok"}')
            size = len(small)
            if path == "/cgi-bin/media/get":
                kind, size = "application/octet-stream", (25 if "media_id=x" in query else 10) << 20
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n".encode())
            if kind == "application/json":
                writer.write(small)
                await writer.drain()
            else:
                await send(writer, size)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def ask(address, method, target, size):
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    length = f"Content-Length: {size}\r\nContent-Type: application/octet-stream\r\n" if method == "POST" else ""
    writer.write(f"{method} {target} HTTP/1.1\r\nHost: bench\r\n{length}\r\n".encode())
    if method == "POST":
        await send(writer, size)
    return reader, writer


async def move(kind, address, target, size):
    reader, writer = await ask(address, "POST" if kind == "upload" else "GET", target, size)
    if kind == "download":
        # A caller that is slow to begin.
        await asyncio.sleep(1)
    line, fields = await head(reader)
    moved = await body(reader, fields)
    writer.close()
    if " 200 " not in line or (kind == "download" and moved != size):
        raise SystemExit(f"{line}: {moved} bytes")
    return size


async def main():
    if sys.argv[1] == "serve":
        server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[2]), limit=1 << 16, backlog=1024)
        await server.serve_forever()
    kind, address, target, count = sys.argv[1:5]
    if kind == "hang":
        held = await asyncio.gather(*(ask(address, "GET", target, 0) for _ in range(int(count))))
        await asyncio.sleep(1)
        print(len(held), "wait", flush=True)
        await asyncio.sleep(3600)
    moved = await asyncio.gather(*(move(kind, address, target, int(sys.argv[5])) for _ in range(int(count))))
    print(f"{sum(moved) >> 20} MB moved")


asyncio.run(main())
