"""What no well-meant client sends: HTTP/2 frames made by hand, and garbage in many shapes."""

import json
import os
import random
import socket
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
QUERY = "/eyeshot.v1.Search/Query"
UPSERT = "/eyeshot.v1.Images/Upsert"


def frame(kind, flags=0, stream=0, body=b""):
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def fields(pairs):
    """Header fields as HPACK has them, neither indexed nor packed (RFC 7541, 6.2.2); for short ones only."""
    return b"".join(b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in pairs)


def call(path, stream=1):
    """The headers of a gRPC call."""
    pairs = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost"), ("te", "trailers")]
    pairs += [("content-type", "application/grpc")]
    return frame(HEADERS, END_HEADERS, stream, fields([(n.encode(), v.encode()) for n, v in pairs]))


def message(length):
    """The head of a gRPC message that says it has so many bytes."""
    return b"\x00" + struct.pack(">I", length)


def opening(path=QUERY, stream=1):
    return PREFACE + frame(SETTINGS) + call(path, stream)


def push(stream, total, until):
    """Sends so many bytes of a message on stream 1, as fast as the other side lets it, and then stays, and answers pings; how many
    were taken."""
    room, each, sent, came = [65_535, 65_535], 65_535, 0, b""
    stream.settimeout(0.2)
    while time.monotonic() < until:
        part = min(16_384, *room, total - sent)
        if part > 0:
            stream.sendall(frame(DATA, 0, 1, bytes(part)))
            room, sent = [room[0] - part, room[1] - part], sent + part
            if min(room) > 16_384:
                continue
        try:
            more = stream.recv(1 << 16)
        except TimeoutError:
            continue
        if not more:
            break
        came += more
        while len(came) >= 9 and len(came) >= 9 + int.from_bytes(came[:3], "big"):
            length, kind, flags, of = int.from_bytes(came[:3], "big"), came[3], came[4], int.from_bytes(came[5:9], "big")
            body, came = came[9 : 9 + length], came[9 + length :]
            if kind == WINDOW:
                room[1 if of else 0] += int.from_bytes(body, "big")
            elif kind == SETTINGS and not flags & 1:
                for at in range(0, length, 6):
                    if body[at : at + 2] == b"\x00\x04":
                        now = int.from_bytes(body[at + 2 : at + 6], "big")
                        room[1], each = room[1] + now - each, now
                stream.sendall(frame(SETTINGS, 1))
            elif kind == PING and not flags & 1:
                stream.sendall(frame(PING, 1, 0, body))
            elif kind in (RESET, GOAWAY) or (kind == HEADERS and flags & END_STREAM):
                return sent
    return sent


def connect(address, timeout=1.0):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=timeout)


def reset(stream):
    """Breaks a connection off, so that the other side hears of it as an error."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


def post(path, body, *more, length=None, kind="application/json"):
    head = [f"POST {path} HTTP/1.1", "host: localhost", f"content-type: {kind}", "connection: close"]
    head += [f"content-length: {len(body) if length is None else length}", *more]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


SEARCH = "/v1/collections/default/search"
ITEMS = "/v1/collections/default/items"
# Values that JSON or the types behind it might not expect.
ODD = ["1e400", "-1e400", "NaN", "1e-400", "18446744073709551616", "-1", '"\\ud800"', '"\\u0000"', "null", "[]", "{}", '""', "true",
       '"' + "x" * 5000 + '"', "[" * 300 + "]" * 300]


def garbage(n):
    """The `n`th: which port it goes to, and its bytes."""
    dice = random.Random(n)
    noise = dice.randbytes(1 + dice.randrange(600))
    odd, field = dice.choice(ODD), dice.choice(["terms", "limit", "offset", "filter", "score_threshold", "rerank", "side", "ef", "what"])
    printable = "".join(chr(33 + dice.randrange(94)) for _ in range(60))
    frames = b"".join(frame(dice.randrange(12), dice.randrange(256), dice.randrange(4), dice.randbytes(dice.randrange(80))) for _ in range(6))
    kinds = [
        ("http", noise),
        ("grpc", noise),
        ("grpc", PREFACE + noise),
        ("grpc", PREFACE + frame(SETTINGS) + frames),
        ("grpc", opening(dice.choice([QUERY, UPSERT, "/eyeshot.v1.Answer/Ask", "/grpc.health.v1.Health/Watch", "/" + printable]))
         + frame(DATA, END_STREAM, 1, message(len(noise)) + noise)),
        ("grpc", opening() + frame(DATA, END_STREAM, 1, message(dice.randrange(1 << 32)) + noise)),
        ("grpc", opening() + b"".join(call(QUERY, s) + frame(RESET, 0, s, b"\x00\x00\x00\x08") for s in range(3, 203, 2))),
        ("grpc", PREFACE + frame(SETTINGS) + frame(HEADERS, 0, 1, noise) + b"".join(frame(CONTINUATION, 0, 1, noise) for _ in range(30))),
        ("grpc", PREFACE + frame(SETTINGS) + frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2 + frame(PING, 0, 0, b"12345678") * 50),
        ("http", post(SEARCH, noise)),
        ("http", post(SEARCH, f'{{"{field}": {odd}}}'.encode())),
        ("http", post(SEARCH, f'{{"terms": [{{"text": {odd}, "weight": {dice.choice(ODD)}}}], "{field}": {dice.choice(ODD)}}}'.encode())),
        ("http", post(SEARCH, b"[" * 50_000)),
        ("http", post(SEARCH, b'{"filter": ' + b'{"must_not": [' * 3000)),
        ("http", post(SEARCH, json.dumps({"terms": [{"text": "a"}], "filter": {"expression": "(" * 3000 + printable}}).encode())),
        ("http", post(SEARCH, b"{}", length=1000)),
        ("http", post(SEARCH, b"zz\r\nnothing\r\n0\r\n\r\n", "transfer-encoding: chunked")),
        ("http", post(ITEMS, b"--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n" + noise + b"\r\n--x", kind="multipart/form-data; boundary=x")),
        ("http", post(ITEMS, json.dumps({"items": [{"image": os.fsdecode(noise.hex().encode())}]}).encode())),
        ("http", post("/eyeshot.v1.Search/Query", message(5) + noise, kind="application/grpc-web+proto")),
        ("http", f"GET /v1/collections/{'%2e%2e%2f' * dice.randrange(9)}{printable} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()),
        ("http", f"GET {ITEMS}/{odd[:40]}/image HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()),
        ("http", b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"),
        ("http", b"GET / HTTP/1.1\r\n" + b"".join(b"h%d: v\r\n" % i for i in range(300)) + b"\r\n"),
        ("http", f"{printable[:9]} {SEARCH} HTTP/1.1\r\nhost: {printable}\r\n\r\n".encode()),
    ]
    return kinds[n % len(kinds)]


def send(address, data, wait=0.3):
    """Sends it and reads the beginning of what comes back; the HTTP/1.1 status, where it is one."""
    try:
        with connect(address) as stream:
            stream.sendall(data)
            stream.settimeout(wait)
            came = stream.recv(64)
    except (OSError, TimeoutError):
        return None
    parts = came.split(b" ", 2)
    return int(parts[1]) if came.startswith(b"HTTP/1.") and len(parts) > 1 and parts[1].isdigit() else None
