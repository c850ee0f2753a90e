"""Indexes a bucket of a real S3 server through a proxy that fails, is killed again and again, and checks what is left.

    pip install moto[s3,server]
    python benches/buckets/run.py --eyeshot target/debug/eyeshot --objects 5000 --seed 1
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from proxy import Proxy, ask

ROOT = Path(__file__).resolve().parents[2]
BUCKET = "photos"
TRIES = 5
# What may be under way when a run is killed: the places in line (two batches of 32, the lanes of a bucket, one for each core),
# and three batches beyond them: one is embedded, one handed over, one written.
UNDERWAY = 2 * 32 + 32 + (os.cpu_count() or 1) + 3 * 32
ODD = [
    "plain/{}.jpg",
    "with space/new york {}.jpg",
    "unicode/é日本 😀 {}.jpg",
    "percent/%41 100% {}.jpg",
    "double//slash//{}.jpg",
    "signs/a+b&c=d;e,f'(g)!~@$:{}.jpg",
    "trailing dots../{}...jpg",
    "UPPER/{}.JPG",
    "long/" + "x" * 900 + "{}.jpg",
    "spaces at ends / {} .jpg",
    "%2F/%25{}.jpeg",
    "#hash?query=1/{}.jpg",
]
wrong = []


def check(what, found, wanted):
    """One line of the table."""
    fine = found == wanted
    if not fine:
        wrong.append(what)
        if isinstance(found, (set, dict)):
            few = lambda keys: [key[:80] for key in sorted(keys)[:5]]
            print(f"  only found: {few(set(found) - set(wanted))}; only wanted: {few(set(wanted) - set(found))}")
            if isinstance(found, dict):
                print("  differ:", [(k[:80], found[k], wanted[k]) for k in found if wanted.get(k) not in (None, found[k])][:5])
    shown = [len(x) if isinstance(x, (set, dict, list)) else x for x in (found, wanted)]
    print(f"| {what} | {shown[0]} | {shown[1]} | {'yes' if fine else 'NO'} |", flush=True)


def marked(picture, n):
    """The same picture in other bytes: a comment after the first marker of a JPEG."""
    note = f"object {n}".encode()
    return picture[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + picture[2:]


def uri(key):
    return f"s3://{BUCKET}/{quote(key, safe='/~')}"


def target(key):
    return f"/{BUCKET}/{quote(key, safe='/~')}"


class Bucket:
    """The objects by what shall become of them, as moto holds them."""

    def __init__(self, count, seed, upstream):
        self.dice, self.upstream, self.held = random.Random(seed), upstream, {}
        scenes = sorted((ROOT / "assets/scenes").glob("*.jpg"))
        pictures = [path.read_bytes() for path in scenes[:8]]
        self.other = scenes[8].read_bytes()
        kinds = ["good"] * 930 + ["zero"] * 10 + ["cut"] * 10 + ["text"] * 10 + ["vanish"] * 10 + ["change"] * 10 + ["broken"] * 10
        kinds += ["passed over"] * 10
        self.kind = {}
        for n in range(count):
            kind, key = self.dice.choice(kinds), ODD[n % len(ODD)].format(n)
            picture = marked(pictures[n % len(pictures)], n)
            if kind == "passed over":
                key = [f"folder {n}/", f"a/.hidden/{n}.jpg", f".dot{n}.jpg", f"plain/{n}.pdf", f"read me {n}"][n // 100 % 5]
            body = {"zero": b"", "cut": picture[: 300], "text": f"no picture {n}".encode()}.get(kind, picture)
            self.kind[key] = kind
            self.held[key] = body
            status, _, answer = ask(upstream, "PUT", target(key), body)
            assert status == 200, (status, key, answer)

    def of(self, *kinds):
        return {key for key, kind in self.kind.items() if kind in kinds}


def environment(proxy, key):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "EYESHOT_"))}
    return clean | {
        "AWS_ENDPOINT_URL": proxy.endpoint, "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "secret",
    }


class Runs:
    """The program over one data folder."""

    def __init__(self, binary, proxy, data, home):
        self.binary, self.proxy, self.home = binary, proxy, home
        self.flags = ["--data", str(data), "--json"]

    def command(self, *more):
        return [self.binary, "index", f"s3://{BUCKET}", *self.flags, "--model", "demo", "--fetch-tries", str(TRIES),
                "--fetch-timeout", "3", *more]

    def index(self, *more, key="second"):
        """Its status, its last line and what it asked for."""
        self.proxy.forget()
        began = time.time()
        ran = subprocess.run(self.command(*more), env=environment(self.proxy, key), cwd=self.home, capture_output=True, text=True)
        lines = ran.stdout.splitlines()
        print(f"  (status {ran.returncode}, {time.time() - began:.0f} s, {sum(self.proxy.gets.values())} GETs, "
              f"{self.proxy.pages} pages, failures {self.proxy.faults})", flush=True)
        return ran, json.loads(lines[-1]) if lines else {}

    def hits(self, image):
        path = Path(self.home) / "asked.jpg"
        path.write_bytes(image)
        found = subprocess.run([self.binary, "search", *self.flags, "--exact", "--image", str(path), "-t", "100000"],
                               cwd=self.home, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        return [json.loads(line) for line in found.stdout.splitlines()]

    def keys(self, image):
        keys = [hit["key"] for hit in self.hits(image)]
        if len(keys) != len(set(keys)):
            wrong.append("an item twice")
        return set(keys)

    def spawn(self):
        return subprocess.Popen(self.command(), env=environment(self.proxy, "second"), cwd=self.home,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def faults(bucket, proxy, runs):
    """Credentials that end half-way, then 5 % of requests failing beside what is broken for good, then a mended store."""
    print("\n| under faults | found | wanted | right |\n|---|---|---|---|")
    proxy.rate, proxy.broken = 0.05, bucket.of("broken")
    bad = bucket.of("zero", "cut", "text")
    proxy.expires = len(bucket.kind) // 2
    ran, _ = runs.index(key="first")
    check("status where credentials end half-way", ran.returncode, 1)
    check("it says so", "InvalidAccessKeyId" in ran.stderr, True)
    before = runs.keys(bucket.other)
    check("what it says was indexed is there", f"{len(before)} images were indexed before this" in ran.stderr, True)

    proxy.expires, proxy.valid = None, {"second"}
    proxy.vanish = bucket.of("vanish")
    proxy.change = {key: marked(bucket.other, n) for n, key in enumerate(sorted(bucket.of("change")))}
    ran, last = runs.index("--errors", "errors.jsonl")
    vanished, changed, gets = set(proxy.vanished), set(proxy.changed), dict(proxy.gets)
    check("status with new credentials", ran.returncode, 3)
    check("fetched again of what was there", {key for key in gets if uri(key) in before}, set())
    wanted = bucket.of("good", "change") | (bucket.of("vanish") - vanished)
    there = runs.keys(bucket.other)
    check("indexed once each", there, {uri(key) for key in wanted})
    lines = [json.loads(line) for line in (Path(runs.home) / "errors.jsonl").read_text().splitlines()]
    told = {line["key"]: (line["stage"], line["tries"]) for line in lines}
    check("lines of the report", len(lines), len(told))
    must = {uri(key): ("decode", 1) for key in bad} | {uri(key): ("fetch", TRIES) for key in proxy.broken}
    # One that vanishes has a last answer of 404 however often it failed in passing before.
    must |= {uri(key): ("fetch", 1) for key in vanished}
    check("the report: keys, stages, tries", told, must)
    check("refused by the last line", {line["key"] for line in last["refused"]}, set(must))
    new = {hit["key"] for hit in runs.hits(bucket.other) if hit["score"] > 0.999}
    check("what changed before it was fetched has its new picture", new, {uri(key) for key in changed})

    proxy.broken, proxy.vanish, proxy.change = set(), set(), {}
    ran, last = runs.index("--retry-failed", "errors.jsonl", "--errors", "left.jsonl")
    check("retried: indexed", last["indexed"], len(bucket.of("broken")))
    check("retried: fetched nothing else", set(proxy.gets), bad | bucket.of("broken"))
    left = (Path(runs.home) / "left.jsonl").read_text().splitlines()
    check("retried: still refused", {json.loads(line)["key"] for line in left}, {uri(key) for key in bad})
    ran, last = runs.index("--prune")
    again = set(proxy.gets) - bad
    check("a rerun fetches what changed while it was fetched", again - changed, set())
    check("everything good is indexed once", runs.keys(bucket.other), {uri(key) for key in wanted | bucket.of("broken")})
    ran, last = runs.index()
    check("one more fetches only what is no picture", set(proxy.gets), bad)


def kills(bucket, proxy, runs, times, seed):
    """Killed at random, until all is there."""
    print("\n| killed | found | wanted | right |\n|---|---|---|---|")
    dice = random.Random(seed)
    good = {uri(key) for key in bucket.of("good", "change", "broken", "vanish") if ask(bucket.upstream, "HEAD", target(key))[0] == 200}
    there, repeated, killed, fetched, runs_made, lost = set(), set(), 0, 0, 0, 0
    longest = 0
    while killed < times:
        proxy.forget()
        child = runs.spawn()
        runs_made += 1
        # In a run's beginning, its middle or while it writes; few enough that the last kill comes before the end.
        after = dice.randrange(1, max(2, 2 * len(good) // (times + 5)))
        while child.poll() is None and len(proxy.served) < after:
            time.sleep(0.005)
        time.sleep(dice.random() * 0.2)
        if child.poll() is not None:
            break
        child.send_signal(signal.SIGKILL)
        child.wait()
        killed += 1
        time.sleep(0.3)
        got = {uri(key) for key in proxy.served}
        repeated |= {uri(key) for key in proxy.gets if uri(key) in there}
        now = runs.keys(bucket.other)
        lost += len(there - now)
        longest = max(longest, len((got & good) - now))
        fetched += len([key for key in proxy.served if uri(key) in good])
        there = now
    check("kills before it was done", killed, times)
    ran, last = runs.index()
    repeated |= {uri(key) for key in proxy.gets if uri(key) in there}
    fetched += len([key for key in proxy.served if uri(key) in good])
    check("items lost by a kill", lost, 0)
    check("fetched again of what a run before had written", repeated, set())
    check(f"most lost under way by one kill is at most {UNDERWAY}", longest <= UNDERWAY, True)
    check("everything good is indexed once", runs.keys(bucket.other), good)
    print(f"  ({fetched} objects served for {len(good)} pictures; the most that one kill lost under way: {longest})")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eyeshot", required=True)
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    port = random.Random().randrange(20000, 30000)
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        began = time.time()
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.time() - began > 60:
                    raise SystemExit("moto does not start") from None
                time.sleep(0.2)
        upstream = ("127.0.0.1", port)
        ask(upstream, "PUT", f"/{BUCKET}", b"")
        bucket = Bucket(args.objects, args.seed, upstream)
        proxy = Proxy(upstream)
        proxy.seed = args.seed
        print(f"{len(bucket.kind)} objects, put in {time.time() - began:.0f} s:",
              {kind: len(bucket.of(kind)) for kind in sorted(set(bucket.kind.values()))}, flush=True)
        with tempfile.TemporaryDirectory() as home:
            binary = str(Path(args.eyeshot).resolve())
            faults(bucket, proxy, Runs(binary, proxy, Path(home) / "one", home))
            kills(bucket, proxy, Runs(binary, proxy, Path(home) / "two", home), args.kills, args.seed)
    finally:
        server.terminate()
        server.wait()
    print("\nwrong:", ", ".join(wrong) if wrong else "nothing")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
