"""Controlled sets of four pictures that differ in one thing alone (What's Up's protocol, arXiv:2310.19785).

    python training/scenes.py --out DIR --sets 50 --seed 31

Three contrasts, as many sets of each: `relation` (two objects, left of / right of / above / below), `count` (one to four of a
kind) and `background` (the same picture on four colours). Each picture has four captions to choose from, of which one is true.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path

from scenes import draw_captions, draw_kinds, lay_out, render, sidecar
from world import COLOURS, COLOUR_PHRASES, NUMBERS, RELATIONS, Scene, concepts


@dataclass(frozen=True)
class Contrast:
    """Four scenes and four captions; `captions[i]` holds for `scenes[i]` and for no other of them."""

    kind: str
    scenes: tuple[Scene, ...]
    captions: tuple[str, ...]


def relation_set(rng: random.Random, split: str) -> Contrast:
    """Relations in the order of `RELATIONS`, so that the opposite of choice i is choice i ^ 1."""
    a, b = draw_kinds(rng, 2, split)
    ground, wording = rng.choice(COLOURS), rng.randrange(2)
    drawn = tuple(lay_out(((a, 1), (b, 1)), relation, ground, rng) for relation in RELATIONS)
    texts = tuple(f"{_one(a)} {phrases[wording]} {_one(b)}" for phrases, _ in RELATIONS.values())
    return Contrast("relation", drawn, texts)


def count_set(rng: random.Random, split: str) -> Contrast:
    kind = next(k for k in iter(lambda: draw_kinds(rng, 1, split)[0], None) if not concepts()[k].is_mass(concepts()[k].name))
    ground, name = rng.choice(COLOURS), concepts()[kind].name
    drawn = tuple(lay_out(((kind, n),), None, ground, rng) for n in (1, *NUMBERS))
    plural = concepts()[kind].forms[name][1]
    return Contrast("count", drawn, (f"one {name}", *(f"{words[0]} {plural}" for words in NUMBERS.values())))


def background_set(rng: random.Random, split: str) -> Contrast:
    """The objects keep their places; only the background changes."""
    kinds, grounds = draw_kinds(rng, rng.choice((1, 2)), split), rng.sample(COLOURS, 4)
    first = lay_out(tuple((k, 1) for k in kinds), None, grounds[0], rng)
    drawn = tuple(replace(first, background=g, seed=rng.getrandbits(32)) for g in grounds)
    named = " and ".join(map(_one, kinds))
    texts = tuple(f"{named} {COLOUR_PHRASES[0].format(g, a='an' if g == 'orange' else 'a')}" for g in grounds)
    return Contrast("background", drawn, texts)


def _one(kind: int) -> str:
    return concepts()[kind].forms[concepts()[kind].name][0]


def draw_sets(count: int, seed: int, split: str = "heldout") -> list[Contrast]:
    """`count` sets of each contrast."""
    rng = random.Random(f"sets {split} {seed}")
    return [make(rng, split) for make in (relation_set, count_set, background_set) for _ in range(count)]


def write_sets(out: Path, count: int, seed: int, split: str, size: int, quality: int) -> None:
    """Writes NNNN.jpg and NNNN.json, four pictures a set, with the fields of every sidecar and set, contrast, choices, answer."""
    out.mkdir(parents=True, exist_ok=True)
    rng, number = random.Random(f"captions {split} {seed}"), 0
    for index, contrast in enumerate(draw_sets(count, seed, split)):
        for answer, scene in enumerate(contrast.scenes):
            number += 1
            render(scene, size).save(out / f"{number:04d}.jpg", quality=quality)
            facts = sidecar(scene, draw_captions(scene, rng)) | {
                "set": index, "contrast": contrast.kind, "choices": contrast.captions, "answer": answer,
            }
            (out / f"{number:04d}.json").write_text(json.dumps(facts, ensure_ascii=False) + "\n")
