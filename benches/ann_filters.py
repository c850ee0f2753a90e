"""Eyeshot's filtered search beside its peers': same data, same conditions, in turns, on one thread, by processor time.

    python benches/ann_data.py DIR -n 200000
    python benches/ann_filters.py DIR --eyeshot target/release/eyeshot

A share of the images may answer: drawn at random, or the ones most like some topic, which lie far from most queries.
Prints queries a second at recall@10 of 0.98. hnswlib asks a Python function about each node, which is most of its time;
faiss is given a bitmap. usearch's and ScaNN's Python interfaces take no condition.
"""

import argparse
import json
import pathlib
import subprocess
import time

import numpy as np

import ann
import ann_peers

SHARES = [0.5, 0.1, 0.01, 0.001]
LEVEL = 0.98
QUERIES = 300
# A pass that takes this many seconds is a sweep's last.
LONGEST = 8


class FaissGraph(ann_peers.Faiss):
    def filtered(self, index, queries, knob, allowed):
        import faiss

        how = faiss.SearchParametersHNSW(sel=bitmap(allowed), efSearch=knob)
        return index.search(queries, ann_peers.K, params=how)[1]


class FaissScan:
    """Everything allowed is scored, in full precision."""

    knobs = [0]

    def build(self, base):
        import faiss

        index = faiss.IndexFlatIP(base.shape[1])
        index.add(base)
        return index

    def filtered(self, index, queries, knob, allowed):
        import faiss

        return index.search(queries, ann_peers.K, params=faiss.SearchParameters(sel=bitmap(allowed)))[1]


class Hnswlib(ann_peers.Hnswlib):
    def filtered(self, index, queries, knob, allowed):
        index.set_ef(knob)
        may = allowed.tolist().__getitem__
        return index.knn_query(queries, k=ann_peers.K, num_threads=1, filter=may)[0]


def bitmap(allowed):
    import faiss

    return faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))


def topic(base, share, rng):
    """The share of the images that is most like a random one."""
    score = base @ base[rng.integers(len(base))]
    allowed = np.zeros(len(base), bool)
    allowed[np.argsort(-score)[: int(share * len(base))]] = True
    return allowed


def right_answers(base, queries, allowed):
    ids = np.flatnonzero(allowed)
    return ids[np.argsort(-(queries @ base[ids].T), axis=1)[:, : ann_peers.K]]


def sweep(peer, index, queries, allowed, right):
    points = []
    for knob in peer.knobs:
        start = time.process_time()
        try:
            found = peer.filtered(index, queries, knob, allowed)
        except RuntimeError:
            # hnswlib raises where it finds fewer than ten.
            continue
        took = time.process_time() - start
        points.append((ann.recall(found, right), len(queries) / took))
        if points[-1][0] > ann.ENOUGH or took > LONGEST:
            break
    return points


def eyeshot(args, kind, scratch, guided):
    command = [args.eyeshot, "eval", "ann", "--base", args.folder / "base.npy", "--queries", scratch / "queries.npy"]
    command += ["--allow", scratch / "allow.npy", "--threads", "1", "--json"]
    command += ["--ef", "10,16,24,32,48,64,96,128,192,256,384,512"]
    command += ["--sample-queries", args.folder / "samples.npy"] if guided else []
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    return [(row["recall"], 1e6 / row["cpu_us"]) for row in rows if "ef" in row]


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("folder", type=pathlib.Path)
    parse.add_argument("--eyeshot", default="target/release/eyeshot", help="the program to measure")
    parse.add_argument("--seed", type=int, default=11)
    args = parse.parse_args()
    base = np.load(args.folder / "base.npy")
    rng = np.random.default_rng(args.seed)
    peers, indexes = {"hnswlib M16": Hnswlib(16), "faiss HNSW flat M16": FaissGraph(16, False)}, {}
    for name, peer in peers.items():
        path = args.folder / ann_peers.PEERS[name][0]
        if not path.exists():
            peer.save(peer.build(base), path)
        indexes[name] = peer.load(path, base)
    peers["faiss scan"] = FaissScan()
    indexes["faiss scan"] = peers["faiss scan"].build(base)
    import faiss

    faiss.omp_set_num_threads(1)
    print("| who may answer | eyeshot | " + " | ".join(peers) + " | for each 1 of the best | eyeshot's highest recall |")
    print("|---" * (len(peers) + 4) + "|", flush=True)
    cells = [(kind, how, share) for kind in ("txt", "img") for how in ("random", "topic") for share in SHARES]
    for kind, how, share in cells:
        queries = np.load(args.folder / f"{kind}.npy")[:QUERIES]
        allowed = rng.random(len(base)) < share if how == "random" else topic(base, share, rng)
        np.save(args.folder / "queries.npy", queries)
        np.save(args.folder / "allow.npy", allowed[None])
        right = right_answers(base, queries, allowed)
        own = eyeshot(args, kind, args.folder, guided=kind == "txt")
        curves = {name: sweep(peer, indexes[name], queries, allowed, right) for name, peer in peers.items()}
        speeds = [ann.at(own, LEVEL), *(ann.at(points, LEVEL) for points in curves.values())]
        best = max((speed for speed in speeds[1:] if speed), default=None)
        said = [f"{speed:,.0f}" if speed else "never" for speed in speeds]
        ratio = f"{speeds[0] / best:.2f}" if speeds[0] and best else "-"
        highest = max(point[0] for point in own)
        print(f"| {kind}, {how} {share:.1%} | " + " | ".join(said) + f" | {ratio} | {highest:.4f} |", flush=True)


if __name__ == "__main__":
    main()
