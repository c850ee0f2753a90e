"""Eyeshot's index beside its peers: same data, same run, in turns, on one thread and on two.

    pip install numpy matplotlib hnswlib faiss-cpu usearch scann
    python benches/ann.py DIR --eyeshot target/release/eyeshot [-n 200000] [--threads 1,2] [--only scann,hnswlib]

Makes the data in DIR if it is not there (ann_data.py), builds each index, and sweeps each one's knob in several rounds:
in a round everybody takes a turn, so that a machine which gets slower or faster does so for all. Prints a table of
queries a second at recall@10 0.90, 0.95 and 0.99, and plots it. One thread is timed by its processor time, so that other
programs disturb less; several threads by the clock. What was measured is kept in DIR/ann.json, and indexes beside it: run
again to go on after a stop. `--fresh` measures again, and keeps the peers' indexes.
"""

import argparse
import atexit
import json
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np

import ann_data
import ann_peers
import ann_plot

LEVELS = [0.90, 0.95, 0.99]
# A peer's sweep ends above this: what comes after does not matter to any level.
ENOUGH = 0.995
# Passes over the queries that a turn takes for each setting; the median counts.
PASSES = 3


class Eyeshot:
    """A running `eyeshot eval ann`, which is stopped while it is not its turn."""

    def __init__(self, binary, folder, kind, threads, guided, rounds):
        command = [binary, "eval", "ann", "--base", folder / "base.npy", "--queries", folder / f"{kind}.npy"]
        command += ["--ef", ",".join(map(str, ann_peers.EF * rounds)), "--threads", str(threads), "--json"]
        if guided:
            command += ["--sample-queries", folder / "samples.npy"]
        self.threads = threads
        # Whatever ends this program, none is left behind stopped.
        atexit.register(lambda: self.process.kill())
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.ahead = self._line()

    def _line(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"eyeshot ended with {self.process.wait()}; its own words are above")
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def _next(self):
        line = self.ahead
        self.process.send_signal(signal.SIGCONT)
        self.ahead = self._line()
        return line

    def turn(self):
        """One round's points: (ef, recall, queries a second)."""
        rows = [self._next() for _ in ann_peers.EF]
        speed = (lambda row: 1e6 / row["cpu_us"]) if self.threads == 1 else (lambda row: row["qps"])
        return [(row["ef"], row["recall"], speed(row)) for row in rows]

    def end(self):
        """What it says about the index itself, once all rounds are over."""
        self.process.send_signal(signal.SIGCONT)
        self.process.wait()
        return self.ahead


class Peer:
    def __init__(self, peer, index, queries, right, threads):
        self.peer, self.index, self.queries, self.right, self.threads = peer, index, queries, right, threads

    def turn(self):
        """One round's points: (knob, recall, queries a second)."""
        clock = time.process_time if self.threads == 1 else time.perf_counter
        points = []
        for knob in self.peer.knobs:
            passes = []
            for _ in range(PASSES):
                start = clock()
                found = self.peer.search(self.index, self.queries, knob, self.threads)
                passes.append(clock() - start)
            points.append((knob, recall(found, self.right), len(self.queries) / float(np.median(passes))))
            if points[-1][1] > ENOUGH:
                break
        return points


def truth(folder, kind, base, queries):
    path = folder / f"{kind}_right.npy"
    if not path.exists():
        import faiss

        flat = faiss.IndexFlatIP(base.shape[1])
        flat.add(base)
        np.save(path, flat.search(queries, 10)[1])
    return np.load(path)


def recall(found, right):
    return float(np.mean([len(set(f[:10]) & set(r)) / 10 for f, r in zip(np.asarray(found).tolist(), right.tolist())]))


def at(points, level):
    """Queries a second at a recall, between the measured points; the fastest of those that reach it."""
    best = max((qps for r, qps in points if r >= level), default=None)
    for (r0, q0), (r1, q1) in zip(points, points[1:]):
        if r0 < level <= r1 and r1 > r0:
            best = max(best or 0, q0 + (q1 - q0) * (level - r0) / (r1 - r0))
    return best


class Results:
    """What was measured, in a file that is rewritten after each turn."""

    def __init__(self, path, fresh):
        self.path = path
        held = json.loads(path.read_text()) if path.exists() else {}
        # `built`: what each index costs. `rounds`: cell -> name -> a list of rounds.
        self.built, self.rounds = held.get("built", {}), {} if fresh else held.get("rounds", {})

    def of(self, cell, name):
        return self.rounds.setdefault(cell, {}).setdefault(name, [])

    def keep(self):
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({"built": self.built, "rounds": self.rounds}))
        part.replace(self.path)

    def curves(self):
        """For each cell and name: (recall, median queries a second) by knob."""
        def curve(rounds):
            knobs = [point[0] for point in rounds[0]]
            same = [[p for points in rounds for p in points if p[0] == knob] for knob in knobs]
            return [(float(np.median([p[1] for p in s])), float(np.median([p[2] for p in s]))) for s in same]

        return {cell: {name: curve(r) for name, r in named.items() if r} for cell, named in self.rounds.items()}


def measure(args, results, base, queries, right):
    peers = [name for name in ann_peers.PEERS if wanted(args, name)]
    # Only those that have turns left are loaded.
    cells = [(threads, kind) for threads in args.threads for kind in queries]
    left = lambda cell, name: args.rounds - len(results.of(f"{cell[1]}, {cell[0]} thread(s)", name))
    loaded, same = {}, {}
    for name in peers:
        file = ann_peers.PEERS[name][0]
        if any(left(cell, name) > 0 for cell in cells):
            if file not in same:
                same[file] = ann_peers.ready(name, args.folder, base, results.built)[1]
                results.keep()
                say_built(name, results.built[file])
            loaded[name] = (ann_peers.PEERS[name][1], same[file])
    for cell in cells:
        threads, kind = cell
        label = f"{kind}, {threads} thread(s)"
        turns = {}
        for name, guided in (("eyeshot, guided", True), ("eyeshot", False)):
            # On several threads the guided one alone: the other only shows what guidance gives.
            if wanted(args, "eyeshot") and left(cell, name) > 0 and (guided or threads == args.threads[0]):
                turns[name] = Eyeshot(args.eyeshot, args.folder, kind, threads, guided, left(cell, name))
        for name, (peer, index) in loaded.items():
            if left(cell, name) > 0:
                turns[name] = Peer(peer, index, queries[kind], right[kind], threads)
        for _ in range(args.rounds):
            for name, who in turns.items():
                if left(cell, name) > 0:
                    results.of(label, name).append(who.turn())
                    results.keep()
                    print(f"{label}: {name}, round {len(results.of(label, name))} of {args.rounds}", flush=True)
        for name, who in turns.items():
            if isinstance(who, Eyeshot):
                results.built[name] = who.end()
                results.keep()
                say_built(name, results.built[name])


def wanted(args, name):
    return not args.only or any(part in name.lower() for part in args.only)


def say_built(name, built):
    print(f"{name:24} build {built['build_cpu_s']:7.1f} cpu-s  memory {built['ram_bytes'] >> 20:6} MiB  "
          f"disk {built['disk_bytes'] >> 20:6} MiB", flush=True)


def report(results):
    print("\nWhat each takes")
    for name, built in results.built.items():
        say_built(name, built)
    for cell, named in results.curves().items():
        print(f"\n{cell}: queries a second at recall@10" + "".join(f"{l:>9.2f}" for l in LEVELS))
        speeds = {name: [at(points, level) for level in LEVELS] for name, points in named.items()}
        for name, cells in speeds.items():
            print(f"  {name:44}" + "".join(f"{c:9.0f}" if c else f"{'never':>9}" for c in cells))
        best = [max((s[i] or 0 for n, s in speeds.items() if not n.startswith("eyeshot")), default=0) for i in range(len(LEVELS))]
        for name in (n for n in speeds if n.startswith("eyeshot")):
            ratios = ((f"{s / b:8.2f}x" if s and b else f"{'-':>9}") for s, b in zip(speeds[name], best))
            print(f"  {name + ', for each 1 of the best peer':44}" + "".join(ratios))


def numbers(text):
    return [int(part) for part in text.split(",")]


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("folder", type=pathlib.Path)
    parse.add_argument("--eyeshot", default="target/release/eyeshot", help="the program to measure")
    parse.add_argument("-n", type=int, default=200_000, help="how many vectors")
    parse.add_argument("--dim", type=int, default=512)
    parse.add_argument("--seed", type=int, default=7)
    parse.add_argument("--threads", type=numbers, default=[1, 2], help="numbers of threads, such as 1 or 1,2")
    parse.add_argument("--rounds", type=int, default=3, help="turns that everybody takes")
    parse.add_argument("--only", type=lambda s: s.lower().split(","), help="parts of names, such as eyeshot,scann")
    parse.add_argument("--fresh", action="store_true", help="measure again what was measured before")
    args = parse.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if not (args.folder / "base.npy").exists():
        ann_data.make(args.folder, args.n, args.dim, args.seed)
    base = np.load(args.folder / "base.npy")
    if base.shape != (args.n, args.dim):
        raise SystemExit(f"{args.folder} holds {base.shape[0]} x {base.shape[1]} vectors: name another folder, or say -n and --dim")
    queries = {kind: np.load(args.folder / f"{kind}.npy") for kind in ("img", "txt")}
    right = {kind: truth(args.folder, kind, base, q) for kind, q in queries.items()}
    results = Results(args.folder / "ann.json", args.fresh)
    try:
        measure(args, results, base, queries, right)
    finally:
        # After a stop, what there is.
        report(results)
        ann_plot.draw(results.curves(), args.n, args.dim, args.folder / "ann.png")


if __name__ == "__main__":
    sys.exit(main())
