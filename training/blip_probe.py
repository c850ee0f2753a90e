"""How a BLIP in training stands, on held-out scenes; what is measured of an export is in evaluate_blip.py."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import BertTokenizer, BlipImageProcessorPil

import scenes
from blip import Trainee
from data import MEAN, SIZE, STD
from sets import Contrast, draw_sets
from world import Scene, fits, parse, related


def image_processor() -> BlipImageProcessorPil:
    return BlipImageProcessorPil(
        do_resize=True, size={"height": SIZE, "width": SIZE}, resample=3, do_rescale=True, rescale_factor=1 / 255,
        do_normalize=True, image_mean=[MEAN] * 3, image_std=[STD] * 3, do_convert_rgb=True,
    )


def pixels_of(shown: list[Scene], size: int = 256) -> Tensor:
    """As files would give them: drawn large, then shrunk."""
    return image_processor()(images=[scenes.render(s, size) for s in shown], return_tensors="pt").pixel_values


def caption_right(text: str, scene: Scene) -> tuple[bool, bool, bool]:
    """Of a generated caption: whether it names exactly the kinds that are shown, whether it tells the relation rightly
    (False where it tells none), whether everything that it says fits."""
    try:
        facts = parse(text)
    except ValueError:
        return False, False, False
    kinds = {c for c, _, _ in facts.needs} == {c for c, _ in scene.groups}
    right = fits(facts, scene)
    return kinds, facts.relation is not None and related(scene, *facts.relation), right


class Probe:
    """`count` held-out sets of each contrast to choose captions in, and three times as many scenes to write captions for."""

    def __init__(self, count: int, seed: int) -> None:
        self.sets: list[Contrast] = draw_sets(count, seed)
        self.pixels = [pixels_of(list(s.scenes)) for s in self.sets]
        self.scenes = [s for s, _, _ in scenes.held_out_scenes(3 * count, seed)]
        self.shown = pixels_of(self.scenes)

    @torch.inference_mode()
    def measure(self, net: Trainee, tokenizer: BertTokenizer) -> str:
        device = next(net.parameters()).device
        told = []
        for kind in dict.fromkeys(s.kind for s in self.sets):
            rows = [(s, p) for s, p in zip(self.sets, self.pixels) if s.kind == kind]
            scores = torch.stack([self._choose(net, s, p, tokenizer, device) for s, p in rows])  # (sets, pictures, captions)
            own = scores.diagonal(dim1=1, dim2=2)
            told.append(f"{kind} {(scores.argmax(2) == torch.arange(4)).float().mean():.3f}")
            if kind == "relation":
                told.append(f"pair {(own > scores[:, torch.arange(4), torch.arange(4) ^ 1]).float().mean():.3f}")
        written = net.captions(net.see(self.shown.to(device)), tokenizer)
        kinds, relations, right = zip(*(caption_right(t, s) for t, s in zip(written, self.scenes)))
        pairs = [r for r, s in zip(relations, self.scenes) if s.relation]
        return " ".join([*told, f"captions: kinds {_share(kinds)} relation {_share(pairs)} all {_share(right)} '{written[0]}'"])

    def _choose(self, net: Trainee, s: Contrast, pixels: Tensor, tokenizer: BertTokenizer, device: torch.device) -> Tensor:
        ids = tokenizer(list(s.captions), padding=True, return_tensors="pt").input_ids.to(device)
        logits, _ = net.match(ids.expand(4, -1, -1), net.see(pixels.to(device)))
        return (logits[..., 1] - logits[..., 0]).cpu()


def _share(flags: list[bool] | tuple[bool, ...]) -> str:
    return f"{sum(flags) / len(flags):.3f}"
