"""The most memory that `eyeshot index` takes, over buckets of more and more objects.

The server here makes its listing up, page by page, and serves the same eight pictures under all names: it holds no
object, so that 100,000 of them cost nothing but the asking.

    python benches/buckets/memory.py --eyeshot target/debug/eyeshot
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

ROOT = Path(__file__).resolve().parents[2]
PAGE = 1000
PICTURES = [path.read_bytes() for path in sorted((ROOT / "assets/scenes").glob("*.jpg"))[:8]]
TAGS = [hashlib.md5(picture).hexdigest() for picture in PICTURES]


def name(n):
    """As long as names in real buckets are."""
    return f"2026/11/camera-{n // 1000:04}/picture-of-some-thing-{n:08}.jpg"


def page(count, start):
    """One page of ListObjectsV2, from object `start` on."""
    end = min(start + PAGE, count)
    entry = "<Contents><Key>{}</Key><LastModified>2026-01-05T10:00:00.000Z</LastModified><ETag>&quot;{}&quot;</ETag><Size>{}</Size></Contents>"
    entries = "".join(entry.format(name(n), TAGS[n % 8], len(PICTURES[n % 8])) for n in range(start, end))
    more = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < count else ""
    told = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}"
    return f'<?xml version="1.0"?><ListBucketResult>{told}{entries}</ListBucketResult>'.encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        path, _, query = self.path.partition("?")
        bucket, _, key = path.lstrip("/").partition("/")
        if key:
            n = int(key[-12:-4])
            body, tag = PICTURES[n % 8], TAGS[n % 8]
        else:
            body, tag = page(int(bucket.removeprefix("of-")), int(parse_qs(query).get("continuation-token", ["0"])[0])), "page"
        head = f'HTTP/1.1 200 OK\r\nETag: "{tag}"\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n'
        self.wfile.write(head.encode() + body)


def index(binary, endpoint, count, home, *more):
    """What it says at its end, its peak resident memory in MiB, and its seconds."""
    environment = os.environ | {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1", "AWS_NO_SIGN_REQUEST": "1",
                                "AWS_EC2_METADATA_DISABLED": "true"}
    out, began = Path(home) / f"out-{count}", time.time()
    command = [binary, "index", f"s3://of-{count}", "--model", "demo", "--data", f"{home}/data-{count}", "--json", *more]
    with out.open("w") as file:
        child = subprocess.Popen(command, env=environment, stdout=file)
        _, status, used = os.wait4(child.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status
    return json.loads(out.read_text().splitlines()[-1]), used.ru_maxrss / 1024, time.time() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eyeshot", required=True)
    parser.add_argument("--objects", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--look-only", action="store_true", help="only the runs that list")
    args = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint, binary = f"http://127.0.0.1:{server.server_address[1]}", str(Path(args.eyeshot).resolve())
    runs = {"only look": ["--dry-run"]} | ({} if args.look_only else {"index": [], "index again": []})
    print("| objects | run | MiB at most | s |\n|---|---|---|---|")
    peaks, wrong = {}, []
    with tempfile.TemporaryDirectory() as home:
        for count in args.objects:
            for what, more in runs.items():
                said, peak, seconds = index(binary, endpoint, count, home, *more)
                peaks.setdefault(what, []).append(peak)
                print(f"| {count:,} | {what} | {peak:.0f} | {seconds:.0f} |", flush=True)
                done = said["unchanged"] if what == "index again" else said["indexed"]
                if done != count or said["refused"]:
                    wrong.append(f"{what}: {done} of {count}")
    for what, seen in peaks.items():
        # A key's hash is kept, so that nothing is done twice: 16 bytes, and the table's free places.
        growth = (seen[-1] - seen[0]) * 2**20 / max(1, args.objects[-1] - args.objects[0])
        print(f"{what}: {growth:.0f} bytes for each object more")
        if what == "only look" and growth > 128:
            wrong.append(f"{what}: {growth:.0f} bytes an object")
    print("wrong:", ", ".join(wrong) if wrong else "nothing")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
