"""Eyeshot's index beside its peers: same data, same run, in turns, on one thread (and on two).

    pip install numpy matplotlib hnswlib faiss-cpu usearch scann
    python benches/ann.py DIR --eyeshot target/release/eyeshot [-n 200000] [--dim 512] [--peers hnswlib16,scann]

Makes the data in DIR if it is not there (ann_data.py), builds each index, sweeps each one's knob, and prints a table of
queries a second at recall@10 0.90, 0.95 and 0.99, which is also plotted. Each point is the median of several passes. One thread is timed by its
processor time, so that other programs disturb less; several threads by the clock.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

import numpy as np

import ann_data

EF = [10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448, 640, 900, 1300]
LEAVES = [2, 4, 8, 12, 18, 26, 40, 60, 90, 130, 200, 300]
LEVELS = [0.90, 0.95, 0.99]
PASSES = 5


def truth(base, queries):
    import faiss

    flat = faiss.IndexFlatIP(base.shape[1])
    flat.add(base)
    return flat.search(queries, 10)[1]


def hnswlib_peer(base, m):
    import hnswlib

    index = hnswlib.Index("ip", base.shape[1])
    index.init_index(len(base), ef_construction=200, M=m)
    index.add_items(base, num_threads=1)

    def search(queries, knob, threads):
        index.set_ef(knob)
        return index.knn_query(queries, k=10, num_threads=threads)[0]

    return [(f"hnswlib M{m}", EF, search)], base.nbytes + len(base) * (8 * m + 80)


def faiss_peer(base, m, sq):
    import faiss

    dim = base.shape[1]
    if sq:
        index = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, m, faiss.METRIC_INNER_PRODUCT)
    else:
        index = faiss.IndexHNSWFlat(dim, m, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 200
    faiss.omp_set_num_threads(1)
    index.train(base[:20000])
    index.add(base)

    def search(queries, knob, threads):
        faiss.omp_set_num_threads(threads)
        index.hnsw.efSearch = knob
        return index.search(queries, 10)[1]

    name = f"faiss HNSW {'SQ8' if sq else 'flat'} M{m}"
    return [(name, EF, search)], len(base) * (dim * (1 if sq else 4) + 8 * m + 16)


def usearch_peer(base, dtype):
    from usearch.index import Index

    index = Index(ndim=base.shape[1], metric="ip", dtype=dtype, connectivity=16, expansion_add=200)
    index.add(np.arange(len(base)), base, threads=1)

    def search(queries, knob, threads):
        index.expansion_search = knob
        return index.search(queries, 10, threads=threads).keys

    return [(f"usearch {dtype}", EF, search)], index.memory_usage


def scann_peer(base):
    import scann

    leaves = int(2 * np.sqrt(len(base)))
    builder = scann.scann_ops_pybind.builder(base, 10, "dot_product")
    builder = builder.tree(leaves, 50, training_sample_size=min(len(base), 100_000))
    index = builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100).build()

    def sweep(reorder):
        def search(queries, knob, threads):
            if threads > 1:
                return index.search_batched_parallel(
                    queries, 10, leaves_to_search=knob, pre_reorder_num_neighbors=reorder
                )[0]
            one = lambda q: index.search(q, 10, leaves_to_search=knob, pre_reorder_num_neighbors=reorder)[0]
            return np.array([one(q) for q in queries])

        return f"ScaNN reorder {reorder}", LEAVES, search

    return [sweep(r) for r in (40, 100, 250)], base.nbytes + base.nbytes // 8


PEERS = {
    "hnswlib16": lambda base: hnswlib_peer(base, 16),
    "hnswlib32": lambda base: hnswlib_peer(base, 32),
    "faiss": lambda base: faiss_peer(base, 32, False),
    "faiss-sq8": lambda base: faiss_peer(base, 32, True),
    "usearch": lambda base: usearch_peer(base, "f16"),
    "usearch-i8": lambda base: usearch_peer(base, "i8"),
    "scann": scann_peer,
}


def recall(found, right):
    return float(np.mean([len(set(f) & set(r)) / 10 for f, r in zip(np.asarray(found)[:, :10].tolist(), right.tolist())]))


def sweep(search, knobs, queries, right, threads):
    points = []
    for knob in knobs:
        passes = []
        for _ in range(PASSES):
            clock = time.process_time if threads == 1 else time.perf_counter
            start = clock()
            found = search(queries, knob, threads)
            passes.append(clock() - start)
        points.append((recall(found, right), len(queries) / float(np.median(passes))))
        if points[-1][0] > 0.995:
            break
    return points


def eyeshot(binary, folder, kind, threads, samples):
    command = [binary, "eval", "ann", "--base", folder / "base.npy", "--queries", folder / f"{kind}.npy"]
    command += ["--ef", ",".join(map(str, EF[:12])), "--threads", str(threads), "--json"]
    if samples:
        command += ["--sample-queries", folder / "samples.npy"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    *rows, built = map(json.loads, lines)
    speed = (lambda row: 1e6 / row["cpu_us"]) if threads == 1 else (lambda row: row["qps"])
    return [(row["recall"], speed(row)) for row in rows], built


def at(points, level):
    """Queries a second at a recall, between the measured points; the fastest of those that reach it."""
    best = max((qps for r, qps in points if r >= level), default=None)
    for (r0, q0), (r1, q1) in zip(points, points[1:]):
        if r0 < level <= r1 and r1 > r0:
            best = max(best or 0, q0 + (q1 - q0) * (level - r0) / (r1 - r0))
    return best


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("folder", type=pathlib.Path)
    parse.add_argument("--eyeshot", default="target/release/eyeshot")
    parse.add_argument("-n", type=int, default=200_000)
    parse.add_argument("--dim", type=int, default=512)
    parse.add_argument("--seed", type=int, default=7)
    parse.add_argument("--threads", type=lambda s: [int(t) for t in s.split(",")], default=[1, 2])
    parse.add_argument("--peers", type=lambda s: s.split(","), default=list(PEERS))
    args = parse.parse_args()
    if not (args.folder / "base.npy").exists():
        ann_data.make(args.folder, args.n, args.dim, args.seed)
    base = np.load(args.folder / "base.npy")
    queries = {kind: np.load(args.folder / f"{kind}.npy") for kind in ("img", "txt")}
    right = {kind: truth(base, q) for kind, q in queries.items()}
    curves = {}

    def ours(label, samples):
        for threads in args.threads:
            for kind in queries:
                points, built = eyeshot(args.eyeshot, args.folder, kind, threads, samples)
                curves.setdefault((threads, kind), {})[label] = points
        print(f"{label:28} build {built['build_cpu_s']:7.1f} cpu-s  memory {built['ram_bytes'] >> 20:6} MiB  "
              f"disk {built['disk_bytes'] >> 20} MiB  open {built['open_s']:.2f} s  unreachable {built['unreachable']}")

    # Before the peers and after, so that a machine that gets slower or faster shows.
    ours("eyeshot, guided", True)
    for peer in args.peers:
        start = time.process_time()
        sweeps, memory = PEERS[peer](base)
        print(f"{sweeps[0][0]:28} build {time.process_time() - start:7.1f} cpu-s  memory {memory >> 20:6} MiB")
        for threads in args.threads:
            for kind, q in queries.items():
                for name, knobs, search in sweeps:
                    points = sweep(search, knobs, q, right[kind], threads)
                    curves.setdefault((threads, kind), {})[name] = points
    ours("eyeshot", False)
    ours("eyeshot, guided, again", True)

    for (threads, kind), named in curves.items():
        print(f"\n{kind}, {threads} thread(s): queries a second at recall@10" + "".join(f"{l:>9.2f}" for l in LEVELS))
        for name, points in named.items():
            cells = (at(points, level) for level in LEVELS)
            print(f"  {name:46}" + "".join(f"{c:9.0f}" if c else f"{'never':>9}" for c in cells))
    plot(curves, args.folder / "ann.png")


def plot(curves, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(6 * len(curves), 5), squeeze=False)
    for axis, ((threads, kind), named) in zip(axes[0], curves.items()):
        for name, points in named.items():
            axis.plot(*zip(*points), marker="o", markersize=3, label=name)
        axis.set(title=f"{kind}, {threads} thread(s)", xlabel="recall@10", yscale="log", xlim=(0.85, 1.0))
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("queries a second")
    axes[0][-1].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    sys.exit(main())
