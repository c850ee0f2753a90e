"""The picture tower alone, and a folder or a bucket from files to vectors, in Eyeshot and in ONNX Runtime: in turns, in rounds, medians at
the end.

    cargo build --release --bins --benches      # names target/release/deps/encoder-...
    python benches/encoder/make.py DIR
    python benches/encoder/compare.py DIR --eyeshot target/release/eyeshot --bench target/release/deps/encoder-... [--rounds 5]
    python benches/encoder/compare.py DIR --eyeshot target/release/eyeshot --only bucket --sizes 1mp      # pip install moto[s3,server] boto3

Times leave out loading the models on both sides. Needs what make.py and pipeline.py need.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from pipeline import Pictures

HERE = Path(__file__).resolve().parent
MODELS = {"f32": "vitb32.onnx", "int8": "vitb32.int8.onnx"}
WHO = ("theirs", "ours")


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def turns(bench, cases):
    """Rounds in which both sides take turns: (case, dtype, who) -> a row each round."""
    runs = {}
    for _ in range(bench.args.rounds):
        for case in cases:
            for dtype in MODELS:
                for who in WHO:
                    runs.setdefault((case, dtype, who), []).append(getattr(bench, who)(dtype, case))
    return runs


class Alone:
    """Pictures that are decoded and scaled, in one batch: CPU ms a picture on one thread, by the clock on several."""

    def __init__(self, args):
        self.args = args
        pictures = Pictures(args.folder / "1mp")
        some = [pictures[number % len(pictures)] for number in range(min(args.count, len(pictures)))]
        self.pixels = np.stack([some[number % len(some)] for number in range(args.count)])
        self.found = {}

    def theirs(self, dtype, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(self.args.folder / MODELS[dtype], options, providers=["CPUExecutionProvider"])
        session.run(None, {"pixels": self.pixels[:2]})
        wall, cpu = time.perf_counter(), time.process_time()
        self.found["onnx", dtype] = session.run(None, {"pixels": self.pixels})[0]
        return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}

    def ours(self, dtype, threads):
        command = [self.args.bench, str(self.args.folder / "model"), dtype, str(self.args.folder / "1mp"), str(self.args.count)]
        environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
        row = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
        self.found["eyeshot", dtype] = np.array(row.pop("embeddings"))
        return row

    def run(self):
        runs = turns(self, self.args.threads)
        print("| threads | | ONNX Runtime: CPU ms a picture | by the clock | Eyeshot: CPU ms a picture | by the clock | times as fast: CPU | clock |")
        print("|---|---|---|---|---|---|---|---|")
        for threads in self.args.threads:
            for dtype in MODELS:
                onnx, own = ({key: median(runs[threads, dtype, who], key) / self.args.count * 1000 for key in ("cpu", "wall")}
                             for who in WHO)
                print(f"| {threads} | {dtype} | {onnx['cpu']:.1f} | {onnx['wall']:.1f} | {own['cpu']:.1f} | {own['wall']:.1f} "
                      f"| {onnx['cpu'] / own['cpu']:.2f} | {onnx['wall'] / own['wall']:.2f} |")
        reference = self.found["onnx", "f32"]
        for who, found in self.found.items():
            print(f"{' '.join(who)}: cosine to ONNX Runtime's f32 at least {(found * reference).sum(1).min():.5f}")


class Folder:
    """Files to vectors: images a second by the clock."""

    environment = {}

    def __init__(self, args):
        self.args = args

    def place(self, size):
        return str(self.args.folder / size)

    def last(self, command):
        ran = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | self.environment)
        return json.loads(ran.stdout.splitlines()[-1])

    def theirs(self, dtype, size):
        row = self.last([sys.executable, str(HERE / "pipeline.py"), str(self.args.folder / MODELS[dtype]), self.place(size)])
        return {"rate": row["images"] / row["seconds"]}

    def ours(self, dtype, size):
        with tempfile.TemporaryDirectory() as data:
            row = self.last([self.args.eyeshot, "--data", data, "index", self.place(size), "--model", str(self.args.folder / "model"),
                             "--dtype", dtype, "--json"])
        assert not row["refused"] and not row["duplicates"], row
        return {"rate": row["indexed"] / row["seconds"]}

    def run(self):
        runs = turns(self, self.args.sizes)
        print("| pictures | | Python: images/s | Eyeshot: images/s | times as fast | times Python's f32 |")
        print("|---|---|---|---|---|---|")
        for size in self.args.sizes:
            for dtype in MODELS:
                python, own, f32 = (median(runs[size, which, who], "rate")
                                    for which, who in [(dtype, "theirs"), (dtype, "ours"), ("f32", "theirs")])
                print(f"| {size} | {dtype} | {python:.1f} | {own:.1f} | {own / python:.2f} | {own / f32:.2f} |")


class Bucket(Folder):
    """The same pictures, as objects of an S3 server in a process of its own on the same cores."""

    def __init__(self, args, endpoint):
        super().__init__(args)
        self.environment = {"AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "bench",
                            "AWS_SECRET_ACCESS_KEY": "bench", "AWS_EC2_METADATA_DISABLED": "true"}
        os.environ.update(self.environment)
        import boto3

        client = boto3.client("s3")
        client.create_bucket(Bucket="pictures")
        for size in args.sizes:
            for path in sorted((args.folder / size).glob("*.jpg")):
                client.put_object(Bucket="pictures", Key=f"{size}/{path.name}", Body=path.read_bytes())

    def place(self, size):
        return f"s3://pictures/{size}/"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--eyeshot", required=True)
    parser.add_argument("--bench", help="the bench of the tower alone")
    parser.add_argument("--only", nargs="+", choices=["alone", "folder", "bucket"], default=["alone", "folder"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--sizes", nargs="+", default=["1mp", "12mp"])
    args = parser.parse_args()
    if "alone" in args.only and not args.bench:
        parser.error("--bench is missing, or --only folder or bucket")
    if "alone" in args.only:
        Alone(args).run()
    if "folder" in args.only:
        print(flush=True)
        Folder(args).run()
    if "bucket" in args.only:
        sys.path.append(str(HERE.parent / "buckets"))
        import shared

        port = shared.free_port()
        with shared.served([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port):
            print(flush=True)
            Bucket(args, f"http://127.0.0.1:{port}").run()


if __name__ == "__main__":
    main()
