"""Signs in to Google as its own clients do, on this machine: a proxy stands for oauth2.googleapis.com and storage.googleapis.com, checks
each signature and token, and holds a few objects.

    pip install cryptography
    python benches/buckets/google.py --eyeshot target/debug/eyeshot

The program's requests are those that Google would get, over TLS: it is told of the proxy by HTTPS_PROXY and of who vouches for it by
SSL_CERT_FILE, as a company's proxy would be.
"""

import argparse
import base64
import contextlib
import datetime
import http.server
import json
import socketserver
import ssl
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

import shared
from shared import check

HOSTS = ["oauth2.googleapis.com", "storage.googleapis.com"]
BUCKET, MAIL, TOKEN_URI = "pictures", "indexer@project.iam.gserviceaccount.com", "https://oauth2.googleapis.com/token"
USER = {"client_id": "client.apps.googleusercontent.com", "client_secret": "hush", "refresh_token": "1//remember"}


def key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(private):
    form = serialization.PrivateFormat.PKCS8
    return private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def certificates(folder):
    """An authority of our own, and one certificate of it for both hosts: (ca.pem, the hosts' chain and key)."""
    now, root, own = datetime.datetime.now(datetime.timezone.utc), key(), key()
    name = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def made(subject, public, authority):
        draft = x509.CertificateBuilder(name("a proxy's authority"), name(subject), public, x509.random_serial_number(),
                                        now - datetime.timedelta(days=1), now + datetime.timedelta(days=30))
        draft = draft.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        if not authority:
            draft = draft.add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in HOSTS]), critical=False)
        return draft.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    authority, hosts = folder / "ca.pem", folder / "hosts.pem"
    authority.write_text(made("a proxy's authority", root.public_key(), True))
    hosts.write_text(made(HOSTS[0], own.public_key(), False) + pem(own))
    return authority, hosts


class Google:
    """What both hosts know: whom they trust, which tokens they gave, and the objects."""

    def __init__(self, objects):
        self.account, self.objects = key(), objects
        self.tokens, self.said, self.served, self.patience = set(), [], [], None

    def token(self, form):
        """The token that a form earns, or why it earns none."""
        kind = form.get("grant_type", [""])[0]
        if kind == "refresh_token":
            fine = all(form.get(field) == [value] for field, value in USER.items())
            return None if fine else "Token has been expired or revoked."
        if kind != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return f"Unsupported grant_type {kind!r}"
        head, claims, signature = form["assertion"][0].split(".")
        decode = lambda part: base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        try:
            self.account.public_key().verify(decode(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return "Invalid JWT Signature."
        said, now = json.loads(decode(claims)), time.time()
        fine = (json.loads(decode(head))["alg"] == "RS256" and said["iss"] == MAIL and said["aud"] == TOKEN_URI
                and said["iat"] <= now + 5 and now < said["exp"] <= said["iat"] + 3600 and "devstorage" in said["scope"])
        return None if fine else f"Invalid JWT: {said}"

    def sign_in(self, body):
        wrong = self.token({field: [value] for field, value in json.loads(body).items()} if body.startswith("{") else parse_qs(body))
        self.said.append(wrong or "a token")
        if wrong:
            return 400, {"error": "invalid_grant", "error_description": wrong}
        token = f"ya29.{len(self.said)}"
        self.tokens.add(token)
        return 200, {"access_token": token, "expires_in": 3599, "token_type": "Bearer"}

    def storage(self, path, asked, bearer):
        if bearer not in self.tokens:
            return 401, {"error": {"code": 401, "message": "Invalid Credentials", "errors": [{"reason": "authError"}]}}
        root = f"/storage/v1/b/{BUCKET}/o"
        if path == root:
            names = sorted(name for name in self.objects if name.startswith(asked.get("prefix", [""])[0]))
            first = int(asked.get("pageToken", ["0"])[0])
            items = [{"name": name, "size": str(len(self.objects[name])), "etag": f"e{hash(self.objects[name])}",
                      "updated": "2026-01-01T00:00:00Z"} for name in names[first:first + 10]]
            more = {"nextPageToken": str(first + 10)} if first + 10 < len(names) else {}
            return 200, {"kind": "storage#objects", "items": items, **more}
        name = unquote(path.removeprefix(f"{root}/"))
        body = self.objects.get(name)
        if body is None:
            return 404, {"error": {"code": 404, "message": "No such object"}}
        self.served.append(name)
        if len(self.served) == self.patience:
            self.tokens.clear()
        return 200, body


class Host(http.server.BaseHTTPRequestHandler):
    """One of the two hosts, behind TLS."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        google, url = self.server.google, urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        host = self.headers["Host"].split(":")[0]
        if host == HOSTS[0]:
            status, said = google.sign_in(body)
        else:
            status, said = google.storage(url.path, parse_qs(url.query), self.headers.get("Authorization", "").removeprefix("Bearer "))
        said = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


class Proxy(socketserver.StreamRequestHandler):
    """Answers CONNECT and then is whoever was asked for."""

    def handle(self):
        host = self.rfile.readline().split()[1].decode().split(":")[0]
        while self.rfile.readline().strip():
            pass
        if host not in HOSTS:
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            return
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with contextlib.suppress(OSError):
            Host(self.server.tls.wrap_socket(self.connection, server_side=True), self.client_address, self.server)


def served(google, hosts):
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy)
    server.daemon_threads, server.google = True, google
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(hosts)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eyeshot", required=True)
    parser.add_argument("--objects", type=int, default=60)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        home = Path(home)
        authority, hosts = certificates(home)
        made = shared.objects(args.objects, 5, {"good": 1000})
        google = Google({name: body for name, (_, body) in made.items()})
        port = served(google, hosts)
        good = {shared.uri("gs", BUCKET, name) for name in google.objects}
        account = {"type": "service_account", "client_email": MAIL, "private_key_id": "1", "token_uri": TOKEN_URI, "client_id": "7"}

        def index(data, credentials, *more):
            (home / "credentials.json").write_text(json.dumps(credentials))
            program = shared.Program(Path(args.eyeshot).resolve(), home / data, home)
            env = shared.environment() | {"HTTPS_PROXY": f"http://127.0.0.1:{port}", "SSL_CERT_FILE": str(authority), "NO_PROXY": "",
                                          "GOOGLE_APPLICATION_CREDENTIALS": str(home / "credentials.json")}
            command = [program.binary, "index", f"gs://{BUCKET}", *program.flags, "--model", "demo", *more]
            return program, *program.run(command, env)

        print("| what | found | wanted | |\n|---|---|---|---|")
        program, ran, last = index("whole", account | {"private_key": pem(google.account)})
        check("a service account: status", ran.returncode, 0)
        check("indexed once each", program.keys(shared.pictures()[8]), good)
        check("signed in", google.said, ["a token"])

        _, ran, _ = index("forged", account | {"private_key": pem(key())})
        print("  it said:", ran.stderr.strip().splitlines()[-1][:250])
        check("another's key: status", ran.returncode, 1)
        check("and that new credentials are wanted is told", "takes our credentials no longer (invalid_grant)" in ran.stderr, True)

        _, _, last = index("user", {"type": "authorized_user", **USER})
        check("a user who signed in with gcloud: indexed", last.get("indexed"), len(good))

        google.served, google.patience = [], len(good) // 2
        program, ran, last = index("halfway", account | {"private_key": pem(google.account)})
        print("  it said:", ran.stderr.strip().splitlines()[-1][:250])
        check("access that ends half-way: status", ran.returncode, 1)
        before, google.served, google.patience = set(google.served), [], None
        _, _, last = index("halfway", account | {"private_key": pem(google.account)})
        check("fetched once more: no more than were on their way", len(before & set(google.served)) <= 8, True)
        check("both together fetched", before | set(google.served), set(google.objects))
        check("and all is there", program.keys(shared.pictures()[8]), good)
    return shared.verdict()


if __name__ == "__main__":
    sys.exit(main())
