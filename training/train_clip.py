"""Trains the demo CLIP on emoji scenes and exports it in Hugging Face layout.

    python training/train_clip.py --minutes 90                  # on a CPU; --device cuda on a GPU
    python training/train_clip.py --minutes 90 --resume         # goes on from the last checkpoint
    python training/train_clip.py --export-only                 # exports the last checkpoint's averaged weights

Two towers of `transformers.CLIPModel` learn from a contrastive loss that does not punish captions which also fit, and from
two heads that the export drops: each patch names the object that covers it, and one shared head reads kinds, count and
background from both the image's and the text's embedding, which lines the two up.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import IterableDataset, get_worker_info
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

import loop
import scenes
from align import Prototypes, contrastive, hit_rate, patch_loss
from data import BACKGROUND_LABEL, MEAN, PATCH, SIZE, STD, Batch, SpriteBank, normalise
from tokenizer import build_tokenizer
from world import caption, concepts, fits, parse

TEXT_LEN = 32


@dataclass
class Captioned(Batch):
    """ids (B, L): one caption of each picture."""

    ids: Tensor


class SceneBatches(IterableDataset[Captioned]):
    """Endless random batches of training scenes, one caption each."""

    def __init__(self, size: int, seed: str, bank: SpriteBank, tokenizer: CLIPTokenizer) -> None:
        self.size, self.seed, self.bank, self.tokenizer = size, seed, bank, tokenizer

    def __iter__(self):
        worker = get_worker_info()
        rng = random.Random(f"train {self.seed} {worker.id if worker else 0}")
        while True:
            yield self.batch(rng)

    def batch(self, rng: random.Random) -> Captioned:
        drawn = [scenes.draw_scene(rng, "train") for _ in range(self.size)]
        texts = [caption(s, rng, partial=0.2, loose=0.5) for s in drawn]
        return Captioned.of(drawn, [parse(t) for t in texts], self.bank, rng, ids=tokenize(self.tokenizer, texts))


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    return tokenizer(texts, padding=True, truncation=True, max_length=TEXT_LEN, return_tensors="pt").input_ids


class Trainee(nn.Module):
    """A CLIPModel and the two heads that only training sees."""

    def __init__(self, vocab: int, bos: int, eos: int, width: int, vision_layers: int, text_layers: int) -> None:
        super().__init__()
        shape = dict(hidden_size=width, intermediate_size=4 * width, num_attention_heads=width // 64, hidden_act="gelu",
                     projection_dim=width)
        self.clip = CLIPModel(CLIPConfig(
            text_config=dict(shape, vocab_size=vocab, num_hidden_layers=text_layers, max_position_embeddings=TEXT_LEN,
                             bos_token_id=bos, eos_token_id=eos, pad_token_id=eos),
            vision_config=dict(shape, num_hidden_layers=vision_layers, image_size=SIZE, patch_size=PATCH),
            projection_dim=width,
        ))
        self.patch_head = nn.Linear(width, BACKGROUND_LABEL + 1)
        self.prototypes = Prototypes(width)

    def image(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) normalised -> unit embeddings (B, W) and patch states (B, GRID², W)."""
        out = self.clip.vision_model(pixel_values=pixels)
        return F.normalize(self.clip.visual_projection(out.pooler_output).float(), dim=-1), out.last_hidden_state[:, 1:]

    def text(self, ids: Tensor) -> Tensor:
        """(B, L) ids, padded with EOS behind the first EOS, which the causal mask makes harmless -> (B, W)."""
        out = self.clip.text_model(input_ids=ids)
        return F.normalize(self.clip.text_projection(out.pooler_output).float(), dim=-1)


class Probe:
    """Held-out scenes as files would give them (drawn large, then shrunk), with all their captions' fits."""

    def __init__(self, count: int, processor: CLIPImageProcessor) -> None:
        rows = scenes.held_out_scenes(count, 20_001)
        self.texts = [captions[0] for _, captions, _ in rows]
        self.pixels = [processor(images=[scenes.render(r[k], 256) for r in rows], return_tensors="pt").pixel_values
                       for k in (0, 2)]
        facts = [parse(t) for t in self.texts]
        self.fits = torch.tensor([[fits(f, s) for s, _, _ in rows] for f in facts])
        self.same = torch.tensor([[s.key() == t.key() for t, _, _ in rows] for s, _, _ in rows])

    @torch.inference_mode()
    def measure(self, net: Trainee, tokenizer: CLIPTokenizer) -> str:
        device = next(net.parameters()).device
        images, views = (torch.cat([net.image(x.to(device))[0].cpu() for x in p.split(250)]) for p in self.pixels)
        texts = net.text(tokenize(tokenizer, self.texts).to(device)).cpu()
        r1, r5, r10 = (hit_rate(texts @ images.T, self.fits, k) for k in (1, 5, 10))
        return f"R@1 {r1:.3f} R@5 {r5:.3f} R@10 {r10:.3f} i2i R@1 {hit_rate(views @ images.T, self.same, 1):.3f}"


class Task:
    """See `loop.Task`."""

    def __init__(self, a: argparse.Namespace) -> None:
        self.a, self.tokenizer, self.processor = a, build_tokenizer(), image_processor()
        if not a.export_only:
            self.bank, self.probe = SpriteBank(a.angles, a.seed), Probe(a.probe, self.processor)

    def make(self) -> Trainee:
        t, a = self.tokenizer, self.a
        return Trainee(len(t), t.bos_token_id, t.eos_token_id, a.width, a.vision_layers, a.text_layers)

    def batches(self, size: int, seed: str) -> SceneBatches:
        return SceneBatches(size, seed, self.bank, self.tokenizer)

    def losses(self, net: Trainee, b: Captioned, done: float) -> dict[str, Tensor]:
        image, states = net.image(normalise(b.pixels))
        text = net.text(b.ids)
        return {
            "contrast": contrastive(image, text, net.clip.logit_scale.exp().clamp(max=100), b),
            "patches": max(0.3, 1 - 1.4 * done) * patch_loss(net.patch_head(states), b),
            "shared": 0.3 * net.prototypes(image, text, b),
        }

    def measure(self, net: Trainee) -> str:
        return self.probe.measure(net, self.tokenizer)

    def export(self, net: Trainee) -> None:
        """Writes the CLIP alone, in half precision and Hugging Face layout."""
        clip, t, out = CLIPModel(net.clip.config), self.tokenizer, self.a.out
        clip.load_state_dict(net.clip.state_dict())
        clip.half().save_pretrained(out)
        (out / "model.safetensors").chmod(0o644)
        t.save_pretrained(out)
        self.processor.save_pretrained(out)
        names = {"bos_token": t.bos_token, "eos_token": t.eos_token, "pad_token": t.pad_token, "unk_token": t.unk_token}
        (out / "special_tokens_map.json").write_text(json.dumps(names, indent=2) + "\n")
        print("exported to", out, flush=True)


def image_processor() -> CLIPImageProcessor:
    return CLIPImageProcessor(
        do_resize=True, size={"shortest_edge": SIZE}, resample=3, do_center_crop=True,
        crop_size={"height": SIZE, "width": SIZE}, do_rescale=True, rescale_factor=1 / 255, do_normalize=True,
        image_mean=[MEAN] * 3, image_std=[STD] * 3, do_convert_rgb=True,
    )


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    loop.add_arguments(p, "clip", minutes=90)
    p.add_argument("--width", type=int, default=192)
    p.add_argument("--vision-layers", type=int, default=5)
    p.add_argument("--text-layers", type=int, default=2)
    p.add_argument("--probe", type=int, default=500, help="held-out scenes to measure on while training")
    a = p.parse_args()
    loop.run(Task(a), a)


if __name__ == "__main__":
    main()
