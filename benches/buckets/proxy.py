"""A proxy before an S3 server that counts what it is asked, and fails as it is told."""

import http.client
import random
import socket
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

REFUSALS = {"internal": (500, "InternalError"), "slow": (503, "SlowDown")}
WAYS = ["internal", "slow", "reset", "cut", "stall"]
# Keys to a page of a listing, so that there are many pages.
PAGE = 50


class Proxy(ThreadingHTTPServer):
    """Every attribute may be changed while it runs."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, upstream):
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream, self.lock = upstream, threading.Lock()
        self.endpoint = f"http://127.0.0.1:{self.server_address[1]}"
        self.valid = {"first"}
        self.rate, self.seed, self.stall = 0.0, 0, 6.0
        self.broken, self.vanish, self.change = set(), set(), {}
        # After so many objects, no credentials are good any more.
        self.expires = None
        self.forget()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def forget(self):
        with self.lock:
            self.gets, self.served, self.pages, self.faults = {}, [], 0, dict.fromkeys(WAYS, 0)
            self.vanished, self.changed, self.asked = set(), set(), {}

    def handle_error(self, request, client_address):
        """Whoever asked has left; anything else is our own fault."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def fate(self, target, key):
        """How this request ends, drawn from the seed, its name and how often it was asked for."""
        with self.lock:
            nth = self.asked[target] = self.asked.get(target, 0) + 1
            if not key:
                self.pages += 1
            else:
                self.gets[key] = self.gets.get(key, 0) + 1
                if self.expires is not None and sum(self.gets.values()) > self.expires:
                    self.valid.clear()
            dice = random.Random(f"{self.seed} {target} {nth}")
            way = "internal" if key in self.broken else None
            if dice.random() < self.rate:
                way = way or dice.choice(WAYS)
                self.faults[way] += 1
            return way

    def upset(self, target, key):
        """Changes or removes an object after it was listed and before it is fetched."""
        with self.lock:
            vanishes, body = key in self.vanish - self.vanished, self.change.get(key)
            changes = body is not None and key not in self.changed
            self.vanished.update([key] if vanishes else [])
            self.changed.update([key] if changes else [])
        if vanishes:
            assert ask(self.upstream, "DELETE", target)[0] == 204
        if changes:
            assert ask(self.upstream, "PUT", target, body)[0] == 200


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        proxy, target = self.server, self.path
        path, _, query = target.partition("?")
        key = unquote(path.lstrip("/").partition("/")[2])
        if self.headers.get("Authorization", "").partition("Credential=")[2].partition("/")[0] not in proxy.valid:
            return self.refuse(403, "InvalidAccessKeyId")
        way = proxy.fate(target, key)
        if way in REFUSALS:
            return self.refuse(*REFUSALS[way])
        if way == "reset":
            # Closed at once, with a reset instead of a farewell.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return self.connection.close()
        if key:
            proxy.upset(path, key)
        else:
            target = f"{path}?{query}&max-keys={PAGE}"
        headers = {n: v for n, v in self.headers.items() if n.lower() in ("range", "authorization", "x-amz-date")}
        status, answered, body = ask(proxy.upstream, "GET", target, None, headers)
        self.send_response(status)
        for name in ("ETag", "Last-Modified", "Content-Type", "Content-Range"):
            if name in answered:
                self.send_header(name, answered[name])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if way in ("cut", "stall"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            time.sleep(proxy.stall if way == "stall" else 0)
            self.close_connection = True
            return None
        self.wfile.write(body)
        if key and status < 300:
            with proxy.lock:
                proxy.served.append(key)
        return None

    def refuse(self, status, code):
        body = f"<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>so it is</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


HERE = threading.local()
# moto checks that a request is signed, and not by whom.
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=owner/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"}


def ask(upstream, method, target, body=None, headers=None):
    """One request on this thread's own connection."""
    for _ in range(3):
        try:
            if not hasattr(HERE, "to"):
                HERE.to = http.client.HTTPConnection(*upstream, timeout=60)
            HERE.to.putrequest(method, target, skip_accept_encoding=True)
            for name, value in (headers or SIGNED).items():
                HERE.to.putheader(name, value)
            if body is not None:
                HERE.to.putheader("Content-Length", str(len(body)))
            HERE.to.endheaders(body)
            answer = HERE.to.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        except (OSError, http.client.HTTPException):
            HERE.__dict__.pop("to", None)
    raise SystemExit(f"the server does not answer: {method} {target}")
