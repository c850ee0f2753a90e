"""Calibrates a trained BLIP's matcher and writes it in Hugging Face layout."""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import BertTokenizer

import blip_tokenizer
import scenes
from blip import Trainee
from blip_probe import image_processor, pixels_of
from negatives import unrelated_caption, wrong_caption
from world import caption

TIED = ("text_decoder.cls.predictions.decoder.weight",)  # transformers fills it in from the word embeddings


@torch.no_grad()
def held_out_pairs(net: Trainee, tokenizer: BertTokenizer, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Match logits and whether they should match: half right captions, half wrong ones, as many near as far."""
    rng = random.Random(f"pairs {seed}")
    shown = [scenes.draw_scene(rng, "heldout") for _ in range(count)]
    logits, target = [], []
    for chunk in (shown[i : i + 50] for i in range(0, count, 50)):
        texts, right = [], []
        for i, s in enumerate(chunk):
            near = wrong_caption(s, rng.getrandbits(32), rng, loose=0.2) or unrelated_caption(s, rng)
            texts += [caption(s, rng, loose=0.2), caption(s, rng), near, unrelated_caption(s, rng)]
            right += [1, 1, 0, 0]
        ids = tokenizer(texts, padding=True, truncation=True, max_length=blip_tokenizer.TEXT_LEN, return_tensors="pt").input_ids
        verdicts, _ = net.match(ids.view(len(chunk), 4, -1), net.see(pixels_of(chunk)))
        logits.append((verdicts[..., 1] - verdicts[..., 0]).flatten())
        target += right
    return torch.cat(logits), torch.tensor(target, dtype=torch.float32)


def calibration_error(p: Tensor, target: Tensor, bins: int = 15) -> float:
    """Expected calibration error over equally wide bins."""
    place = (p * bins).long().clamp(max=bins - 1)
    gaps = [(place == b).float().mean() * (p[place == b].mean() - target[place == b].mean()).abs() for b in place.unique()]
    return sum(gaps).item()


def calibrate(net: Trainee, tokenizer: BertTokenizer) -> dict[str, float]:
    """Fits a temperature and an offset on held-out pairs, and folds both into the matcher's head."""
    logits, target = held_out_pairs(net, tokenizer, 500, 40_001)
    scale, offset = (nn.Parameter(torch.tensor(v)) for v in (1.0, 0.0))
    optimiser = torch.optim.LBFGS([scale, offset], max_iter=100)

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.binary_cross_entropy_with_logits(scale * logits + offset, target)
        value.backward()
        return value

    optimiser.step(loss)
    with torch.no_grad():
        head = net.retrieval.itm_head
        others, truth = held_out_pairs(net, tokenizer, 500, 40_002)
        before = calibration_error(others.sigmoid(), truth)
        head.weight.mul_(scale)
        head.bias.mul_(scale).add_(torch.stack([-offset, offset]) / 2)
        after = (scale * others + offset).sigmoid()
    return {
        "temperature": 1 / scale.item(), "offset": offset.item(), "ece_before": before,
        "ece_after": calibration_error(after, truth), "accuracy": ((after > 0.5) == (truth > 0.5)).float().mean().item(),
    }


def export(net: Trainee, tokenizer: BertTokenizer, out: Path) -> None:
    """One directory for `BlipForImageTextRetrieval` and `BlipForConditionalGeneration`, in half precision."""
    net.cpu()
    print("calibration", json.dumps({k: round(v, 4) for k, v in calibrate(net, tokenizer).items()}), flush=True)
    out.mkdir(parents=True, exist_ok=True)
    decoder = {f"text_decoder.{k}": v for k, v in net.decoder.state_dict().items()}
    weights = {k: v.half().clone().contiguous() for k, v in (net.retrieval.state_dict() | decoder).items() if k not in TIED}
    save_file(weights, out / "new.safetensors", metadata={"format": "pt"})
    (out / "new.safetensors").replace(out / "model.safetensors")
    (out / "model.safetensors").chmod(0o644)
    config = net.retrieval.config
    config.dtype = torch.float16
    config.architectures = ["BlipForImageTextRetrieval", "BlipForConditionalGeneration"]
    config.save_pretrained(out)
    image_processor().save_pretrained(out)
    blip_tokenizer.save(tokenizer, out)
    print("exported to", out, flush=True)
