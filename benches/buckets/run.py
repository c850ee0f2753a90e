"""Indexes a bucket of a real S3 server through a proxy that fails, is killed again and again, and checks what is left.

    pip install moto[s3,server]
    python benches/buckets/run.py --eyeshot target/debug/eyeshot --objects 5000 --seed 1
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import shared
from proxy import Proxy, ask
from shared import check, marked, wrong

BUCKET = "photos"
TRIES = 5
# What may be under way when a run is killed: the places in line (two batches of 32, the lanes of a bucket, one for each core),
# and three batches beyond them: one is embedded, one handed over, one written.
UNDERWAY = 2 * 32 + 32 + (os.cpu_count() or 1) + 3 * 32
KINDS = {"good": 930, "zero": 10, "cut": 10, "text": 10, "vanish": 10, "change": 10, "broken": 10, "passed over": 10}


def uri(key):
    return shared.uri("s3", BUCKET, key)


def target(key):
    return f"/{BUCKET}/{quote(key, safe='/~')}"


class Bucket:
    """The objects by what shall become of them, as moto holds them."""

    def __init__(self, count, seed, upstream):
        self.upstream, self.other = upstream, shared.pictures()[8]
        self.kind = {}
        for key, (kind, body) in shared.objects(count, seed, KINDS).items():
            self.kind[key] = kind
            status, _, answer = ask(upstream, "PUT", target(key), body)
            assert status == 200, (status, key, answer)

    def of(self, *kinds):
        return {key for key, kind in self.kind.items() if kind in kinds}


def environment(proxy, key):
    return shared.environment() | {
        "AWS_ENDPOINT_URL": proxy.endpoint, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": "secret",
    }


class Runs(shared.Program):
    """The program over one data folder, before the proxy."""

    def __init__(self, binary, proxy, data, home):
        super().__init__(binary, data, home)
        self.proxy = proxy

    def command(self, *more):
        return [self.binary, "index", f"s3://{BUCKET}", *self.flags, "--model", "demo", "--fetch-tries", str(TRIES),
                "--fetch-timeout", "3", *more]

    def index(self, *more, key="second"):
        """Its status, its last line and what it asked for."""
        self.proxy.forget()
        began = time.time()
        ran, last = self.run(self.command(*more), environment(self.proxy, key))
        print(f"  (status {ran.returncode}, {time.time() - began:.0f} s, {sum(self.proxy.gets.values())} GETs, "
              f"{self.proxy.pages} pages, failures {self.proxy.faults})", flush=True)
        return ran, last

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
    began, port = time.time(), shared.free_port()
    with shared.served([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port):
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
    return shared.verdict()


if __name__ == "__main__":
    sys.exit(main())
