"""Trains the demo LLaVA on quizzes about emoji scenes and exports it in Hugging Face layout.

    python training/train_llava.py --minutes 50                 # on a CPU; --device cuda on a GPU
    python training/train_llava.py --minutes 50 --resume        # goes on from the last checkpoint
    python training/train_llava.py --export-only --out DIR      # exports the last checkpoint's averaged weights

The vision tower is the demo CLIP's, frozen and not exported. What makes it quick: several questions share one look at the
pictures, patches are lined up with the words for what they show, and attention is told where to look. The heads are dropped.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor

import llava
import loop
from data import SpriteBank
from llava_export import export
from llava_tokenizer import build
from questions import TYPES, UNANSWERABLE
from quiz import Batch, Quizzes

PROBED = (1, 2, 3, 4, 4, 4)  # how many pictures the probe's batches show


class Task:
    """See `loop.Task`."""

    def __init__(self, a: argparse.Namespace) -> None:
        self.a, self.tokenizer = a, build()
        self.config = llava.config_of(self.tokenizer, a.clip, a.width, a.layers, a.heads)
        if not a.export_only:
            self.eyes = llava.Eyes(a.clip).to(a.device)
            self.bank = SpriteBank(a.angles, a.seed)
            probes, rng = Quizzes(a.probe, a.asked, "", self.bank, self.tokenizer, "heldout"), random.Random("probe 20002")
            self.probes = [probes.batch(rng, count) for count in PROBED]

    def make(self) -> llava.Trainee:
        return llava.Trainee(self.config, self.tokenizer)

    def batches(self, size: int, seed: str) -> Quizzes:
        return Quizzes(size, self.a.asked, seed, self.bank, self.tokenizer)

    def losses(self, net: llava.Trainee, batch: Batch, done: float) -> dict[str, Tensor]:
        return llava.losses(net, self.eyes, batch, done)

    @torch.inference_mode()
    def measure(self, net: llava.Trainee) -> str:
        """The share of held-out questions, by type, whose every token would be chosen."""
        net.eval()
        right: Counter[int] = Counter()
        total: Counter[int] = Counter()
        for probe in self.probes:
            batch = probe.to(torch.device(self.a.device))
            out = llava.read(net, batch, net.projector(self.eyes(batch.pixels).to(net.scale.dtype)))
            rows, before, token, question = batch.answers.unbind(1)
            missed = net.say(out.last_hidden_state[rows, before]).argmax(-1) != token
            wrong = set(question[missed].tolist())
            for i, kind in enumerate(batch.types.tolist()):
                total[kind] += 1
                right[kind] += i not in wrong
        told = " ".join(f"{name} {right[k] / total[k]:.2f}" for k, name in enumerate((*TYPES, UNANSWERABLE)) if total[k])
        return f"all {right.total() / total.total():.3f} {told}"

    def export(self, net: llava.Trainee) -> None:
        export(net, self.config, self.tokenizer, self.a.clip, self.a.out)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    loop.add_arguments(p, "llava", minutes=50)
    p.set_defaults(batch=8, lr=1.5e-3)
    p.add_argument("--asked", type=int, default=6, help="questions about each set of pictures")
    p.add_argument("--width", type=int, default=192)
    p.add_argument("--layers", type=int, default=5)
    p.add_argument("--heads", type=int, default=6)
    p.add_argument("--clip", type=Path, default=loop.HERE.parent / "assets/models/demo-clip", help="whose vision tower it looks through")
    p.add_argument("--probe", type=int, default=16, help="held-out sets to measure on while training, six times so many")
    a = p.parse_args()
    loop.run(Task(a), a)


if __name__ == "__main__":
    main()
