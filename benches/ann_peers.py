"""The peers of Eyeshot's index, each with the same verbs: build, save, load, search.

`search(queries, knob, threads, allowed)` gives ten ids a query; `allowed` is None or a boolean per base row. Every
build is what the peer's own advice gives good recall with (efConstruction 200), and runs on all processors: its cost is
counted in processor time.
"""

import ctypes
import gc
import os
import pathlib
import time

import numpy as np

K = 10
EF = [10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448, 640, 900, 1300]
LEAVES = [2, 4, 8, 12, 18, 26, 40, 60, 90, 130, 200, 300]


class Hnswlib:
    knobs = EF

    def __init__(self, m):
        self.m = m

    def build(self, base):
        import hnswlib

        index = hnswlib.Index("ip", base.shape[1])
        index.init_index(len(base), ef_construction=200, M=self.m)
        index.add_items(base, num_threads=os.cpu_count())
        return index

    def save(self, index, path):
        index.save_index(str(path))

    def load(self, path, base):
        import hnswlib

        index = hnswlib.Index("ip", base.shape[1])
        index.load_index(str(path))
        return index

    def search(self, index, queries, knob, threads):
        index.set_ef(knob)
        return index.knn_query(queries, k=K, num_threads=threads)[0]


class Faiss:
    knobs = EF

    def __init__(self, m, sq):
        self.m, self.sq = m, sq

    def build(self, base):
        import faiss

        dim, metric = base.shape[1], faiss.METRIC_INNER_PRODUCT
        if self.sq:
            index = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, self.m, metric)
        else:
            index = faiss.IndexHNSWFlat(dim, self.m, metric)
        index.hnsw.efConstruction = 200
        faiss.omp_set_num_threads(os.cpu_count())
        index.train(base[:20000])
        index.add(base)
        return index

    def save(self, index, path):
        import faiss

        faiss.write_index(index, str(path))

    def load(self, path, base):
        import faiss

        return faiss.read_index(str(path))

    def search(self, index, queries, knob, threads):
        import faiss

        faiss.omp_set_num_threads(threads)
        index.hnsw.efSearch = knob
        return index.search(queries, K)[1]


class Usearch:
    knobs = EF

    def __init__(self, m, dtype):
        self.m, self.dtype = m, dtype

    def _new(self, dim):
        from usearch.index import Index

        return Index(ndim=dim, metric="ip", dtype=self.dtype, connectivity=self.m, expansion_add=200)

    def build(self, base):
        index = self._new(base.shape[1])
        index.add(np.arange(len(base)), base, threads=os.cpu_count())
        return index

    def save(self, index, path):
        index.save(str(path))

    def load(self, path, base):
        index = self._new(base.shape[1])
        index.load(str(path))
        return index

    def search(self, index, queries, knob, threads):
        index.expansion_search = knob
        return index.search(queries, K, threads=threads).keys


class Scann:
    knobs = LEAVES

    def __init__(self, reorder):
        self.reorder = reorder

    def build(self, base):
        import scann

        leaves = int(2 * np.sqrt(len(base)))
        builder = scann.scann_ops_pybind.builder(base, K, "dot_product")
        builder = builder.tree(leaves, 50, training_sample_size=min(len(base), 100_000))
        return builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(100).build()

    def save(self, index, path):
        path.mkdir(exist_ok=True)
        index.serialize(str(path))

    def load(self, path, base):
        import scann

        return scann.scann_ops_pybind.load_searcher(str(path))

    def search(self, index, queries, knob, threads):
        how = dict(leaves_to_search=knob, pre_reorder_num_neighbors=self.reorder)
        if threads > 1:
            index.set_num_threads(threads)
            return index.search_batched_parallel(queries, K, **how)[0]
        return np.array([index.search(q, K, **how)[0] for q in queries])


# A name, the file its index is kept in (ScaNN's three differ in the search alone), and how it is made.
PEERS = {
    "hnswlib M16": ("hnswlib-16", Hnswlib(16)),
    "hnswlib M32": ("hnswlib-32", Hnswlib(32)),
    "faiss HNSW flat M16": ("faiss-16", Faiss(16, False)),
    "faiss HNSW flat M32": ("faiss-32", Faiss(32, False)),
    "faiss HNSW SQ8 M16": ("faiss-sq8-16", Faiss(16, True)),
    "faiss HNSW SQ8 M32": ("faiss-sq8-32", Faiss(32, True)),
    "usearch f16 M16": ("usearch-f16-16", Usearch(16, "f16")),
    "usearch f16 M32": ("usearch-f16-32", Usearch(32, "f16")),
    "usearch i8 M16": ("usearch-i8-16", Usearch(16, "i8")),
    "ScaNN reorder 40": ("scann", Scann(40)),
    "ScaNN reorder 100": ("scann", Scann(100)),
    "ScaNN reorder 250": ("scann", Scann(250)),
}


def resident():
    """Bytes of memory that this process holds, after giving back what it can."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def on_disk(path):
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    return sum(f.stat().st_size for f in files)


def ready(name, folder, base, built):
    """The peer's index, from `folder` or built and put there; notes in `built` what it costs."""
    file, peer = PEERS[name]
    path = folder / file
    if file not in built or not path.exists():
        start = time.process_time()
        index = peer.build(base)
        cost = time.process_time() - start
        peer.save(index, path)
        built[file] = {"build_cpu_s": cost, "disk_bytes": on_disk(path)}
        del index
    before = resident()
    index = peer.load(path, base)
    built[file]["ram_bytes"] = max(resident() - before, 0)
    return peer, index
