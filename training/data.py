"""Training scenes as tensors: pictures drawn fast, which object covers each patch, and what a caption claims."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import scenes
from world import BACKGROUNDS, Facts, Scene, concepts

SIZE, PATCH = 80, 16
GRID = SIZE // PATCH
MEAN, STD = 0.5, 0.27
MAX_NEEDS = 3
FILTERS = (Image.Resampling.LANCZOS, Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.BOX)
BACKGROUND_LABEL = len(concepts())  # a patch that no object covers
UNSURE = -100  # what a loss skips, such as a patch that an object only grazes


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

    def picture(self, scene: Scene, rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
        """The scene with mild changes of colour and sharpness, (3, S, S) bytes, and its patch labels, (GRID²,)."""
        image, masks = scenes.compose(scene, SIZE, self, strange=rng.random())
        return _photometric(image, rng), _patch_labels(scene, masks)


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


def centres(scene: Scene) -> np.ndarray:
    """(GRID²,) with a sum of one for each object."""
    out = np.zeros((GRID, GRID), np.float32)
    for o in scene.objects:
        x, y = (min(max(v * GRID - 0.5, 0), GRID - 1.001) for v in (o.x, o.y))
        i, j = int(y), int(x)
        out[i : i + 2, j : j + 2] += np.outer((1 - (y - i), y - i), (1 - (x - j), x - j))
    return out.ravel()


def normalise(pixels: Tensor) -> Tensor:
    return (pixels.float() / 255 - MEAN) / STD


@dataclass
class Batch:
    """Pictures, what they show, and what one caption of each claims.

    pixels (B, 3, S, S) uint8; patches (B, GRID²) labels; centres (B, GRID²) how many objects have their centre there, each spread
    over its four nearest patches; kinds (B, K) counts; background (B,);
    needs (B, MAX_NEEDS, 3) as (concept, least, most), where most = -1 means unused; said (B,) background or UNSURE.
    """

    pixels: Tensor
    patches: Tensor
    centres: Tensor
    kinds: Tensor
    background: Tensor
    needs: Tensor
    said: Tensor

    @classmethod
    def of(cls, drawn: list[Scene], facts: list[Facts], bank: SpriteBank, rng: random.Random, **more: Tensor) -> Self:
        images, patches = zip(*(bank.picture(s, rng) for s in drawn))
        return cls(
            torch.from_numpy(np.stack(images)),
            torch.from_numpy(np.stack(patches)),
            torch.from_numpy(np.stack([centres(s) for s in drawn])),
            torch.tensor([_counts_of(s) for s in drawn]),
            torch.tensor([BACKGROUNDS.index(s.background) for s in drawn]),
            torch.tensor([_needs_of(f) for f in facts]),
            torch.tensor([BACKGROUNDS.index(f.background) if f.background else UNSURE for f in facts]),
            **more,
        )

    def to(self, device: torch.device) -> Self:
        return type(self)(**{k: v.to(device, non_blocking=True) for k, v in vars(self).items()})


def _counts_of(scene: Scene) -> list[int]:
    out = [0] * len(concepts())
    for concept, n in scene.groups:
        out[concept] = n
    return out


def _needs_of(facts: Facts) -> list[tuple[int, int, int]]:
    return [*facts.needs, *[(0, 0, -1)] * (MAX_NEEDS - len(facts.needs))]
