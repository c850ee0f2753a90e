"""What the demo LLaVA learns from: a few pictures, and questions about them, in one sequence.

The pictures come first and are read once; the questions behind them do not see one another, and each stands where it would stand
alone (`Batch.segments`, `Batch.positions`). So one look at four pictures teaches six answers.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info
from transformers import PreTrainedTokenizerFast

import scenes
from data import GRID, SIZE, UNSURE, SpriteBank
from llava_tokenizer import prompt_of, prompt_of_images
from questions import ALONE, RELATIVE, TYPES, Answer, Question, answer, ask, ask_of_one, doubtful, place
from world import BACKGROUNDS, RELATIONS, Scene, concepts

PATCHES = GRID**2
MOST_IMAGES = 4
SHARES = {0: 0.02, 1: 0.28, 2: 0.14, 3: 0.14, 4: 0.42}  # how often so many pictures are shown
SHAPES = {"single": 0.2, "pair": 0.45, "several": 0.2, "mixed": 0.15}  # of scenes: more to relate than in the world at large
WEIGHTS = {**dict.fromkeys(TYPES, 1.0), "left-right": 2.5, "above-below": 2.5, "count": 1.5, "exists": 1.5, "which": 1.5, "what": 1.5}
FINDING, READING = 0, 1  # the two kinds of attention that training guides


@dataclass
class Batch:
    """N pictures a set, S sets, T tokens a sequence, P guided positions, A answered tokens.

    pixels (S*N, 3, SIZE, SIZE) uint8; kinds, counts, roles (S*N, PATCHES): the concept that covers each patch, how many of it the
    picture shows, how it stands to the picture's other object (UNSURE where that has no answer); grounds (S*N,).
    ids, segments (0 is shared, -1 is padding), positions (S, T); images (N*PATCHES,): where the patches stand in every sequence.
    answers (A, 4): sequence, position *before* the token, token, question; emphasis (A,): weight in the loss.
    guides (P, 3): sequence, position, FINDING or READING; guided (P, N*PATCHES) bool: where attention should go, if anywhere.
    starts (Q, 2): sequence, position before the answer; rests (Q, MOST_IMAGES): 1 for each picture that the answer rests on.
    types (Q,): each question's index in TYPES, or len(TYPES) where it cannot be answered.
    """

    pixels: Tensor
    kinds: Tensor
    counts: Tensor
    roles: Tensor
    grounds: Tensor
    ids: Tensor
    segments: Tensor
    positions: Tensor
    images: Tensor
    answers: Tensor
    emphasis: Tensor
    guides: Tensor
    guided: Tensor
    starts: Tensor
    rests: Tensor
    types: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(**{k: v.to(device, non_blocking=True) for k, v in vars(self).items()})


# ---- sets of pictures and their questions ---------------------------------------------------------------------------


def draw_pictures(count: int, rng: random.Random, split: str) -> list[Scene]:
    """Some scenes, half of them near misses of another one: the same kinds in another relation, number or place."""
    out: list[Scene] = []
    for _ in range(count):
        near = out and rng.random() < 0.5
        out.append(scenes.near_miss(rng.choice(out), rng, split) if near else scenes.draw_scene(rng, split, SHAPES))
    rng.shuffle(out)
    return out


def draw_question(shown: list[Scene], rng: random.Random, split: str) -> Question:
    """A question that one of these pictures answers, or (one in four) one that was made for another picture."""
    while True:
        kind = rng.choices(TYPES, [WEIGHTS[t] for t in TYPES])[0]
        for _ in range(5):  # not every picture gives occasion for every kind
            q = _draw_one(kind, shown, rng, split)
            if q and not any(doubtful(q, s) for s in shown):
                return q


def _draw_one(kind: str, shown: list[Scene], rng: random.Random, split: str) -> Question | None:
    number = rng.randrange(1, MOST_IMAGES + 1 if rng.random() < 0.1 else len(shown) + 1) if shown else None
    if kind in ALONE and rng.random() < 0.4:
        return ask_of_one(kind, rng, number if rng.random() < 0.5 else None)
    about = rng.choice(shown) if shown else scenes.draw_scene(rng, split)
    if rng.random() < (0.45 if kind == "exists" else 0.25):
        about = scenes.near_miss(about, rng, split) if rng.random() < 0.7 else scenes.draw_scene(rng, split)
    q = ask(kind, about, rng)
    return place(q, rng, number) if q and number and kind != "which" and rng.random() < 0.06 else q


# ---- sequences ------------------------------------------------------------------------------------------------------


class Names:
    """Finds a concept's words among tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        words = [(i, form) for i, c in enumerate(concepts()) for w, (_, plural) in c.forms.items() for form in (w, plural)]
        ids = tokenizer([f" {form}" for _, form in words], add_special_tokens=False).input_ids
        self.forms: list[list[list[int]]] = [[] for _ in concepts()]
        for (concept, _), tokens in zip(words, ids):
            self.forms[concept].append(tokens)
        for each in self.forms:
            each.sort(key=len, reverse=True)

    def find(self, concept: int, ids: list[int]) -> list[int]:
        """The places of its first mention; none if it is not named."""
        for form in self.forms[concept]:
            for start in range(len(ids) - len(form) + 1):
                if ids[start : start + len(form)] == form:
                    return list(range(start, start + len(form)))
        return []


class Quizzes(IterableDataset[Batch]):
    """Endless random batches of `size` sets with `asked` questions each."""

    def __init__(
        self, size: int, asked: int, seed: str, bank: SpriteBank, tokenizer: PreTrainedTokenizerFast, split: str = "train"
    ) -> None:
        self.size, self.asked, self.seed, self.bank, self.tokenizer, self.split = size, asked, seed, bank, tokenizer, split
        self.names = Names(tokenizer)
        self.numbers = {}  # tokens that name a picture, as in "image 2 [2]"
        for n in range(1, MOST_IMAGES + 1):
            spaced, _, cited, _ = tokenizer(f" {n} [{n}]", add_special_tokens=False).input_ids
            self.numbers |= {spaced: n, cited: n}

    def __iter__(self):
        worker = get_worker_info()
        rng = random.Random(f"{self.split} {self.seed} {worker.id if worker else 0}")
        while True:
            yield self.batch(rng, rng.choices(list(SHARES), list(SHARES.values()))[0])

    def batch(self, rng: random.Random, count: int) -> Batch:
        """A batch of sets of `count` pictures."""
        sets = [draw_pictures(count, rng, self.split) for _ in range(self.size)]
        quizzes = [[draw_question(shown, rng, self.split) for _ in range(self.asked)] for shown in sets]
        drawn = [self.bank.picture(s, rng) for shown in sets for s in shown]
        pixels, kinds = (np.stack(column) for column in zip(*drawn)) if drawn else (np.zeros((0, 3, SIZE, SIZE), np.uint8),
                                                                                    np.zeros((0, PATCHES), np.int64))
        flat = [s for shown in sets for s in shown]
        counts, roles = (np.array([[f(s, k) for k in row] for s, row in zip(flat, kinds)], np.int64).reshape(-1, PATCHES)
                         for f in (_count, _role))
        rows = Rows(self, [kinds[i * count : (i + 1) * count] for i in range(self.size)], count)
        rows.add_all(sets, quizzes)
        return Batch(
            torch.from_numpy(pixels), torch.from_numpy(kinds.astype(np.int64)), torch.from_numpy(counts), torch.from_numpy(roles),
            torch.tensor([BACKGROUNDS.index(s.background) for s in flat], dtype=torch.long), **rows.tensors(),
        )


def _count(scene: Scene, kind: int) -> int:
    return scene.count_of(kind) - 1 if 0 <= kind < len(concepts()) else UNSURE


def _role(scene: Scene, kind: int) -> int:
    if scene.relation is None or not 0 <= kind < len(concepts()):
        return UNSURE
    own = scene.relation if kind == scene.groups[0][0] else RELATIONS[scene.relation][1]
    return tuple(RELATIONS).index(own)


class Rows:
    """Builds the sequences of a batch, and what is to be learnt at which place of them."""

    def __init__(self, maker: Quizzes, kinds: list[np.ndarray], count: int) -> None:
        self.maker, self.kinds, self.count = maker, kinds, count
        prefix = maker.tokenizer(prompt_of_images(count)).input_ids
        self.images: list[int] = []
        self.prefix: list[int] = []
        for token in prefix:
            if token == maker.tokenizer.image_token_id:
                self.images += range(len(self.prefix), len(self.prefix) + PATCHES)
            self.prefix += [token] * (PATCHES if token == maker.tokenizer.image_token_id else 1)
        self.ids: list[list[int]] = []
        self.segments: list[list[int]] = []
        self.positions: list[list[int]] = []
        self.answers: list[tuple[int, int, int, int]] = []
        self.emphasis: list[float] = []
        self.guides: list[tuple[int, int, int]] = []
        self.guided: list[np.ndarray] = []
        self.starts: list[tuple[int, int]] = []
        self.rests: list[list[float]] = []
        self.types: list[int] = []

    def add_all(self, sets: list[list[Scene]], quizzes: list[list[Question]]) -> None:
        told = [[answer(q, shown) for q in qs] for shown, qs in zip(sets, quizzes)]
        tokens = self.maker.tokenizer
        asked = tokens([prompt_of(q.text) for qs in quizzes for q in qs], add_special_tokens=False).input_ids
        said = tokens([f" {a}{tokens.eos_token}" for each in told for a in each], add_special_tokens=False).input_ids
        at = 0
        for row, (shown, qs) in enumerate(zip(sets, quizzes)):
            self.ids.append(list(self.prefix))
            self.segments.append([0] * len(self.prefix))
            self.positions.append(list(range(len(self.prefix))))
            for i, q in enumerate(qs):
                self._add(row, i + 1, shown, q, told[row][i], asked[at], said[at])
                at += 1

    def _add(self, row: int, segment: int, shown: list[Scene], q: Question, told: Answer, asked: list[int], said: list[int]) -> None:
        start, number = len(self.ids[row]), len(self.types)
        first = start + len(asked)  # where the answer begins
        self.ids[row] += asked + said
        self.segments[row] += [segment] * (len(asked) + len(said))
        self.positions[row] += range(len(self.prefix), len(self.prefix) + len(asked) + len(said))
        refused = not told.cited and told.text != "no"
        self.types.append(len(TYPES) if refused else TYPES.index(q.type))
        self.starts.append((row, first - 1))
        self.rests.append([float(n in told.cited) for n in range(1, MOST_IMAGES + 1)])
        for i, token in enumerate(said):
            self.answers.append((row, first + i - 1, token, number))
            self.emphasis.append(0.15 if refused and i > 1 else 1.0)
        needed = [need[0] for need in q.facts.needs]
        for concept in needed:
            for place_ in self.maker.names.find(concept, asked)[-1:]:
                self._guide(row, start + place_, FINDING, self._covers(row, {concept}, range(1, self.count + 1)))
        if told.cited:
            self._guide_reading(row, first, shown, q, told, said, set(needed))

    def _guide_reading(
        self, row: int, first: int, shown: list[Scene], q: Question, told: Answer, said: list[int], needed: set[int]
    ) -> None:
        """While it answers, the model should look at what it names, and at each picture that it cites."""
        named = {c for n in told.cited for c, _ in shown[n - 1].groups} if q.type in ("what", "beside", *RELATIVE) else set()
        for concept in named:
            for place_ in self.maker.names.find(concept, said):
                self._guide(row, first + place_ - 1, READING, self._covers(row, {concept}, told.cited))
        if not named:
            target = self._covers(row, needed if q.type != "colour" else set(), told.cited)
            self._guide(row, first - 1, READING, target)
        for i, token in enumerate(said):
            if n := self.maker.numbers.get(token):
                self._guide(row, first + i - 1, READING, self._covers(row, needed, (n,)))

    def _covers(self, row: int, wanted: set[int], numbers: Iterable[int]) -> np.ndarray:
        """The patches of these pictures that the wanted concepts cover; all patches if none is wanted or seen."""
        out = np.zeros((self.count, PATCHES), bool)
        for n in numbers:
            if not wanted:
                out[n - 1] = True
            else:
                out[n - 1] = np.isin(self.kinds[row][n - 1], list(wanted))
        return out.ravel()

    def _guide(self, row: int, position: int, way: int, target: np.ndarray) -> None:
        self.guides.append((row, position, way))
        self.guided.append(target)

    def tensors(self) -> dict[str, Tensor]:
        length = max(map(len, self.ids))
        pad = self.maker.tokenizer.pad_token_id

        def padded(rows: list[list[int]], value: int) -> Tensor:
            return torch.tensor([r + [value] * (length - len(r)) for r in rows])

        width = self.count * PATCHES
        return {
            "ids": padded(self.ids, pad), "segments": padded(self.segments, -1), "positions": padded(self.positions, 0),
            "images": torch.tensor(self.images, dtype=torch.long), "answers": torch.tensor(self.answers),
            "emphasis": torch.tensor(self.emphasis), "guides": torch.tensor(self.guides, dtype=torch.long).reshape(-1, 3),
            "guided": torch.from_numpy(np.stack(self.guided)) if self.guided else torch.zeros(0, width, dtype=torch.bool),
            "starts": torch.tensor(self.starts), "rests": torch.tensor(self.rests), "types": torch.tensor(self.types),
        }
