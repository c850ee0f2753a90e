"""The closed world of the emoji scenes: its words, its captions, and what a caption claims.

A caption is built from a closed grammar, so `parse` can read every caption back into `Facts`, and `fits` can decide whether
those hold for a scene. Everything that trains on scenes or checks answers about them goes through these two functions.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations
from pathlib import Path

ASSETS = Path(__file__).resolve().parent.parent / "assets"

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "gray", "black")
SCENERY = {  # each with the phrases that name it
    "sky": ("in the sky",),
    "grass": ("on the grass", "on grass"),
    "sea": ("in the sea", "at sea"),
    "night": ("at night",),
    "table": ("on a table", "on the table"),
}
BACKGROUNDS = COLOURS + tuple(SCENERY)
COLOUR_PHRASES = ("on {a} {} background", "on {}", "with {a} {} background", "against {a} {} background")
RELATIONS = {  # each with the phrases that name it, and its opposite
    "left of": (("left of", "to the left of"), "right of"),
    "right of": (("right of", "to the right of"), "left of"),
    "above": (("above", "over"), "below"),
    "below": (("below", "under"), "above"),
}
NUMBERS = {2: ("two", "2"), 3: ("three", "3"), 4: ("four", "4")}
PREFIXES = ("a photo of ", "photo of ", "a picture of ", "an image of ")
BESIDE = ("next to", "beside")
MANY = 99


@dataclass(frozen=True)
class Concept:
    """One kind of object. `forms` maps every surface word to (word with its article, plural)."""

    name: str
    emoji: str
    synonyms: tuple[str, ...]
    group: str
    forms: dict[str, tuple[str, str]] = field(hash=False, compare=False)

    def is_mass(self, word: str) -> bool:
        """Whether the word is its own plural and takes no article ("grapes", "scissors")."""
        return self.forms[word] == (word, word)


@cache
def concepts() -> tuple[Concept, ...]:
    rows = json.loads((ASSETS / "concepts.json").read_text())
    return tuple(
        Concept(r["name"], r["emoji"], tuple(r["synonyms"]), r["group"], {k: tuple(v) for k, v in r["forms"].items()})
        for r in rows
    )


@dataclass(frozen=True)
class Placed:
    """One drawn object: centre and side as fractions of the image, angle in degrees."""

    concept: int
    x: float
    y: float
    side: float
    angle: float

    def box(self) -> list[float]:
        """[x0, y0, x1, y1] of the unrotated sprite's square, as fractions of the image."""
        h = self.side / 2
        return [round(v, 4) for v in (self.x - h, self.y - h, self.x + h, self.y + h)]


@dataclass(frozen=True)
class Scene:
    """`groups` is what is shown, as (concept, count) pairs; `relation` stands only where there are two single objects."""

    groups: tuple[tuple[int, int], ...]
    relation: str | None
    background: str
    objects: tuple[Placed, ...]
    seed: int

    def count_of(self, concept: int) -> int:
        return sum(n for c, n in self.groups if c == concept)

    def key(self) -> tuple[tuple[int, int], ...]:
        """The facts that make two images the same for image-to-image search: kinds and counts."""
        return tuple(sorted(self.groups))


@dataclass(frozen=True)
class Facts:
    """What a text claims: `needs` holds (concept, least, most); relation is (concept, relation, concept)."""

    needs: tuple[tuple[int, int, int], ...]
    relation: tuple[int, str, int] | None = None
    background: str | None = None


def fits(facts: Facts, scene: Scene) -> bool:
    """Whether everything that the facts claim holds. "a cat" holds for three cats too; "one cat" and "two cats" are exact."""
    if facts.background is not None and facts.background != scene.background:
        return False
    if any(not least <= scene.count_of(c) <= most for c, least, most in facts.needs):
        return False
    return facts.relation is None or related(scene, *facts.relation)


def related(scene: Scene, a: int, relation: str, b: int) -> bool:
    """Whether some `a` stands in the relation to some `b`: the named axis must be the longer one."""
    for p in (o for o in scene.objects if o.concept == a):
        for q in (o for o in scene.objects if o.concept == b):
            dx, dy = q.x - p.x, q.y - p.y
            along = {"left of": dx, "right of": -dx, "above": dy, "below": -dy}[relation]
            if along > 0.1 and along >= max(abs(dx), abs(dy)):
                return True
    return False


def held_out(a: int, b: int) -> bool:
    """Whether this pair of kinds is kept from training (one in ten, by the hash of the names)."""
    pair = "+".join(sorted((concepts()[a].name, concepts()[b].name)))
    return hashlib.sha256(pair.encode()).digest()[0] % 10 == 0


def any_held_out(kinds: list[int]) -> bool:
    return any(held_out(a, b) for a, b in combinations(kinds, 2))


# ---- captions -------------------------------------------------------------------------------------------------------


def caption(scene: Scene, rng: random.Random, plain: float = 0.15, partial: float = 0.0) -> str:
    """One caption that fits. `plain`: chance of bare words ("cat"); `partial`: chance of naming only some of the kinds."""
    groups = list(scene.groups)
    whole = True
    if len(groups) > 1 and rng.random() < partial:
        groups, whole = rng.sample(groups, rng.randrange(1, len(groups))), False
    text = _body(scene, groups, whole, rng, plain)
    if rng.random() < 0.25:
        text = rng.choice(PREFIXES) + text
    if rng.random() < 0.4:
        text += " " + _background_phrase(scene.background, rng)
    return text


def _body(scene: Scene, groups: list[tuple[int, int]], whole: bool, rng: random.Random, plain: float) -> str:
    if rng.random() < plain:
        nouns = [_noun(c, n, rng, bare=True) for c, n in groups]
    else:
        nouns = [_noun(c, n, rng) for c, n in groups]
    if whole and scene.relation and rng.random() < 0.7:
        a, relation, b = nouns[0], scene.relation, nouns[1]
        if rng.random() < 0.5:
            a, relation, b = b, RELATIONS[relation][1], a
        return f"{a} {rng.choice(RELATIONS[relation][0])} {b}"
    rng.shuffle(nouns)
    if len(nouns) == 2 and rng.random() < 0.2:
        return f"{nouns[0]} {rng.choice(BESIDE)} {nouns[1]}"
    return " and ".join(filter(None, [", ".join(nouns[:-1]), nouns[-1]]))


def _noun(concept: int, count: int, rng: random.Random, bare: bool = False) -> str:
    kind = concepts()[concept]
    word = rng.choice(kind.synonyms) if kind.synonyms and rng.random() < 0.35 else kind.name
    articled, plural = kind.forms[word]
    if bare:
        return word if count == 1 else plural
    if count == 1:
        return f"one {word}" if rng.random() < 0.1 and not kind.is_mass(word) else articled
    if rng.random() < 0.1:
        return f"some {plural}"
    return f"{NUMBERS[count][rng.random() < 0.15]} {plural}"


def _background_phrase(background: str, rng: random.Random) -> str:
    if background in SCENERY:
        return rng.choice(SCENERY[background])
    return _name_colour(rng.choice(COLOUR_PHRASES), background)


def _name_colour(phrase: str, colour: str) -> str:
    return phrase.format(colour, a="an" if colour == "orange" else "a")


# ---- reading captions back ------------------------------------------------------------------------------------------


@cache
def _surfaces() -> dict[str, tuple[int, str]]:
    """Every noun form -> (concept, "one" | "many" | "any"); names come before synonyms, singulars before plurals."""
    found: dict[str, tuple[int, str]] = {}
    for synonyms in (False, True):
        for i, kind in enumerate(concepts()):
            for word in kind.synonyms if synonyms else (kind.name,):
                plural = kind.forms[word][1]
                found.setdefault(word, (i, "any" if plural == word else "one"))
                found.setdefault(plural, (i, "many"))
    return found


@cache
def _background_phrases() -> dict[str, str]:
    phrases = {_name_colour(p, c): c for c in COLOURS for p in COLOUR_PHRASES}
    return phrases | {p: s for s, ps in SCENERY.items() for p in ps}


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], dict[str, str]]:
    backgrounds = sorted(_background_phrases(), key=len, reverse=True)
    relations = {p: r for r, (ps, _) in RELATIONS.items() for p in ps}
    return (
        re.compile(r"^(.*) (" + "|".join(map(re.escape, backgrounds)) + ")$"),
        re.compile(r"^(.*?) (" + "|".join(sorted(relations, key=len, reverse=True)) + ") (.*)$"),
        relations,
    )


def parse(text: str) -> Facts:
    """Reads a caption of this grammar; raises ValueError for anything else."""
    background_at, relation_at, relations = _patterns()
    for prefix in PREFIXES:
        text = text.removeprefix(prefix)
    background = None
    if found := background_at.match(text):
        text, background = found[1], _background_phrases()[found[2]]
    if found := relation_at.match(text):
        a, b = _need(found[1]), _need(found[3])
        return Facts((a, b), (a[0], relations[found[2]], b[0]), background)
    nouns = re.split(r", | and | next to | beside ", text)
    return Facts(tuple(_need(n) for n in nouns), None, background)


def _need(noun: str) -> tuple[int, int, int]:
    numbers = {w: n for n, ws in NUMBERS.items() for w in ws}
    if noun in _surfaces():
        concept, form = _surfaces()[noun]
        return concept, 2 if form == "many" else 1, MANY
    first, _, rest = noun.partition(" ")
    if rest not in _surfaces():
        raise ValueError(f"unknown noun: {noun!r}")
    concept, form = _surfaces()[rest]
    if first in ("a", "an"):
        return concept, 1, MANY
    if first == "one":
        return concept, 1, 1
    if first == "some":
        return concept, 2 if form == "many" else 1, MANY
    if first in numbers:
        return concept, numbers[first], numbers[first]
    raise ValueError(f"unknown noun: {noun!r}")
