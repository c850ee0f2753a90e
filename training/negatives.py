"""Captions that are wrong of a scene, and where they are wrong.

A wrong caption is a right one of an altered scene, worded by the same random draws: the two differ in as little as one word, and
whether it is really wrong is for `fits` to say. No alteration makes a pair of kinds that is held out, nor a scene that never
occurs, so that nothing but the picture tells right from wrong.
"""

from __future__ import annotations

import random
import string
from dataclasses import replace
from functools import lru_cache

import numpy as np

from scenes import draw_scene, sprite
from world import BACKGROUNDS, COLOURS, NUMBERS, RELATIONS, Scene, any_held_out, caption, concepts, fits, parse

OUTSIDE = (
    "man woman person people child girl boy crowd city street building wall window door floor road field tree river desert snow "
    "computer keyboard screen laptop chair sofa lamp shelf kitchen office train station airport bridge tower museum painting statue "
    "physics quantum theory economy market law history music poem story mathematics equation engine factory robot planet galaxy atom "
    "shirt dress jacket trousers sock belt button pocket wool cotton leather wood metal glass plastic paper concrete rubber stripes "
    "running sleeping eating reading writing talking walking flying dancing fighting driving swimming riding jumping smiling "
    "happy sad angry old young tall short big small empty broken wet dry loud quiet fast slow modern ancient famous secret "
    "government election president army soldier teacher doctor student lawyer farmer baker butcher tailor pilot "
    "water fire ice sand stone dust smoke cloud rain wind storm fog invoice contract password database network software"
).split()
STRANGERS = [w for w in OUTSIDE if w not in {w for kind in concepts() for form in kind.forms for w in form.split()}]
TEMPLATES = ("{}", "a {}", "a photo of a {}", "the {}", "two {}", "{} and {}", "a {} and a {}", "a {} {}", "{} {} {}", "a {} next to a {}",
             "a {} on a {}", "{} on a red background", "a {} on a blue background", "what is {}?", "a picture of {} {}")


def wrong_caption(scene: Scene, seed: int, rng: random.Random, **wording: float) -> str | None:
    """What `caption` says with this seed, about a scene that was altered in one way or two; None where nothing wrong came out."""
    for _ in range(8):
        other = alter(scene, rng)
        if rng.random() < 0.15:
            other = alter(other, rng)
        if any_held_out([c for c, _ in other.groups]):
            continue
        text = caption(other, random.Random(seed), **wording)
        if not fits(parse(text), scene):
            return text
    return None


def alter(scene: Scene, rng: random.Random) -> Scene:
    """The scene with one fact changed: only groups, relation and background are of use."""
    ways = [(_other_background, 0.7), (_other_kind, 3.0)]
    if scene.relation:
        ways.append((_other_relation, 4.0))
    if sum(n for _, n in scene.groups) > 1 and not scene.relation or len(scene.groups) == 1:
        ways.append((_other_count, 4.0))
    if len(scene.groups) < 3:
        ways.append((_one_more, 1.0))
    if len({n for _, n in scene.groups}) > 1:
        ways.append((_swapped_counts, 1.0))
    return rng.choices(*zip(*ways))[0](scene, rng)


def _other_background(scene: Scene, rng: random.Random) -> Scene:
    return replace(scene, background=rng.choice([b for b in BACKGROUNDS if b != scene.background and (b in COLOURS or rng.random() < 0.5)]))


def _other_kind(scene: Scene, rng: random.Random) -> Scene:
    groups = list(scene.groups)
    i = rng.randrange(len(groups))
    groups[i] = (_stranger(scene, rng), groups[i][1])
    return replace(scene, groups=tuple(groups))


def _stranger(scene: Scene, rng: random.Random) -> int:
    """A kind that the scene does not show; mostly one that looks like something that it does."""
    shown = {c for c, _ in scene.groups}
    near = lookalikes()[rng.choice(tuple(shown))] if rng.random() < 0.65 else range(len(concepts()))
    return rng.choice([k for k in near if k not in shown])


@lru_cache(1)
def lookalikes(most: int = 24) -> list[list[int]]:
    """For each kind, those whose drawings are nearest: in how much of each colour they hold, and in which colour lies where."""
    drawn = np.stack([sprite(c, 24, 0) for c in range(len(concepts()))])
    colour, alpha = drawn[..., :3].reshape(len(drawn), -1, 3), drawn[..., 3].reshape(len(drawn), -1)
    bins = (np.clip(colour / np.maximum(alpha, 1e-3)[..., None], 0, 1) * 3.999).astype(int) @ np.array([16, 4, 1])
    held = np.stack([np.bincount(b, a, 64) for b, a in zip(bins, alpha)])
    held /= held.sum(1, keepdims=True)
    placed = (drawn[..., :3] + (1 - drawn[..., 3:]) * 0.5).reshape(len(drawn), 6, 4, 6, 4, 3).mean((2, 4)).reshape(len(drawn), -1)
    apart = sum(d / d.mean() for d in (np.abs(f[:, None] - f).sum(-1) for f in (held, placed)))
    np.fill_diagonal(apart, np.inf)
    return np.argsort(apart, 1)[:, :most].tolist()


def _other_relation(scene: Scene, rng: random.Random) -> Scene:
    opposite = RELATIONS[scene.relation][1]
    others = [r for r in RELATIONS if r not in (scene.relation, opposite)]
    return replace(scene, relation=opposite if rng.random() < 0.5 else rng.choice(others))


def _other_count(scene: Scene, rng: random.Random) -> Scene:
    groups = list(scene.groups)
    i = rng.randrange(len(groups))
    kind, n = groups[i]
    most = 4 - sum(m for _, m in groups) + n
    near = [m for m in (n - 1, n + 1) if 1 <= m <= most]
    groups[i] = (kind, rng.choice(near if near and rng.random() < 0.7 else [m for m in (1, *NUMBERS) if m != n and m <= max(most, 2)]))
    return replace(scene, groups=tuple(groups))


def _one_more(scene: Scene, rng: random.Random) -> Scene:
    groups = (*scene.groups, (_stranger(scene, rng), 1))
    pair = [n for _, n in groups] == [1, 1]
    return replace(scene, groups=groups, relation=rng.choice(tuple(RELATIONS)) if pair and rng.random() < 0.7 else None)


def _swapped_counts(scene: Scene, rng: random.Random) -> Scene:
    (a, n), (b, m), *rest = scene.groups if scene.groups[0][1] != scene.groups[1][1] else scene.groups[::-1]
    return replace(scene, groups=((a, m), (b, n), *rest))


def mistaken_caption(scene: Scene, rng: random.Random, **wording: float) -> str:
    """A caption of one thing that the scene does not show, likely one that looks like something that it does."""
    alone = replace(scene, groups=((_stranger(scene, rng), 1),), relation=None, objects=())
    return caption(alone, rng, **wording)


def unrelated_caption(scene: Scene, rng: random.Random, **wording: float) -> str:
    """A caption of another scene, or text from outside the world."""
    if rng.random() < 0.35:
        return strange_text(rng)
    while True:
        text = caption(draw_scene(rng, "train"), rng, **wording)
        if not fits(parse(text), scene):
            return text


def strange_text(rng: random.Random) -> str:
    template = rng.choice(TEMPLATES)
    return template.format(*(_strange_word(rng) for _ in range(template.count("{}"))))


def _strange_word(rng: random.Random) -> str:
    if rng.random() < 0.6:
        return rng.choice(STRANGERS)
    word = "".join(rng.choices(string.ascii_lowercase, weights=[8, 2, 3, 4, 12, 2, 2, 6, 7, 1, 1, 4, 2, 7, 8, 2, 1, 6, 6, 9, 3, 1, 2, 1, 2, 1], k=rng.randrange(2, 8)))
    return rng.choice(concepts()).name.split()[0] + word if rng.random() < 0.15 else word
