"""What a Python user would write to embed a folder or a bucket: Pillow and a DataLoader's processes before ONNX Runtime. Prints JSON:
images, seconds.

    python benches/encoder/pipeline.py MODEL.onnx FOLDER|s3://BUCKET/PREFIX [--threads 2] [--workers 2] [--batch 32]

Importing and loading the model are left out; starting the workers is not, since each epoch starts them.
"""

import argparse
import io
import json
import time
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from torch.utils.data import DataLoader, Dataset

try:
    import boto3
except ImportError:
    # It is for buckets alone.
    boto3 = None

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
SIDE = 224


class Pictures(Dataset):
    def __init__(self, folder):
        self.names = sorted(Path(folder).glob("*.jpg"))

    def __len__(self):
        return len(self.names)

    def file(self, number):
        return self.names[number]

    def __getitem__(self, number):
        image = Image.open(self.file(number)).convert("RGB")
        width, height = image.size
        scale = SIDE / min(width, height)
        image = image.resize((max(SIDE, int(width * scale)), max(SIDE, int(height * scale))), Image.Resampling.BICUBIC)
        left, top = (image.width - SIDE) // 2, (image.height - SIDE) // 2
        values = np.asarray(image.crop((left, top, left + SIDE, top + SIDE)), np.float32) / 255
        return ((values - MEAN) / STD).transpose(2, 0, 1).copy()


class Objects(Pictures):
    """Those of a bucket; address and keys are in the environment."""

    def __init__(self, place):
        self.bucket, _, prefix = place.removeprefix("s3://").partition("/")
        pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        self.names = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        self.client = None

    def file(self, number):
        # A client does not live on in the worker that the object is copied into.
        self.client = self.client or boto3.client("s3")
        return io.BytesIO(self.client.get_object(Bucket=self.bucket, Key=self.names[number])["Body"].read())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("place")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int, default=32)
    args = parser.parse_args()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    started = time.perf_counter()
    pictures = Objects(args.place) if args.place.startswith("s3://") else Pictures(args.place)
    loader = DataLoader(pictures, batch_size=args.batch, num_workers=args.workers)
    embeddings = [session.run(None, {"pixels": pixels.numpy()})[0] for pixels in loader]
    seconds = time.perf_counter() - started
    print(json.dumps({"images": len(np.concatenate(embeddings)), "seconds": seconds}))


if __name__ == "__main__":
    main()
