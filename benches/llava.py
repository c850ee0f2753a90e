"""Answering with LLaVA-1.5's shapes and random weights, in transformers and in Eyeshot, one after the other, in rounds.

    cargo bench --bench llava --no-run      # prints the path of the program
    python benches/llava.py DIR --program PATH [--layers 4] [--tokens 24] [--rounds 3] [--threads 2]

The vision tower is CLIP's ViT-L/14 at 336 px (577 tokens), the language model Llama 7B's with `--layers` of its 32 layers, so that
it fits memory: 5.5 GB in f32 with four. DIR keeps the checkpoint. Needs torch, transformers, numpy.
"""

import argparse
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

QUESTION = "What is left of the cat?"
TINY = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "llava" / "vicuna"


def make(folder, layers):
    """A checkpoint in the layout of llava-hf, with the fixture's tokenizer; its vocabulary is a small part of the model's."""
    if (folder / "config.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.json"):
        shutil.copy(TINY / name, folder)
    image = json.loads((TINY / "config.json").read_text())["image_token_index"]
    vision = CLIPVisionConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, image_size=336,
                              patch_size=14, projection_dim=768)
    text = LlamaConfig(vocab_size=32064, hidden_size=4096, intermediate_size=11008, num_hidden_layers=layers, num_attention_heads=32,
                       num_key_value_heads=32, max_position_embeddings=4096, rms_norm_eps=1e-5, pad_token_id=0)
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image, image_seq_length=576)
    torch.manual_seed(1)
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0, 0.02)
            if "norm" in name.lower() and name.endswith("weight"):
                parameter.add_(1)
    model.save_pretrained(folder, max_shard_size="2GB")
    CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}).save_pretrained(folder)
    rows = np.random.default_rng(2).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(rows).resize((336, 336)).save(folder / "picture.png")


def theirs(folder, tokens, dtype):
    """transformers' own generate, greedy, after the picture has been prepared."""
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    template = json.loads((folder / "chat_template.json").read_text())["chat_template"]
    content = [{"type": "image"}, {"type": "text", "text": QUESTION}]
    prompt = tokenizer.apply_chat_template([{"role": "user", "content": content}], chat_template=template, tokenize=False,
                                           add_generation_prompt=True)
    ids = tokenizer(prompt.replace("<image>", "<image>" * 576), return_tensors="pt").input_ids
    pixels = CLIPImageProcessorPil.from_pretrained(folder)(Image.open(folder / "picture.png").convert("RGB"), return_tensors="pt").pixel_values
    clock = []

    class Watch:
        def put(self, _):
            clock.append((time.perf_counter(), time.process_time()))

        def end(self):
            pass

    start = (time.perf_counter(), time.process_time())
    with torch.inference_mode():
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels.to(dtype), do_sample=False,
                             max_new_tokens=tokens, min_new_tokens=tokens, streamer=Watch())
    first, last = clock[1], clock[-1]  # the first call brings the prompt
    return {"first": first[0] - start[0], "first_cpu": first[1] - start[1], "tokens_per_s": (tokens - 1) / (last[0] - first[0]),
            "cpu_per_token": (last[1] - first[1]) / (tokens - 1), "ids": out[0, ids.shape[1]:].tolist()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--program", required=True)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--packings", nargs="*", default=["none", "q8_0", "q4k"])
    args = parser.parse_args()
    make(args.folder, args.layers)
    torch.set_num_threads(args.threads)
    environment = {**os.environ, "RAYON_NUM_THREADS": str(args.threads)}
    print("| round | | first token s | its CPU s | tokens/s | CPU ms a token | same tokens |")
    print("|---|---|---|---|---|---|---|")
    for number in range(1, args.rounds + 1):
        reference = theirs(args.folder, args.tokens, torch.float32)
        rows = [("torch f32", reference)]
        for packing in args.packings:
            command = [args.program, str(args.folder), str(args.tokens), packing]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            rows.append((f"eyeshot {'f32' if packing == 'none' else packing}", json.loads(done.stdout)))
        for name, row in rows:
            same = sum(a == b for a, b in zip(row["ids"], reference["ids"]))
            print(f"| {number} | {name} | {row['first']:.2f} | {row['first_cpu']:.2f} | {row['tokens_per_s']:.2f} "
                  f"| {1000 * row['cpu_per_token']:.0f} | {same} of {args.tokens} |", flush=True)


if __name__ == "__main__":
    main()
