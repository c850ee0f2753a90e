"""The closed world of the emoji scenes: its words, its captions, and what a caption claims.

A caption is built from a closed grammar, so `parse` can read every caption back into `Facts`, and `fits` can decide whether
those hold for a scene. Everything that trains on scenes or checks answers about them goes through these two functions.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from dataclasses import dataclass, field, replace
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
LOOSE_COLOUR_PHRASES = (  # wordings that training hears too, so that other people's queries are understood
    "on {a} {} backdrop", "on a plain {} background", "in front of {a} {} background", "over {a} {} background", ", {} background",
)
LOOSE_FRONTS = ("{a} {} background with ", "{} background with ", "{} background, ")
LOOSE_SCENERY = {
    "sky": ("against the sky", "in a cloudy sky"),
    "grass": ("on a lawn", "on green grass", "in the grass"),
    "sea": ("in the ocean", "in the water", "under water"),
    "night": ("in the night sky", "under the stars"),
    "table": ("on a wooden table", "on wood"),
}
LOOSE_PREFIXES = (
    "there is ", "there are ", "a photo with ", "photo with ", "a picture with ", "picture of ", "image of ", "an image with ",
    "a scene with ", "a drawing of ", "an emoji of ", "show me ", "find ", "it shows ", "i see ", "only ", "just ",
)
LOOSE_SUFFIXES = (" in the picture", " in the image", " in the photo", " in the scene", " emoji", ".")
LOOSE_RELATIONS = {
    "left of": ("is left of", "is to the left of", "on the left of", "on the left side of"),
    "right of": ("is right of", "is to the right of", "on the right of", "on the right side of"),
    "above": ("is above", "on top of", "higher than"),
    "below": ("is below", "beneath", "underneath", "lower than"),
}
LOOSE_JOINS = (" with ", " together with ", " plus ", " & ", ", ", " and also ")
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


def caption(
    scene: Scene, rng: random.Random, plain: float = 0.15, partial: float = 0.0, loose: float = 0.0
) -> str:
    """One caption that fits. `plain`: chance of bare words ("cat"); `partial`: chance of naming only some of the kinds;
    `loose`: chance of each wording from outside the plain grammar (`parse` reads them all the same)."""
    groups = list(scene.groups)
    whole = True
    if len(groups) > 1 and rng.random() < partial:
        groups, whole = rng.sample(groups, rng.randrange(1, len(groups))), False
    text = _body(scene, groups, whole, rng, plain, loose)
    wide = _chance(rng, loose)
    if rng.random() < (0.4 if wide else 0.25):
        text = rng.choice(LOOSE_PREFIXES if wide else PREFIXES) + text
    told = rng.random() < 0.4
    if told and wide and scene.background in COLOURS and rng.random() < 0.4:
        return _name_colour(rng.choice(LOOSE_FRONTS), scene.background, rng, loose) + text
    if told:
        text += (" " + background_phrase(scene.background, rng, loose)).replace(" ,", ",")
    elif _chance(rng, 0.3 * loose):
        text += rng.choice(LOOSE_SUFFIXES)
    return text


def phrase(scene: Scene, rng: random.Random, partial: float, loose: float) -> str:
    """What a caption says of its objects and perhaps of the background, to stand inside a sentence; options as in `caption`."""
    groups, whole = list(scene.groups), True
    if len(groups) > 1 and rng.random() < partial:
        groups, whole = rng.sample(groups, rng.randrange(1, len(groups))), False
    text = _body(scene, groups, whole, rng, 0, loose).replace(" is ", " ")
    if rng.random() < 0.3:
        text += " " + background_phrase(scene.background, rng, loose).removeprefix(", ")
    return text


def full_caption(scene: Scene, rng: random.Random) -> str:
    """Everything that is true of a scene in one plain wording (how a captioner should speak); only the order varies."""
    whole = replace(scene, groups=tuple(rng.sample(scene.groups, len(scene.groups))))
    words = [next(w for w in concepts()[c].forms if "-" not in w) for c, _ in whole.groups]  # a WordPiece decoder splits at hyphens
    forms = [(concepts()[c].forms[w], n) for w, (c, n) in zip(words, whole.groups)]
    nouns = [articled if n == 1 else f"{NUMBERS[n][0]} {plural}" for (articled, plural), n in forms]
    body = " and ".join(filter(None, [", ".join(nouns[:-1]), nouns[-1]]))
    if scene.relation:
        relation = scene.relation if whole.groups == scene.groups else RELATIONS[scene.relation][1]
        body = f"{nouns[0]} {relation} {nouns[1]}"
    phrase = SCENERY[scene.background][0] if scene.background in SCENERY else _name_colour(COLOUR_PHRASES[0], scene.background, rng, 0)
    return f"{body} {phrase}"


def _body(
    scene: Scene, groups: list[tuple[int, int]], whole: bool, rng: random.Random, plain: float, loose: float
) -> str:
    bare = rng.random() < plain
    nouns = [_noun(c, n, rng, bare, loose) for c, n in groups]
    if whole and scene.relation and rng.random() < 0.7:
        a, relation, b = nouns[0], scene.relation, nouns[1]
        if rng.random() < 0.5:
            a, relation, b = b, RELATIONS[relation][1], a
        phrases = LOOSE_RELATIONS[relation] if _chance(rng, loose) else RELATIONS[relation][0]
        return f"{a} {rng.choice(phrases)} {b}"
    rng.shuffle(nouns)
    if len(nouns) > 1 and _chance(rng, 0.4 * loose):
        return rng.choice(LOOSE_JOINS).join(nouns)
    if len(nouns) == 2 and rng.random() < 0.2:
        return f"{nouns[0]} {rng.choice(BESIDE)} {nouns[1]}"
    return " and ".join(filter(None, [", ".join(nouns[:-1]), nouns[-1]]))


def _noun(concept: int, count: int, rng: random.Random, bare: bool, loose: float) -> str:
    kind = concepts()[concept]
    word = rng.choice(kind.synonyms) if kind.synonyms and rng.random() < 0.35 else kind.name
    articled, plural = kind.forms[word]
    if bare:
        return word if count == 1 else plural
    if count == 1 and _chance(rng, 0.2 * loose):
        return f"{rng.choice(('a', 'an', 'the'))} {word}"
    if count == 1:
        return f"one {word}" if rng.random() < 0.1 and not kind.is_mass(word) else articled
    if rng.random() < 0.1:
        return f"some {plural}"
    return f"{NUMBERS[count][rng.random() < 0.15]} {plural}"


def background_phrase(background: str, rng: random.Random, loose: float) -> str:
    """"on a red background", "in the sky"; `loose` as in `caption`."""
    wide = _chance(rng, loose)
    if background in SCENERY:
        return rng.choice((LOOSE_SCENERY if wide else SCENERY)[background])
    return _name_colour(rng.choice(LOOSE_COLOUR_PHRASES if wide else COLOUR_PHRASES), background, rng, loose)


def _name_colour(phrase: str, colour: str, rng: random.Random, loose: float) -> str:
    spelt = "grey" if colour == "gray" and _chance(rng, loose) else colour
    return phrase.format(spelt, a="an" if colour == "orange" else "a")


def _chance(rng: random.Random, p: float) -> bool:
    """True with probability `p`. Draws nothing for 0, so that plain captions do not depend on what loose ones may say."""
    return p > 0 and rng.random() < p


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


def _coloured(phrases: tuple[str, ...]) -> dict[str, str]:
    """Every phrase with every colour in it -> the colour."""
    spellings = {c: c for c in COLOURS} | {"grey": "gray"}
    return {p.format(w, a="an" if w == "orange" else "a"): c for w, c in spellings.items() for p in phrases}


@cache
def _grammar() -> dict[str, tuple[re.Pattern[str], dict[str, str]]]:
    """For each part of a caption: a pattern that finds it, and what its phrases mean."""
    scenery = {p: s for each in (SCENERY, LOOSE_SCENERY) for s, ps in each.items() for p in ps}
    backs = {p.removeprefix(", "): c for p, c in _coloured(COLOUR_PHRASES + LOOSE_COLOUR_PHRASES).items()} | scenery
    relations = {p: r for r, (ps, _) in RELATIONS.items() for p in (*ps, *LOOSE_RELATIONS[r])}
    tables = {
        "front": (r"^({})(.*)$", _coloured(LOOSE_FRONTS)),
        "back": (r"^(.*?),? ({})$", backs),
        "prefix": (r"^({})(.*)$", dict.fromkeys(PREFIXES + LOOSE_PREFIXES, "")),
        "suffix": (r"^(.*?)({})$", dict.fromkeys(LOOSE_SUFFIXES, "")),
        "relation": (r"^(.*?) ({}) (.*)$", relations),
        "join": ("{}", dict.fromkeys((", ", " and ", *(f" {w} " for w in BESIDE), *LOOSE_JOINS), "")),
    }
    return {
        part: (re.compile(shape.replace("{}", "|".join(map(re.escape, sorted(table, key=len, reverse=True))))), table)
        for part, (shape, table) in tables.items()
    }


def parse(text: str) -> Facts:
    """Reads a caption of this grammar; raises ValueError for anything else."""
    grammar = _grammar()
    background = None
    if found := grammar["front"][0].match(text):
        background, text = grammar["front"][1][found[1]], found[2]
    elif found := grammar["back"][0].match(text):
        text, background = found[1], grammar["back"][1][found[2]]
    if found := grammar["suffix"][0].match(text):
        text = found[1]
    if found := grammar["prefix"][0].match(text):
        text = found[2]
    pattern, relations = grammar["relation"]
    if found := pattern.match(text):
        a, b = _need(found[1]), _need(found[3])
        return Facts((a, b), (a[0], relations[found[2]], b[0]), background)
    return Facts(tuple(_need(n) for n in grammar["join"][0].split(text)), None, background)


def _need(noun: str) -> tuple[int, int, int]:
    numbers = {w: n for n, ws in NUMBERS.items() for w in ws}
    if noun in _surfaces():
        concept, form = _surfaces()[noun]
        return concept, 2 if form == "many" else 1, MANY
    first, _, rest = noun.partition(" ")
    if rest not in _surfaces():
        raise ValueError(f"unknown noun: {noun!r}")
    concept, form = _surfaces()[rest]
    if first in ("a", "an", "the"):
        return concept, 2 if first == "the" and form == "many" else 1, MANY
    if first == "one":
        return concept, 1, 1
    if first == "some":
        return concept, 2 if form == "many" else 1, MANY
    if first in numbers:
        return concept, numbers[first], numbers[first]
    raise ValueError(f"unknown noun: {noun!r}")
