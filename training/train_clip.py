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
import math
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

import scenes
from tokenizer import build_tokenizer
from world import BACKGROUNDS, MANY, Facts, Scene, caption, concepts, fits, parse

HERE = Path(__file__).resolve().parent
SIZE, PATCH = 80, 16
GRID = SIZE // PATCH
MEAN, STD = 0.5, 0.27
TEXT_LEN = 32
MAX_NEEDS = 3
FILTERS = (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX)
BACKGROUND_LABEL = len(concepts())  # a patch that no object covers
UNSURE = -100  # a patch that an object only grazes; the loss skips it


# ---- data -----------------------------------------------------------------------------------------------------------


class SpriteBank:
    """Every glyph rendered ahead at some sizes, angles and resampling filters; stands in for `scenes.sprite`."""

    SIDES = np.unique(np.geomspace(0.19 * SIZE, 0.78 * SIZE, 16).round().astype(int))

    def __init__(self, angles: int, seed: int) -> None:
        rng = random.Random(seed)
        self.sprites = [
            [
                [self._draw(c, int(side), rng) for _ in range(angles)]
                for side in self.SIDES
            ]
            for c in range(len(concepts()))
        ]

    @staticmethod
    def _draw(concept: int, side: int, rng: random.Random) -> np.ndarray:
        angle = rng.uniform(-15, 15) if rng.random() < 0.75 else 0.0
        rgba = scenes.sprite(concept, side, angle, rng.choice(FILTERS), dark_edges=rng.random() < 0.3)
        return (rgba * 255 + 0.5).astype(np.uint8)

    def __call__(self, concept: int, side: int, angle: float) -> np.ndarray:
        choices = self.sprites[concept][int(np.abs(self.SIDES - side).argmin())]
        return choices[int(abs(angle) * 1000) % len(choices)].astype(np.float32) / 255


@dataclass
class Batch:
    """pixels (B, 3, S, S) uint8; patches (B, GRID²) labels; kinds (B, K) counts; background (B,); ids (B, L);
    needs (B, MAX_NEEDS, 3) as (concept, least, most), where most = -1 means unused; said (B,) background or UNSURE."""

    pixels: Tensor
    patches: Tensor
    kinds: Tensor
    background: Tensor
    ids: Tensor
    needs: Tensor
    said: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(**{k: v.to(device, non_blocking=True) for k, v in vars(self).items()})


class SceneBatches(IterableDataset[Batch]):
    """Endless random batches of training scenes, one caption each."""

    def __init__(self, size: int, seed: str, bank: SpriteBank, tokenizer: CLIPTokenizer) -> None:
        self.size, self.seed, self.bank, self.tokenizer = size, seed, bank, tokenizer

    def __iter__(self):
        worker = get_worker_info()
        rng = random.Random(f"train {self.seed} {worker.id if worker else 0}")
        while True:
            yield self.batch(rng)

    def batch(self, rng: random.Random) -> Batch:
        drawn = [scenes.draw_scene(rng, "train") for _ in range(self.size)]
        texts = [caption(s, rng, partial=0.2, loose=0.5) for s in drawn]
        images, patches = zip(*(self._draw(s, rng) for s in drawn))
        facts = [parse(t) for t in texts]
        return Batch(
            torch.from_numpy(np.stack(images)),
            torch.from_numpy(np.stack(patches)),
            torch.tensor([counts_of(s) for s in drawn]),
            torch.tensor([BACKGROUNDS.index(s.background) for s in drawn]),
            tokenize(self.tokenizer, texts),
            torch.tensor([needs_of(f) for f in facts]),
            torch.tensor([BACKGROUNDS.index(f.background) if f.background else UNSURE for f in facts]),
        )

    def _draw(self, scene: Scene, rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
        image, masks = scenes.compose(scene, SIZE, self.bank, strange=rng.random())
        return _photometric(image, rng), _patch_labels(scene, masks)


def counts_of(scene: Scene) -> list[int]:
    out = [0] * len(concepts())
    for concept, n in scene.groups:
        out[concept] = n
    return out


def needs_of(facts: Facts) -> list[tuple[int, int, int]]:
    return [*facts.needs, *[(0, 0, -1)] * (MAX_NEEDS - len(facts.needs))]


def _photometric(image: np.ndarray, rng: random.Random) -> np.ndarray:
    """Mild changes of brightness, contrast and sharpness; (S, S, 3) floats to (3, S, S) bytes."""
    if rng.random() < 0.5:
        image = (image - 0.5) * rng.uniform(0.88, 1.08) + 0.5 + rng.uniform(-0.04, 0.04)
    if rng.random() < 0.25:
        blurred = (np.roll(image, 1, 0) + np.roll(image, -1, 0) + np.roll(image, 1, 1) + np.roll(image, -1, 1)) / 4
        image = image + rng.uniform(-0.3, 0.6) * (blurred - image)
    return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8).transpose(2, 0, 1)


def _patch_labels(scene: Scene, masks: list[np.ndarray]) -> np.ndarray:
    """Which object covers each patch: (GRID²,) labels."""
    cover = np.stack([m.reshape(GRID, PATCH, GRID, PATCH).mean((1, 3)).ravel() for m in masks])
    best = cover.max(0)
    names = np.array([o.concept for o in scene.objects])[cover.argmax(0)]
    return np.where(best > 0.2, names, np.where(best < 0.04, BACKGROUND_LABEL, UNSURE))


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    return tokenizer(texts, padding=True, truncation=True, max_length=TEXT_LEN, return_tensors="pt").input_ids


def normalise(pixels: Tensor) -> Tensor:
    return (pixels.float() / 255 - MEAN) / STD


# ---- the network and its losses -------------------------------------------------------------------------------------


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
        self.patch_head = nn.Linear(width, len(concepts()) + 1)
        self.kind_head = nn.Linear(width, len(concepts()))
        self.count_head = nn.Linear(width, 5)
        self.background_head = nn.Linear(width, len(BACKGROUNDS))

    def image(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) normalised -> unit embeddings (B, W) and patch states (B, GRID², W)."""
        out = self.clip.vision_model(pixel_values=pixels)
        return F.normalize(self.clip.visual_projection(out.pooler_output).float(), dim=-1), out.last_hidden_state[:, 1:]

    def text(self, ids: Tensor) -> Tensor:
        """(B, L) ids, padded with EOS behind the first EOS, which the causal mask makes harmless -> (B, W)."""
        out = self.clip.text_model(input_ids=ids)
        return F.normalize(self.clip.text_projection(out.pooler_output).float(), dim=-1)


def also_fits(b: Batch) -> Tensor:
    """(texts, images) mask: whether text i's needs and background hold for image j (relations are not looked at)."""
    fit = torch.ones(len(b.ids), len(b.pixels), dtype=torch.bool, device=b.ids.device)
    for concept, least, most in (need.unbind(1) for need in b.needs.unbind(1)):
        have = b.kinds[:, concept].T
        fit &= (most[:, None] < 0) | ((have >= least[:, None]) & (have <= most[:, None]))
    return fit & ((b.said[:, None] == UNSURE) | (b.said[:, None] == b.background[None]))


def losses(net: Trainee, b: Batch, dense_weight: float) -> dict[str, Tensor]:
    """The weighted parts of the loss."""
    image, states = net.image(normalise(b.pixels))
    text = net.text(b.ids)
    scale = net.clip.logit_scale.exp().clamp(max=100)
    n = len(image)
    own = torch.eye(n, dtype=torch.bool, device=image.device)
    logits = (scale * text @ image.T).masked_fill(also_fits(b) & ~own, float("-inf"))
    target = torch.arange(n, device=image.device)
    contrast = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2

    weights = torch.ones(BACKGROUND_LABEL + 1, device=image.device)
    weights[BACKGROUND_LABEL] = 0.1
    patches = F.cross_entropy(net.patch_head(states).float().flatten(0, 1), b.patches.flatten(), weights,
                              ignore_index=UNSURE)

    used = b.needs[..., 2] >= 0
    named = torch.zeros_like(b.kinds).scatter_add_(1, b.needs[..., 0], used.long()).clamp(max=1)
    exact = torch.where(b.needs[..., 2] < MANY, b.needs[..., 2], b.needs[..., 1]).clamp(min=0)
    single = used.sum(1) == 1
    counts = torch.where(single & (b.needs[:, 0, 2] < MANY), exact[:, 0], UNSURE)
    shown = torch.where((b.kinds > 0).sum(1) == 1, b.kinds.sum(1), UNSURE)
    shared = (
        _many_of(net.kind_head(image * 16), b.kinds > 0)
        + _many_of(net.kind_head(text * 16), named > 0)
        + 0.3 * (_one_of(net.count_head(image * 16), shown) + _one_of(net.count_head(text * 16), counts))
        + 0.3 * (_one_of(net.background_head(image * 16), b.background) + _one_of(net.background_head(text * 16), b.said))
    )
    return {"contrast": contrast, "patches": dense_weight * patches, "shared": 0.3 * shared}


def _many_of(logits: Tensor, present: Tensor) -> Tensor:
    """Cross-entropy against the uniform distribution over the kinds that are present."""
    target = present.float() / present.sum(1, keepdim=True).clamp(min=1)
    return -(target * logits.float().log_softmax(-1)).sum(1).mean()


def _one_of(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy that skips UNSURE rows and is 0 where all are."""
    return F.cross_entropy(logits.float(), target, ignore_index=UNSURE, reduction="sum") / (target != UNSURE).sum().clamp(min=1)


# ---- measuring while it trains --------------------------------------------------------------------------------------


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
    def measure(self, net: Trainee, tokenizer: CLIPTokenizer, device: torch.device) -> str:
        net.eval()
        images, views = (torch.cat([net.image(x.to(device))[0].cpu() for x in p.split(250)]) for p in self.pixels)
        texts = net.text(tokenize(tokenizer, self.texts).to(device)).cpu()
        net.train()
        r1, r5, r10 = (hit_rate(texts @ images.T, self.fits, k) for k in (1, 5, 10))
        return f"R@1 {r1:.3f} R@5 {r5:.3f} R@10 {r10:.3f} i2i R@1 {hit_rate(views @ images.T, self.same, 1):.3f}"


def hit_rate(scores: Tensor, relevant: Tensor, k: int) -> float:
    """Share of rows with a relevant column among the k best. Both (queries, items)."""
    best = scores.topk(k, dim=1).indices
    return relevant.gather(1, best).any(1).float().mean().item()


# ---- training -------------------------------------------------------------------------------------------------------


class Peers:
    """The processes that train together, each on one thread, and the memory through which they add up gradients.

    On a busy CPU this is several times faster than one process with as many threads, which wait for one another at every
    operation; here they wait once a step. The first one leads: it tells the time, measures and saves.
    """

    def __init__(self, count: int, numbers: int) -> None:
        self.count = count
        self.gradients = torch.zeros(count, numbers).share_memory_()
        self.clock = torch.zeros(1, dtype=torch.float64).share_memory_()
        self.barrier = mp.get_context("fork").Barrier(count, timeout=600)

    def average_gradients(self, net: Trainee, rank: int) -> None:
        if self.count == 1:
            return
        parameters = list(net.parameters())
        torch.cat([p.grad.flatten() for p in parameters], out=self.gradients[rank])
        self.barrier.wait()
        mean = self.gradients.mean(0)
        self.barrier.wait()
        for p, g in zip(parameters, mean.split([p.numel() for p in parameters])):
            p.grad.copy_(g.view_as(p))

    def share_clock(self, seconds: float, rank: int) -> float:
        """The leader's seconds, for everyone, so that all agree on the learning rate and on the end."""
        if rank == 0:
            self.clock[0] = seconds
        self.barrier.wait()
        return self.clock.item()


def learning_rate(peak: float, done: float, step: int) -> float:
    """Warm-up over 150 steps, then a cosine over the share of the time that is used up."""
    return peak * min(1, (step + 1) / 150) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1))))


@torch.no_grad()
def average(mean: Trainee, net: Trainee, step: int) -> None:
    """Exponential moving average of the weights; its window grows with the steps taken."""
    keep = min(0.998, (step + 1) / (step + 10))
    torch._foreach_lerp_(list(mean.parameters()), list(net.parameters()), 1 - keep)


@dataclass
class State:
    """Everything that a checkpoint holds."""

    net: Trainee
    mean: Trainee
    optimiser: torch.optim.Optimizer
    step: int = 0
    samples: int = 0
    spent: float = 0.0

    @classmethod
    def fresh(cls, tokenizer: CLIPTokenizer, a: argparse.Namespace) -> State:
        torch.manual_seed(a.seed)
        net, mean = (make(tokenizer, a).to(a.device) for _ in range(2))
        mean.load_state_dict(net.state_dict())
        groups = [
            {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return cls(net, mean, torch.optim.AdamW(groups, a.lr, betas=(0.9, 0.98), fused=True))

    def save(self, run: Path) -> None:
        run.mkdir(parents=True, exist_ok=True)
        state = {k: v if isinstance(v, (int, float)) else v.state_dict() for k, v in vars(self).items()}
        torch.save(state, run / "new.pt")
        os.replace(run / "new.pt", run / "last.pt")

    def load(self, run: Path, device: str) -> None:
        for k, v in torch.load(run / "last.pt", map_location=device, weights_only=True).items():
            if isinstance(v, (int, float)):
                setattr(self, k, v)
            else:
                getattr(self, k).load_state_dict(v)


def train(a: argparse.Namespace) -> None:
    torch.set_num_threads(1)  # before the fork: threads that already run would not survive it
    tokenizer = build_tokenizer()
    bank = SpriteBank(a.angles, a.seed)
    peers = Peers(a.processes, sum(p.numel() for p in make(tokenizer, a).parameters()))
    others = [
        mp.get_context("fork").Process(target=train_one, args=(a, tokenizer, bank, peers, rank), daemon=True)
        for rank in range(1, a.processes)
    ]
    for other in others:
        other.start()
    train_one(a, tokenizer, bank, peers, 0)


def train_one(a: argparse.Namespace, tokenizer: CLIPTokenizer, bank: SpriteBank, peers: Peers, rank: int) -> None:
    state = State.fresh(tokenizer, a)
    if a.resume:
        state.load(a.run, a.device)
    net, device = state.net, torch.device(a.device)
    data = SceneBatches(a.batch, f"{a.seed} {state.step} {rank}", bank, tokenizer)
    batches = iter(DataLoader(data, batch_size=None, num_workers=a.workers))
    journal = Journal(a, tokenizer, state) if rank == 0 else None
    start, total = time.time() - state.spent, a.minutes * 60
    net.train()
    while (spent := peers.share_clock(time.time() - start, rank)) < total:
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate(a.lr, spent / total, state.step)
        batch = next(batches).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=not a.f32):
            parts = losses(net, batch, max(0.3, 1 - 1.4 * spent / total))
        state.optimiser.zero_grad(set_to_none=True)
        sum(parts.values()).backward()
        peers.average_gradients(net, rank)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        state.optimiser.step()
        average(state.mean, net, state.step)
        state.step, state.samples, state.spent = state.step + 1, state.samples + a.batch * peers.count, spent
        if journal:
            journal.turn(state, parts)
    if journal:
        journal.close(state)


class Journal:
    """What the leader does now and then: report on held-out scenes, save a checkpoint, and export at the end."""

    def __init__(self, a: argparse.Namespace, tokenizer: CLIPTokenizer, state: State) -> None:
        self.a, self.tokenizer, self.processor = a, tokenizer, image_processor()
        self.probe = Probe(a.probe, self.processor)
        self.last, self.last_samples, self.last_cpu = time.time(), state.samples, time.process_time()
        size = sum(p.numel() for p in state.net.clip.parameters()) / 1e6
        print(f"{size:.2f} M parameters, {len(concepts())} concepts, {len(tokenizer)} tokens", flush=True)

    def turn(self, state: State, parts: dict[str, Tensor]) -> None:
        wall = time.time() - self.last
        if wall < self.a.report:
            return
        told = " ".join(f"{k} {v.item():.3f}" for k, v in parts.items())
        rate = (state.samples - self.last_samples) / wall
        share = (time.process_time() - self.last_cpu) / wall
        print(f"{state.spent:.0f}s step {state.step} samples {state.samples} {rate:.0f}/s (core share {share:.2f}) {told} "
              f"| {self.measure(state)}", flush=True)
        state.save(self.a.run)
        self.last, self.last_samples, self.last_cpu = time.time(), state.samples, time.process_time()

    def close(self, state: State) -> None:
        state.save(self.a.run)
        print(f"final: {state.spent:.0f}s samples {state.samples} | {self.measure(state)}", flush=True)
        export(state.mean, self.tokenizer, self.processor, self.a.out)

    def measure(self, state: State) -> str:
        return self.probe.measure(state.mean, self.tokenizer, torch.device(self.a.device))


def make(tokenizer: CLIPTokenizer, a: argparse.Namespace) -> Trainee:
    return Trainee(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id, a.width, a.vision_layers, a.text_layers)


# ---- export ---------------------------------------------------------------------------------------------------------


def image_processor() -> CLIPImageProcessor:
    return CLIPImageProcessor(
        do_resize=True, size={"shortest_edge": SIZE}, resample=3, do_center_crop=True,
        crop_size={"height": SIZE, "width": SIZE}, do_rescale=True, rescale_factor=1 / 255, do_normalize=True,
        image_mean=[MEAN] * 3, image_std=[STD] * 3, do_convert_rgb=True,
    )


def export(net: Trainee, tokenizer: CLIPTokenizer, processor: CLIPImageProcessor, out: Path) -> None:
    """Writes the CLIP alone, in half precision and Hugging Face layout."""
    clip = CLIPModel(net.clip.config)
    clip.load_state_dict(net.clip.state_dict())
    clip.half().save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(out)
    processor.save_pretrained(out)
    names = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token, "pad_token": tokenizer.pad_token,
             "unk_token": tokenizer.unk_token}
    (out / "special_tokens_map.json").write_text(json.dumps(names, indent=2) + "\n")
    print("exported to", out, flush=True)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--minutes", type=float, default=90, help="length of the whole schedule, earlier parts included")
    p.add_argument("--resume", action="store_true")
    p.add_argument("--export-only", action="store_true")
    p.add_argument("--run", type=Path, default=HERE / "runs/clip", help="checkpoints")
    p.add_argument("--out", type=Path, default=HERE.parent / "assets/models/demo-clip")
    p.add_argument("--device", default="cpu")
    p.add_argument("--processes", type=int, default=2, help="that train together, one thread each; 1 on a GPU")
    p.add_argument("--workers", type=int, default=0, help="that draw scenes for each of them; as many as there are cores on a GPU")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--batch", type=int, default=64, help="samples a step and process")
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--width", type=int, default=192)
    p.add_argument("--vision-layers", type=int, default=5)
    p.add_argument("--text-layers", type=int, default=2)
    p.add_argument("--angles", type=int, default=3, help="drawn rotations of each glyph at each size")
    p.add_argument("--probe", type=int, default=500, help="held-out scenes to measure on while training")
    p.add_argument("--report", type=float, default=240, help="seconds between reports, each with a checkpoint")
    p.add_argument("--f32", action="store_true", help="no bfloat16 autocast")
    a = p.parse_args()
    if not a.export_only:
        return train(a)
    tokenizer = build_tokenizer()
    net = make(tokenizer, a)
    net.load_state_dict(torch.load(a.run / "last.pt", map_location="cpu", weights_only=True)["mean"])
    export(net, tokenizer, image_processor(), a.out)


if __name__ == "__main__":
    main()
