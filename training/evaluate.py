"""Measures an exported CLIP on a folder written by scenes.py, with transformers alone: a reference for the Rust engine.

    python training/evaluate.py DIR [--model assets/models/demo-clip]

Prints one JSON line with the fields of `eyeshot eval retrieval --json`. A query is a hit at k when any relevant image is
among its k best by cosine.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import CLIPModel, CLIPProcessor

BATCH = 100


class Encoder:
    """An exported model and its processor; every method gives unit embeddings, shape (n, dim)."""

    def __init__(self, folder: Path) -> None:
        self.model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = CLIPProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def images(self, paths: list[Path]) -> Tensor:
        parts = []
        for i in range(0, len(paths), BATCH):
            pixels = self.processor(images=[Image.open(p) for p in paths[i : i + BATCH]], return_tensors="pt")
            parts.append(self.model.get_image_features(**pixels).pooler_output)
        return F.normalize(torch.cat(parts), dim=-1)

    @torch.inference_mode()
    def texts(self, texts: list[str]) -> Tensor:
        parts = []
        for i in range(0, len(texts), BATCH):
            ids = self.processor(text=texts[i : i + BATCH], padding=True, truncation=True, return_tensors="pt")
            parts.append(self.model.get_text_features(**ids).pooler_output)
        return F.normalize(torch.cat(parts), dim=-1)


def first_hits(scores: Tensor, relevant: list[set[int]]) -> Tensor:
    """The rank, from 0, of each query's best relevant image; scores (queries, images)."""
    order = scores.argsort(dim=1, descending=True).tolist()
    return torch.tensor([next(r for r, i in enumerate(row) if i in good) for row, good in zip(order, relevant)])


def evaluate(folder: Path, encoder: Encoder) -> dict[str, float]:
    paths = sorted(p for p in folder.iterdir() if p.suffix in (".jpg", ".png"))
    place = {p.name: i for i, p in enumerate(paths)}
    images = encoder.images(paths)
    queries = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    by_text, by_image = ([q for q in queries if kind in q] for kind in ("query", "image"))

    def ranks(embeddings: Tensor, rows: list[dict]) -> Tensor:
        return first_hits(embeddings @ images.T, [{place[n] for n in q["relevant"]} for q in rows])

    text = ranks(encoder.texts([q["query"] for q in by_text]), by_text)
    image = ranks(encoder.images([folder / q["image"] for q in by_image]), by_image)
    measures = {f"r{k}": (text, k) for k in (1, 5, 10)} | {"i2i_r1": (image, 1), "i2i_r10": (image, 10)}
    return {"queries": len(queries)} | {m: round((r < k).float().mean().item(), 4) for m, (r, k) in measures.items()}


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--model", type=Path, default=Path(__file__).resolve().parent.parent / "assets/models/demo-clip")
    a = p.parse_args()
    print(json.dumps(evaluate(a.folder, Encoder(a.model))))


if __name__ == "__main__":
    main()
