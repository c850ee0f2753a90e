"""Trains the demo BLIP (matcher and captioner) on emoji scenes and exports it in Hugging Face layout.

    python training/train_blip.py --minutes 50                  # on a CPU; --device cuda on a GPU
    python training/train_blip.py --minutes 50 --resume         # goes on from the last checkpoint
    python training/train_blip.py --export-only                 # calibrates and exports the last checkpoint's averaged weights

The vision tower starts as the demo CLIP's. Contrast, matching and captioning are learned together, over captions that are wrong
in as little as one word; what makes that quick is dense: each patch names its object and its place, each noun is told which
patches to look at, each word whether it is true. The export drops those heads.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info
from transformers import BertTokenizer

import blip_export
import loop
import scenes
from align import contrastive, one_of, patch_loss
from blip import Reading, Trainee, config_of, start_from_clip
from blip_probe import Probe
from blip_tokenizer import DECODE, TEXT_LEN, build_tokenizer
from data import GRID, UNSURE, Batch, SpriteBank, normalise
from negatives import mistaken_caption, unrelated_caption, wrong_caption
from tokenizer import phrases
from world import Scene, caption, concepts, full_caption, parse

SHAPES = {"single": 0.15, "pair": 0.27, "several": 0.36, "mixed": 0.22}  # more to tell apart than in the world at large
WORDING = dict(plain=0.25, partial=0.35, loose=0.4)
TELLING = dict.fromkeys(("left", "right", "above", "below", "over", "under"), 3.0) | dict.fromkeys(
    ("one", "two", "three", "four", "2", "3", "4"), 4.0)  # how much these words weigh in what is spoken and mended
NOUN = 3.0  # how much a noun does
GROUNDED = (0, 1)  # the text layers in which nouns are told where to look


@dataclass
class Judged(Batch):
    """ids (B, n, L): captions to judge, of which the first is right; truth (B, n, L): whether each token is (1, 0, UNSURE);
    mended (B, n, L): what stands in the right caption where a word may be wrong, or UNSURE; about (B, n, L): the kind that a token
    names and the picture shows, or UNSURE; spoken, spoken_about (B, M): the caption to learn to write, from [DEC] to [SEP]."""

    ids: Tensor
    truth: Tensor
    mended: Tensor
    about: Tensor
    spoken: Tensor
    spoken_about: Tensor


class JudgedBatches(IterableDataset[Judged]):
    """Endless random batches of training scenes, each with one right caption, two wrong ones, and one to speak."""

    def __init__(self, size: int, seed: str, bank: SpriteBank, tokenizer: BertTokenizer) -> None:
        self.size, self.seed, self.bank, self.tokenizer = size, seed, bank, tokenizer
        self.kinds = kinds_named(tokenizer)
        self.telling = set(tokenizer.convert_tokens_to_ids(list(TELLING)))

    def __iter__(self):
        worker = get_worker_info()
        rng = random.Random(f"train {self.seed} {worker.id if worker else 0}")
        while True:
            yield self.batch(rng)

    def batch(self, rng: random.Random) -> Judged:
        drawn = [scenes.draw_scene(rng, "train", SHAPES) for _ in range(self.size)]
        texts = [self._texts(s, rng) for s in drawn]
        tokens = [[self._ids(t) for t in row] for row in texts]
        spoken = [self._ids(full_caption(s, rng)) for s in drawn]
        start = self.tokenizer.convert_tokens_to_ids(DECODE)
        return Judged.of(
            drawn, [parse(row[0]) for row in texts], self.bank, rng,
            ids=_padded(flat := [ids for row in tokens for ids in row], 0).view(self.size, 3, -1),
            truth=_padded([truth for row in tokens for truth in ([1] * len(row[0]), compare(row[0], row[1]), [UNSURE])], UNSURE,
                          max(map(len, flat))).view(self.size, 3, -1),
            mended=_padded([m for a, b, _ in tokens for m in (self._mended(a, a), self._mended(a, b), [UNSURE])], UNSURE,
                           max(map(len, flat))).view(self.size, 3, -1),
            about=_padded([self._about(ids, s) for row, s in zip(tokens, drawn) for ids in row], UNSURE).view(self.size, 3, -1),
            spoken=_padded([[start, *ids[1:]] for ids in spoken], 0),
            spoken_about=_padded([self._about(ids, s) for ids, s in zip(spoken, drawn)], UNSURE),
        )

    def _texts(self, scene: Scene, rng: random.Random) -> list[str]:
        """A right caption, one that is wrong in a word or two, and one that is wrong in another way or altogether."""
        for _ in range(4):
            seed = rng.getrandbits(32)
            if wrong := wrong_caption(scene, seed, rng, **WORDING):
                break
        way = rng.random()
        if way < 0.4:
            other = mistaken_caption(scene, rng, **WORDING)
        else:
            other = wrong_caption(scene, rng.getrandbits(32), rng, **WORDING) if way < 0.7 else None
        other = other or unrelated_caption(scene, rng, **WORDING)
        return [caption(scene, random.Random(seed), **WORDING), wrong or unrelated_caption(scene, rng, **WORDING), other]

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, truncation=True, max_length=TEXT_LEN).input_ids

    def _mended(self, right: list[int], ids: list[int]) -> list[int]:
        """For captions alike in wording: the right word for each that is wrong, and for each that tells a relation or a count."""
        if len(ids) != len(right) or UNSURE in (compare(right, ids) if ids != right else []):
            return [UNSURE] * len(ids)
        return [r if i != r or i in self.telling else UNSURE for r, i in zip(right, ids)]

    def _about(self, ids: list[int], scene: Scene) -> list[int]:
        shown = {c for c, _ in scene.groups}
        named = (self.kinds.get(i, frozenset()) & shown for i in ids)
        return [min(k) if len(k) == 1 else UNSURE for k in named]


def kinds_named(tokenizer: BertTokenizer) -> dict[int, frozenset[int]]:
    """Token -> the kinds whose names have it, but for the words of the grammar."""
    plain = {i for text in phrases() for i in tokenizer(text).input_ids}
    found: dict[int, set[int]] = {}
    for k, kind in enumerate(concepts()):
        for word, (_, plural) in kind.forms.items():
            for i in tokenizer(f"{word} {plural}").input_ids:
                if i not in plain:
                    found.setdefault(i, set()).add(k)
    return {i: frozenset(k) for i, k in found.items()}


def compare(right: list[int], wrong: list[int]) -> list[int]:
    """For each token of the wrong caption: 1 where it belongs to what both begin or end with, else 0; if they differ in too
    much to tell what is wrong, UNSURE."""
    short = min(len(right), len(wrong))
    head = next((i for i in range(short) if right[i] != wrong[i]), short)
    tail = next((i for i in range(short - head) if right[-1 - i] != wrong[-1 - i]), short - head)
    middle = len(wrong) - head - tail
    if not 0 < middle <= 4:
        return [UNSURE] * len(wrong)
    return [1] * head + [0] * middle + [1] * tail


def _padded(rows: list[list[int]], filler: int, length: int | None = None) -> Tensor:
    length = length or max(map(len, rows))
    return torch.tensor([row + [filler] * (length - len(row)) for row in rows])


class Task:
    """See `loop.Task`."""

    def __init__(self, a: argparse.Namespace) -> None:
        self.a, self.tokenizer = a, build_tokenizer()
        self.bank = SpriteBank(a.angles, a.seed)
        self.probe = Probe(a.probe, 20_001)
        self.weights = torch.ones(len(self.tokenizer))
        self.weights[list(kinds_named(self.tokenizer))] = NOUN
        for word, weight in TELLING.items():
            self.weights[self.tokenizer.convert_tokens_to_ids(word)] = weight
        self.start = normalise(self.batches(256, "start").batch(random.Random(a.seed)).pixels)

    def make(self) -> Trainee:
        a = self.a
        net = Trainee(config_of(self.tokenizer, a.width, a.vision_layers, a.text_layers))
        start_from_clip(net, a.clip, self.start)
        return net

    def batches(self, size: int, seed: str) -> JudgedBatches:
        return JudgedBatches(size, seed, self.bank, self.tokenizer)

    def losses(self, net: Trainee, b: Judged, done: float) -> dict[str, Tensor]:
        states = net.see(normalise(b.pixels))
        image, text = net.image_embedding(states), net.text_embedding(b.ids[:, 0])
        verdicts, judged = net.match(b.ids, states)
        right = torch.tensor([1, 0, 0], device=verdicts.device).repeat(len(verdicts))
        logits, spoken = net.speak(torch.where(b.spoken == self.tokenizer.sep_token_id, 0, b.spoken), states)
        nouns = [look(net, judged, b.about, b), look(net, spoken, b.spoken_about[:, None], b)]
        return {
            "contrast": 0.3 * contrastive(image, text, net.logit_scale.exp().clamp(max=100), b),
            "shared": 0.2 * net.prototypes(image, text, b),
            "match": F.cross_entropy(verdicts.flatten(0, 1), right),
            "truth": truth(net, judged, b.truth),
            "mend": 0.5 * self.mending(net, judged, b.mended),
            "speak": 1.5 * self.speaking(logits, b.spoken),
            "patches": max(0.2, 0.6 - done) * patch_loss(net.patch_head(states[:, 1:]), b),
            "places": 0.5 * F.cross_entropy(net.patch_place(states[:, 1:]).float().flatten(0, 1), self.places(states)),
            "centres": 10 * F.mse_loss(net.patch_centre(states[:, 1:]).float()[..., 0], b.centres),
            "counts": 0.8 * one_of(net.patch_count(states[:, 1:]).flatten(0, 1), counts_at(b.patches, b.kinds).flatten()),
            "next": 0.25 * grounding(spoken, -1, F.pad(b.spoken_about[:, None, 1:], (0, 1), value=UNSURE), b),
            **{f"noun {k}": sum(n[k] for n in nouns) for k in nouns[0]},
        }

    def places(self, states: Tensor) -> Tensor:
        return torch.arange(GRID * GRID, device=states.device).repeat(len(states))

    def speaking(self, logits: Tensor, spoken: Tensor) -> Tensor:
        """Each next token, words that tell relations and counts weighing more."""
        after = F.pad(spoken[:, 1:], (0, 1))
        target = after[after != 0]
        return F.cross_entropy(logits, target, self.weights.to(logits.device))

    def mending(self, net: Trainee, judged: Reading, target: Tensor) -> Tensor:
        """What each wrong word should be, asked one layer before the last, so that [CLS] can read the answer there."""
        target = target.flatten()[judged.where]
        asked = target != UNSURE
        logits = net.decoder.cls(judged.layers[-2][asked]).float()
        return F.cross_entropy(logits, target[asked], self.weights.to(logits.device))

    def measure(self, net: Trainee) -> str:
        return self.probe.measure(net, self.tokenizer)

    def export(self, net: Trainee) -> None:
        blip_export.export(net, self.tokenizer, self.a.out)


def covered(about: Tensor, b: Judged) -> Tensor:
    """The patches of the kind that each word is about: (B, n, L) -> (B, n, L, GRID²)."""
    return (about[..., None] == b.patches[:, None, None, :]) & (about != UNSURE)[..., None]


def grounding(reading: Reading, layer: int, about: Tensor, b: Judged) -> Tensor:
    """-log of the attention that lies on the patches of what words are about, on average over those that are about any."""
    gold = covered(about, b)
    mass = (reading.attention[layer][..., 1:].float() * gold).sum(-1)[gold.any(-1)]
    return -torch.log(mass + 1e-4).mean()


def look(net: Trainee, reading: Reading, about: Tensor, b: Judged) -> dict[str, Tensor]:
    """What nouns are taught, about (B, n, L) telling the kind of each: to attend to the patches that it covers, and to know from
    the first layer on where those are and how many of the kind there are."""
    gold = covered(about, b)
    has = gold.any(-1)
    nouns = reading.layers[0][has.flatten()[reading.where]]
    row, column = torch.arange(GRID * GRID, device=about.device) // GRID, torch.arange(GRID * GRID, device=about.device) % GRID
    patch_at = torch.stack([column, row], 1) / (GRID - 1) * 2 - 1
    gold = gold[has].float()
    centre = gold @ patch_at / gold.sum(1, keepdim=True)
    return {
        "ground": 0.25 * sum(grounding(reading, layer, about, b) for layer in GROUNDED),
        "place": F.mse_loss(net.noun_place(nouns).float(), centre),
        "count": 0.4 * F.cross_entropy(net.noun_count(nouns).float(), counts_at(about.flatten(1), b.kinds).view(about.shape)[has]),
    }


def counts_at(kinds: Tensor, counts: Tensor) -> Tensor:
    """How many of its kind a picture shows: kinds (B, N), where those beyond the last are none, and counts (B, K) -> (B, N) or UNSURE."""
    real = (kinds >= 0) & (kinds < counts.shape[1])
    return torch.where(real, counts.gather(1, torch.where(real, kinds, 0)), UNSURE)


def truth(net: Trainee, reading: Reading, target: Tensor) -> Tensor:
    """Whether each word is true, read from every layer but the first."""
    first = reading.where % reading.length == 0  # [CLS] has its own verdict
    target = target.flatten()[reading.where].masked_fill(first, UNSURE)
    heads = list(zip(net.truth_heads, reading.layers[1:]))
    return sum(one_of(head(states), target) for head, states in heads) / len(heads)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    loop.add_arguments(p, "blip", minutes=50)
    p.add_argument("--width", type=int, default=192)
    p.add_argument("--vision-layers", type=int, default=5)
    p.add_argument("--text-layers", type=int, default=3)
    p.add_argument("--clip", type=Path, default=loop.HERE.parent / "assets/models/demo-clip", help="whose vision tower to start from")
    p.add_argument("--probe", type=int, default=40, help="held-out sets of each contrast to measure on while training")
    a = p.parse_args()
    loop.run(Task(a), a)


if __name__ == "__main__":
    main()
