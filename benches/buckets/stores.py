"""Indexes one bucket of odd objects in servers that speak each store's protocol, and checks what is there and what is said.

    python benches/buckets/stores.py --eyeshot target/debug/eyeshot --objects 5200 \\
        --server azurite=node_modules/.bin/azurite-blob --server s3s-fs=s3s-fs --server 'moto with IAM' --server fake-gcs-server

A server is named alone, or with the program that runs it; what each needs: servers.py. What a server holds is asked of it by its own
client, so that names which it rewrites count as it tells them.
"""

import argparse
import io
import json
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import servers
import shared
from servers import BUCKET, EMPTY
from shared import check

KINDS = {"good": 940, "zero": 15, "cut": 15, "text": 15, "passed over": 15}
# Beyond those that a failing store is tried with.
ODD = shared.ODD + [" space first/{}.jpg", "tab\t/{}.jpg", "back\\slash{}.jpg", "markup/<x> & \"{}\" &amp;.jpg", "dots./x...{}.jpg"]
SIGNS = ["signs/", "#hash?", "markup/"]


class Trial:
    """One server with its objects, and the program over one data folder."""

    def __init__(self, store, binary, home, args):
        self.store, self.home, self.binary = store, home, binary
        self.program = shared.Program(binary, Path(home) / "data", home)
        self.other = shared.pictures()[8]
        self.fill(args)
        self.env = next(iter(store.good().values()))

    def fill(self, args):
        began = time.time()
        self.store.create(BUCKET)
        self.store.create(EMPTY)
        odd = [name for name in ODD if self.store.spells or not name.startswith(tuple(SIGNS))]
        made = shared.objects(args.objects, args.seed, KINDS, odd)
        self.store.fill({key: body for key, (_, body) in made.items()})
        # A name that the server rewrote is known by its bytes.
        kinds = {body: kind for kind, body in made.values()}
        names = self.store.names()
        self.kind = {key: made[key][0] if key in made else kinds[self.store.read(key)] for key in names}
        new = [key for key in names if key not in made]
        print(f"\n{self.store.name}: {len(made)} objects put in {time.time() - began:.0f} s, {len(names)} there, "
              f"{len(new)} under another name", *(repr(key) for key in new[:2]))

    def of(self, *kinds):
        return {shared.uri(self.store.scheme, BUCKET, key) for key, kind in self.kind.items() if kind in kinds}

    def index(self, place, *more, env=None, program=None):
        """`place`: a bucket, and what lies below it."""
        program = program or self.program
        command = [program.binary, "index", f"{self.store.scheme}://{place}", *program.flags, "--model", "demo", *more]
        return program.run(command, shared.environment() | (self.env if env is None else env))

    def fresh(self, name):
        return shared.Program(self.binary, Path(self.home) / name, self.home)


def whole(trial):
    """All of it, a rerun, and what changes."""
    good, bad = trial.of("good"), trial.of("zero", "cut", "text")
    began = time.time()
    ran, last = trial.index(BUCKET, "--errors", "errors.jsonl")
    print(f"  (the first run: {time.time() - began:.0f} s)")
    check("status", ran.returncode, 3)
    check("indexed once each", trial.program.keys(trial.other), good)
    check("refused, by key", {one["key"] for one in last["refused"]}, bad)
    lines = [json.loads(line) for line in (Path(trial.home) / "errors.jsonl").read_text().splitlines()]
    check("the report's stages", {(line["stage"], line["tries"]) for line in lines}, {("decode", 1)})
    _, last = trial.index(BUCKET)
    check("a rerun: unchanged; indexed", (last["unchanged"], last["indexed"]), (len(good), 0))

    changes, gone, *_ = sorted(key for key, kind in trial.kind.items() if kind == "good" and "/" in key)
    trial.store.put(changes, shared.marked(trial.other, 0))
    trial.store.put("new one.jpg", shared.marked(trial.other, 1))
    trial.store.remove(gone)
    _, last = trial.index(BUCKET, "--prune")
    check("one changed, one new, one gone: indexed, removed", (last["indexed"], last["removed"]), (2, 1))
    name = lambda key: shared.uri(trial.store.scheme, BUCKET, key)
    near = {hit["key"] for hit in trial.program.hits(trial.other) if hit["score"] > 0.999}
    check("the changed one has its new picture", near, {name(changes), name("new one.jpg")})
    del trial.kind[gone]
    trial.kind["new one.jpg"] = "good"
    check("everything good is there once", trial.program.keys(trial.other), trial.of("good"))


def parts(trial):
    """Prefixes as a user writes them, one object, a tar, a list, and pictures fetched once more."""
    scheme, store = trial.store.scheme, trial.store
    prefixes = ["with space", "unicode/é日本 😀 1", "double//slash", "#hash?query=1", " space first", "percent"]
    for number, prefix in enumerate(prefixes if store.spells else []):
        below = {key for key, kind in trial.kind.items() if kind == "good" and key.startswith(prefix.rstrip("/") + "/")}
        ran, last = trial.index(f"{BUCKET}/{prefix}", "--dry-run", program=trial.fresh(f"below-{number}"))
        if below:
            # What is no picture is found out when it is fetched, so a look counts it.
            below = {key for key, kind in trial.kind.items() if kind != "passed over" and key.startswith(prefix + "/")}
            check(f"below {prefix!r}", last.get("indexed"), len(below))
        else:
            check(f"below {prefix!r}, where nothing lies: status", ran.returncode, 2)
    one = sorted((key for key, kind in trial.kind.items() if kind == "good"), key=lambda key: "?" in key)[-1]
    if store.spells:
        _, last = trial.index(f"{BUCKET}/{quote(one)}", program=trial.fresh("one"))
        check(f"one object by its whole name, {one!r}", last.get("indexed"), 1)
    ran, _ = trial.index(EMPTY, program=trial.fresh("empty"))
    check("an empty bucket: status", ran.returncode, 2)

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, body in [("1.jpg", trial.other), ("1.txt", b"one"), ("2.jpg", shared.marked(trial.other, 2))]:
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    store.create("lists")
    store.put("a shard.tar", packed.getvalue(), "lists")
    store.put("list.csv", f"url,caption\n{scheme}://{BUCKET}/new%20one.jpg,new\n".encode(), "lists")
    some = trial.fresh("some")
    for name, wanted in [("a shard.tar", 2), ("list.csv", 1)]:
        _, last = trial.index(f"lists/{name}", program=some)
        check(f"{name}: indexed", last.get("indexed"), wanted)
    asked = [trial.binary, "search", "a dog", "--rerank", "-t", "3", *some.flags]
    ran, _ = some.run(asked, shared.environment() | trial.env)
    looked = [json.loads(line).get("match") is not None for line in ran.stdout.splitlines()]
    check("fetched once more, for reranking", looked, [True] * 3)


def ways(trial):
    """Each way to ask, good and bad."""
    for number, (what, env) in enumerate(trial.store.good().items()):
        ran, last = trial.index(BUCKET, env=env)
        check(f"{what}: unchanged", last.get("unchanged", ran.stderr), len(trial.of("good")))
    for number, (what, (env, status, says, *bucket)) in enumerate(trial.store.bad().items()):
        began, program = time.time(), trial.fresh(f"bad-{number}")
        ran, _ = trial.index(*(bucket or [BUCKET]), "--fetch-tries", "2", env=env, program=program)
        said = next((line for line in ran.stderr.splitlines()[::-1] if says in line), "")
        check(f"{what}: status, and that it says {says!r}", (ran.returncode, bool(said)), (status, True))
        print(f"  ({time.time() - began:.1f} s) {(said or ran.stderr.strip())[:300]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--eyeshot", required=True)
    parser.add_argument("--server", action="append", required=True, metavar="NAME[=PROGRAM]")
    parser.add_argument("--objects", type=int, default=5200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    kinds = {kind.name: kind for kind in servers.ALL}
    for named in args.server:
        name, _, program = named.partition("=")
        if name not in kinds:
            parser.error(f"no server {name!r}: expected one of {', '.join(kinds)}")
        with tempfile.TemporaryDirectory() as home, kinds[name].served(program, home) as store:
            trial = Trial(store, str(Path(args.eyeshot).resolve()), home, args)
            print("| | found | wanted | right |\n|---|---|---|---|")
            whole(trial)
            parts(trial)
            ways(trial)
    return shared.verdict()


if __name__ == "__main__":
    sys.exit(main())
