"""Reranking with full-size blip-itm-base shapes and random weights, in transformers and in Eyeshot, one after the other, in rounds.

    cargo bench --bench blip --no-run      # prints the path of the program
    python benches/blip.py DIR --program PATH [--hits 32] [--rounds 3] [--threads 2]

DIR keeps the checkpoint (0.9 GB) and the pictures. Decoding and scaling are left out on both sides. Needs torch, transformers, numpy.
"""

import argparse
import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import BlipConfig, BlipForImageTextRetrieval
from transformers.models.bert.tokenization_bert import BertTokenizer
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

TEXT = "a small dog to the left of two red cars"


def make(folder, hits):
    """blip-itm-base: ViT-B/16 at 384 px, BERT base; every parameter drawn, so that pictures and texts matter."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + TEXT.split()
    words = list(dict.fromkeys(words)) + [f"word{n}" for n in range(30522)]
    (folder / "vocab.txt").write_text("\n".join(words[:30522]) + "\n")
    if not (folder / "model.safetensors").exists():
        torch.manual_seed(1)
        config = BlipConfig(text_config={"num_attention_heads": 12, "sep_token_id": 3})
        model = BlipForImageTextRetrieval(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.normal_(0, 0.03)
                if "norm" in name.lower() and name.endswith("weight"):
                    parameter.add_(1)
        config.architectures = ["BlipForImageTextRetrieval"]
        model.save_pretrained(folder)
        config.save_pretrained(folder)
        BlipImageProcessorPil().save_pretrained(folder)
    rng = np.random.default_rng(2)
    for hit in range(hits):
        path = folder / f"hit-{hit:02}.png"
        if not path.exists():
            rows = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(rows).resize((384, 384)).save(path)


class Torch:
    def __init__(self, folder, hits):
        self.model = BlipForImageTextRetrieval.from_pretrained(folder).eval()
        vocab = {w: i for i, w in enumerate((folder / "vocab.txt").read_text().split("\n")[:-1])}
        pictures = [Image.open(folder / f"hit-{hit:02}.png") for hit in range(hits)]
        self.pixels = BlipImageProcessorPil()(pictures, return_tensors="pt")["pixel_values"]
        self.ids = BertTokenizer(vocab=vocab)([TEXT], return_tensors="pt")["input_ids"]
        self.model.vision_model(self.pixels[:1])

    @torch.inference_mode()
    def run(self):
        """As `BlipForImageTextRetrieval.forward`, the pictures in batches of 8."""
        clock = lambda: (time.perf_counter(), time.process_time())
        start = clock()
        states = torch.cat([self.model.vision_model(pixels)[0] for pixels in self.pixels.split(8)])
        looked = clock()
        read = self.model.text_encoder(self.ids.expand(len(states), -1), encoder_hidden_states=states)[0]
        scores = self.model.itm_head(read[:, 0]).softmax(-1)[:, 1]
        end = clock()
        return {"look": looked[0] - start[0], "match": end[0] - looked[0], "wall": end[0] - start[0],
                "cpu": end[1] - start[1], "matches": scores.tolist()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--program", required=True)
    parser.add_argument("--hits", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    make(args.folder, args.hits)
    torch.set_num_threads(args.threads)
    reference = Torch(args.folder, args.hits)
    print("| round | torch wall s | torch CPU s | eyeshot wall s | eyeshot CPU s | CPU ratio | eyeshot look + match, wall s | ms a pair, CPU |")
    print("|---|---|---|---|---|---|---|---|")
    for number in range(args.rounds):
        theirs = reference.run()
        environment = {**os.environ, "RAYON_NUM_THREADS": str(args.threads)}
        command = [args.program, str(args.folder), str(args.hits), TEXT]
        ours = json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
        worst = max(abs(a - b) for a, b in zip(ours["matches"], theirs["matches"], strict=True))
        assert worst < 1e-4, f"the probabilities differ by {worst}"
        print(f"| {number + 1} | {theirs['wall']:.2f} | {theirs['cpu']:.2f} | {ours['wall']:.2f} | {ours['cpu']:.2f} "
              f"| {ours['cpu'] / theirs['cpu']:.2f} | {ours['look']:.2f} + {ours['match']:.2f} | {ours['cpu'] / args.hits * 1000:.0f} |", flush=True)


if __name__ == "__main__":
    main()
