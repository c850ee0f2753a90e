"""Draws emoji scenes, and writes a folder of them with captions and queries.

    python training/scenes.py --out DIR --count 1000 --seed 7 --split heldout [--size 256] [--views 1000]
    python training/scenes.py --out DIR --sets 50 --seed 31           # controlled sets of four, see sets.py
"""

from __future__ import annotations

import argparse
import json
import random
from functools import cache
from pathlib import Path
from typing import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from world import (
    BACKGROUNDS, COLOURS, RELATIONS, SCENERY, Placed, Scene, any_held_out, caption, concepts, fits, parse,
)

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
FONT_SIZE = 109  # the only size of this bitmap font
RGB = {
    "red": (205, 45, 45), "orange": (238, 140, 40), "yellow": (238, 214, 70), "green": (55, 155, 70),
    "blue": (52, 90, 205), "purple": (130, 62, 172), "pink": (242, 165, 195), "white": (247, 247, 247),
    "gray": (132, 132, 132), "black": (24, 24, 24),
}
OTHERS_RGB = {  # what other people may mean by the same names
    "red": ((255, 0, 0), (220, 70, 70), (180, 20, 20)), "orange": ((255, 165, 0), (255, 120, 0)),
    "yellow": ((255, 255, 0), (255, 240, 120)), "green": ((0, 128, 0), (0, 255, 0), (120, 205, 120)),
    "blue": ((0, 0, 255), (30, 50, 150), (90, 150, 240)), "purple": ((128, 0, 128), (165, 85, 225)),
    "pink": ((255, 192, 203), (255, 105, 180)), "white": ((255, 255, 255),),
    "gray": ((128, 128, 128), (165, 165, 165), (95, 95, 95)), "black": ((0, 0, 0),),
}
Sprite = Callable[[int, int, float], np.ndarray]
"""(concept, side in pixels, angle) -> premultiplied RGBA in 0..1, shape (h, w, 4), h and w close to the side."""


# ---- what is in a scene ---------------------------------------------------------------------------------------------


SHAPES = {"single": 0.3, "pair": 0.35, "several": 0.2, "mixed": 0.15}  # how often each is drawn


def draw_scene(rng: random.Random, split: str, shapes: dict[str, float] = SHAPES) -> Scene:
    """A random scene. Pairs of kinds that are held out never occur in split "train", and always in split "heldout"."""
    shape = rng.choices(tuple(shapes), tuple(shapes.values()))[0]
    kinds = draw_kinds(rng, {"single": 1, "several": 1, "pair": 2}.get(shape) or rng.choice((2, 2, 3)), split)
    counts = [1] * len(kinds)
    if shape == "several":
        counts = [rng.choice((2, 2, 3, 3, 4))]
    elif shape == "mixed" and len(kinds) == 2:
        counts = rng.choice(([2, 1], [1, 2], [3, 1], [1, 3], [2, 2]))
    relation = rng.choice(tuple(RELATIONS)) if shape == "pair" else None
    background = rng.choice(COLOURS) if rng.random() < 0.8 else rng.choice(tuple(SCENERY))
    return lay_out(tuple(zip(kinds, counts)), relation, background, rng)


def draw_kinds(rng: random.Random, n: int, split: str) -> list[int]:
    """`n` kinds; see `draw_scene` about the split."""
    while True:
        kinds = rng.sample(range(len(concepts())), n)
        if n == 1 or any_held_out(kinds) == (split == "heldout"):
            return kinds


def near_miss(scene: Scene, rng: random.Random, split: str) -> Scene:
    """A scene that differs from this one in one fact: a relation, a count, the background, or one of the kinds."""
    groups, relation, ground = list(scene.groups), scene.relation, scene.background
    total, spot = len(scene.objects), rng.randrange(len(groups))
    counts = [n for n in range(1, 5 - total + groups[spot][1]) if n != groups[spot][1]]
    changes = ["background", "kind", *(["relation"] * 3 if relation else ["count"] * 2 if counts else []),
               *(["drop"] if len(groups) > 1 else []), *(["add"] if total < 4 and len(groups) < 3 else [])]
    change = rng.choice(changes)
    if change == "background":
        ground = rng.choice([b for b in BACKGROUNDS if b != ground])
    elif change == "relation":
        relation = rng.choice([r for r in RELATIONS if r != relation])
    elif change == "count":
        groups[spot] = (groups[spot][0], rng.choice(counts))
    elif change == "kind":
        groups = _other_kinds(groups, spot, rng, split)
    elif change == "add":
        groups = _other_kinds(groups, None, rng, split)
        relation = rng.choice(tuple(RELATIONS)) if total == 1 else None
    else:
        groups.pop(spot)
        relation = None
    return lay_out(tuple(groups), relation, ground, rng)


def _other_kinds(
    groups: list[tuple[int, int]], spot: int | None, rng: random.Random, split: str
) -> list[tuple[int, int]]:
    """The groups with another kind at the spot, or with one more of a new kind; see `draw_scene` about the split."""
    while True:
        new, kind = list(groups), rng.randrange(len(concepts()))
        if spot is None:
            new.append((kind, 1))
        else:
            new[spot] = (kind, new[spot][1])
        kinds = [c for c, _ in new]
        if len(set(kinds)) == len(kinds) and (len(kinds) == 1 or split == "heldout" or not any_held_out(kinds)):
            return new


def lay_out(groups: tuple[tuple[int, int], ...], relation: str | None, background: str, rng: random.Random) -> Scene:
    """Places the objects anew: the same facts always give the same kind of scene, never the same picture."""
    kinds = [c for c, n in groups for _ in range(n)]
    place = _place_related if relation else _place_apart
    objects = tuple(
        Placed(c, x, y, side, rng.uniform(-15, 15)) for c, (x, y, side) in zip(kinds, place(len(kinds), relation, rng))
    )
    return Scene(groups, relation, background, objects, rng.getrandbits(32))


def _place_related(_: int, relation: str | None, rng: random.Random) -> list[tuple[float, float, float]]:
    """Two objects, the first standing in the relation to the second."""
    sides = [rng.uniform(0.26, 0.48) for _ in range(2)]
    gap = rng.uniform(sum(sides) / 2, 1 - sum(sides) / 2)  # between the centres, along the named axis
    start = rng.uniform(sides[0] / 2, 1 - sides[1] / 2 - gap)
    along = [start, start + gap]
    slack = min(gap * 0.5, 0.22)
    first = rng.uniform(max(sides) / 2, 1 - max(sides) / 2)
    second = min(max(first + rng.uniform(-slack, slack), max(sides) / 2), 1 - max(sides) / 2)
    spots = list(zip(along, (first, second)))
    if relation in ("right of", "below"):
        spots.reverse()
        sides.reverse()
    if relation in ("above", "below"):
        spots = [(y, x) for x, y in spots]
    return [(x, y, s) for (x, y), s in zip(spots, sides)]


def _place_apart(n: int, _: str | None, rng: random.Random) -> list[tuple[float, float, float]]:
    """`n` objects that overlap little; sizes shrink until they fit."""
    low, high = {1: (0.32, 0.76), 2: (0.26, 0.48), 3: (0.22, 0.4), 4: (0.2, 0.34)}[n]
    while True:
        spots: list[tuple[float, float, float]] = []
        for _ in range(60):
            side = rng.uniform(low, high)
            x, y = (rng.uniform(side / 2, 1 - side / 2) for _ in range(2))
            if all(max(abs(x - u), abs(y - v)) > 0.46 * (side + s) for u, v, s in spots):
                spots.append((x, y, side))
            if len(spots) == n:
                return spots
        high = max(low, high * 0.9)


# ---- pixels ---------------------------------------------------------------------------------------------------------


@cache
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONT, FONT_SIZE)


@cache
def glyph(concept: int, dark_edges: bool = False) -> Image.Image:
    """The concept's glyph as a tight square of RGBA with premultiplied colours.

    Drawn on black and on white: the former is the premultiplied colour, their difference tells the alpha. Drawing on a
    transparent image would multiply the edges with their alpha more than once; `dark_edges` asks for that look.
    """
    on = []
    for paper in ("black", "white"):
        image = Image.new("RGB", (170, 170), paper)
        ImageDraw.Draw(image).text((14, 14), concepts()[concept].emoji, font=_font(), embedded_color=True)
        on.append(np.asarray(image, np.int16))
    alpha = 255 - (on[1] - on[0]).max(-1)
    rgba = np.dstack([on[0], alpha]).clip(0, 255)
    if dark_edges:
        a = rgba[..., 3:] / 255
        rgba = rgba * np.concatenate([a * a, a * a, a * a, a], -1)
    rgba = rgba.astype(np.uint8)
    rows, columns = (np.flatnonzero(alpha.max(axis)) for axis in (1, 0))
    rgba = rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    h, w = rgba.shape[:2]
    side = max(h, w)
    square = np.zeros((side, side, 4), np.uint8)
    square[(side - h) // 2 :, (side - w) // 2 :][:h, :w] = rgba
    return Image.fromarray(square, "RGBA")


def sprite(
    concept: int, side: int, angle: float, resample: Image.Resampling = Image.Resampling.LANCZOS, dark_edges: bool = False
) -> np.ndarray:
    """See `Sprite`. Resampling happens on premultiplied colours, so that edges do not darken unless they are asked to."""
    bands = [
        band.rotate(angle, Image.Resampling.BICUBIC, expand=True).resize((side, side), resample)
        for band in glyph(concept, dark_edges).split()
    ]
    return np.stack([np.asarray(b, np.float32) for b in bands], -1) / 255


def background(name: str, size: int, rng: np.random.Generator, strange: float = 0.0) -> np.ndarray:
    """A background of its name with gradient, hue jitter and noise: float RGB in 0..1, shape (size, size, 3).

    `strange` (0..1): how far a colour may stray towards other people's idea of it.
    """
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    if name in RGB:
        image = _plain(_shade(name, rng, strange), rng, x, y)
    else:
        image = {"sky": _sky, "grass": _grass, "sea": _sea, "night": _night, "table": _table}[name](rng, x, y)
    grain = rng.uniform(0, 0.02)
    return np.clip(image + rng.standard_normal((size, size, 1), dtype=np.float32) * grain, 0, 1)


def _shade(name: str, rng: np.random.Generator, strange: float) -> np.ndarray:
    ours = np.array(RGB[name], np.float32)
    if not strange:
        return ours
    theirs = np.array(rng.choice(OTHERS_RGB[name]), np.float32)
    return ours + (theirs - ours) * np.float32(strange * rng.uniform(0, 1) ** 0.5)


def _plain(rgb: np.ndarray, rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    base = rgb / 255 + rng.uniform(-0.03, 0.03, 3).astype(np.float32)
    base = base + np.float32(rng.uniform(-0.05, 0.05))
    turn, depth = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.14)
    slope = (x - 0.5) * np.cos(turn) + (y - 0.5) * np.sin(turn)
    return base + np.float32(depth) * slope[..., None]


def _mix(a: tuple[float, ...], b: tuple[float, ...], t: np.ndarray) -> np.ndarray:
    t = np.clip(t, 0, 1)[..., None]
    return np.array(a, np.float32) * (1 - t) + np.array(b, np.float32) * t


def _sky(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    image = _mix((0.38, 0.66, 0.94), (0.83, 0.92, 0.99), y + rng.uniform(-0.1, 0.1))
    for _ in range(rng.integers(2, 5)):
        u, v, w = rng.uniform(0, 1), rng.uniform(0, 0.8), rng.uniform(0.1, 0.22)
        haze = 0.5 * np.exp(-(((x - u) / w) ** 2 + ((y - v) / (w * 0.35)) ** 2))
        image = image + (1 - image) * haze[..., None]
    return image


def _grass(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    image = _mix((0.52, 0.76, 0.32), (0.24, 0.5, 0.16), y + rng.uniform(-0.15, 0.15))
    blades = np.sin(x * rng.uniform(120, 160) + 3 * np.sin(y * rng.uniform(20, 40)) + rng.uniform(0, 6))
    return image + np.float32(0.045) * (blades * np.sin(y * rng.uniform(30, 50)))[..., None]


def _sea(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    image = _mix((0.2, 0.66, 0.74), (0.03, 0.27, 0.46), y + rng.uniform(-0.15, 0.15))
    ripples = np.sin((y * rng.uniform(5, 8) + 0.06 * np.sin(x * rng.uniform(9, 16) + rng.uniform(0, 6))) * 2 * np.pi)
    return image + np.float32(0.07) * np.maximum(ripples, 0)[..., None] ** 3


def _night(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    image = _mix((0.03, 0.04, 0.14), (0.14, 0.13, 0.34), y + rng.uniform(-0.15, 0.15))
    for _ in range(rng.integers(18, 32)):
        u, v, w = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.004, 0.009)
        image = image + np.float32(0.8) * np.exp(-((x - u) ** 2 + (y - v) ** 2) / w**2)[..., None]
    return image


def _table(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    shade = rng.uniform(-0.06, 0.06)
    planks = rng.integers(3, 6)
    tone = rng.uniform(-0.06, 0.06, planks + 1).astype(np.float32)
    row = y * planks
    grain = np.sin((y * 40 + 0.6 * np.sin(x * rng.uniform(4, 8) + row.astype(int))) * 2.2)
    image = np.array((0.62, 0.42, 0.24), np.float32) + np.float32(shade) + tone[row.astype(int)][..., None]
    seam = np.exp(-(((row - np.round(row)) / 0.04) ** 2))
    return image + np.float32(0.025) * grain[..., None] - np.float32(0.16) * seam[..., None]


def compose(
    scene: Scene, size: int, sprites: Sprite = sprite, strange: float = 0.0
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Draws a scene: float RGB in 0..1, shape (size, size, 3), and each object's visible alpha, shape (size, size)."""
    image = background(scene.background, size, np.random.default_rng(scene.seed), strange)
    masks: list[np.ndarray] = []
    for o in scene.objects:
        rgba = sprites(o.concept, max(4, round(o.side * size)), o.angle)
        h, w = rgba.shape[:2]
        top = min(max(round(o.y * size - h / 2), 0), size - h)
        left = min(max(round(o.x * size - w / 2), 0), size - w)
        spot = (slice(top, top + h), slice(left, left + w))
        image[spot] = image[spot] * (1 - rgba[..., 3:]) + rgba[..., :3]
        for earlier in masks:
            earlier[spot] *= 1 - rgba[..., 3]
        mask = np.zeros((size, size), np.float32)
        mask[spot] = rgba[..., 3]
        masks.append(mask)
    return image, masks


def render(scene: Scene, size: int) -> Image.Image:
    return Image.fromarray((np.clip(compose(scene, size)[0], 0, 1) * 255 + 0.5).astype(np.uint8))


# ---- folders --------------------------------------------------------------------------------------------------------


def sidecar(scene: Scene, captions: list[str]) -> dict[str, object]:
    names = [concepts()[o.concept].name for o in scene.objects]
    return {
        "captions": captions,
        "objects": list(dict.fromkeys(names)),  # objects[0] stands in the relation to objects[1]
        "count": len(names),
        "background": scene.background,
        **({"relation": scene.relation} if scene.relation else {}),
        "boxes": [{"name": n, "box": o.box()} for n, o in zip(names, scene.objects)],
    }


def held_out_scenes(count: int, seed: int, split: str = "heldout") -> list[tuple[Scene, list[str], Scene]]:
    """`count` scenes, each with 3 to 5 captions and an independently drawn view of the same facts."""
    rng = random.Random(f"{split} {seed}")
    out = []
    for _ in range(count):
        scene = draw_scene(rng, split)
        captions = draw_captions(scene, rng)
        out.append((scene, captions, lay_out(scene.groups, scene.relation, scene.background, rng)))
    return out


def draw_captions(scene: Scene, rng: random.Random) -> list[str]:
    """3 to 5 different captions that fit."""
    wanted, captions = rng.randrange(3, 6), []
    for _ in range(40):
        text = caption(scene, rng)
        if text not in captions:
            captions.append(text)
        if len(captions) == wanted:
            break
    return captions


def write_folder(out: Path, count: int, seed: int, split: str, size: int, views: int, quality: int) -> None:
    """Writes NNNN.jpg and NNNN.json, .views/NNNN.jpg, and queries.jsonl with every scene that each query fits.

    The views are hidden, so that indexing the folder skips them: they are queries.
    """
    (out / ".views").mkdir(parents=True, exist_ok=True)
    rows = held_out_scenes(count, seed, split)
    names = [f"{i:04d}.jpg" for i in range(1, count + 1)]
    queries: list[dict[str, object]] = []
    for name, (scene, captions, _) in zip(names, rows):
        render(scene, size).save(out / name, quality=quality)
        text = json.dumps(sidecar(scene, captions), ensure_ascii=False)
        (out / name).with_suffix(".json").write_text(text + "\n")
        facts = parse(captions[0])
        relevant = [n for n, (other, _, _) in zip(names, rows) if fits(facts, other)]
        queries.append({"query": captions[0], "relevant": relevant})
    for name, (scene, _, view) in list(zip(names, rows))[:views]:
        render(view, size).save(out / ".views" / name, quality=quality)
        relevant = [n for n, (other, _, _) in zip(names, rows) if other.key() == scene.key()]
        queries.append({"image": f".views/{name}", "relevant": relevant})
    (out / "queries.jsonl").write_text("".join(json.dumps(q) + "\n" for q in queries))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--count", type=int, default=1000)
    p.add_argument("--seed", type=int, default=7)
    p.add_argument("--split", choices=("train", "heldout"), default="heldout")
    p.add_argument("--size", type=int, default=256)
    p.add_argument("--views", type=int, default=10**9, help="draw a second view of the first N scenes")
    p.add_argument("--quality", type=int, default=90)
    p.add_argument("--sets", type=int, help="instead: N sets of four pictures for each contrast of sets.py")
    a = p.parse_args()
    if a.sets:
        from sets import write_sets  # which builds on this module

        return write_sets(a.out, a.sets, a.seed, a.split, a.size, a.quality)
    write_folder(a.out, a.count, a.seed, a.split, a.size, a.views, a.quality)


if __name__ == "__main__":
    main()
