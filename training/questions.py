"""Questions about emoji scenes: how they are worded, and the only judge of what answers them.

    python training/questions.py --count 300 --seed 5 DIR...      # writes questions.jsonl into each folder from scenes.py

A question is about whatever pictures its facts fit. `answer` gives the model answer over the pictures that are shown, in
their order; `accepted` all that may be said for one of them.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

from scenes import near_miss
from world import (
    LOOSE_RELATIONS, MANY, NUMBERS, RELATIONS, Facts, Placed, Scene, background_phrase, concepts, fits,
    parse, phrase,
)

REFUSAL = "I can't tell from these images."
RELATIVE = {"left-right": ("left of", "right of"), "above-below": ("above", "below")}
TYPES = (*RELATIVE, "beside", "count", "exists", "colour", "what", "which")
BESIDE_WHAT = (*RELATIVE, "beside")
UNANSWERABLE = "unanswerable"
ORDINALS = ("first", "second", "third", "fourth")


@dataclass(frozen=True)
class Question:
    """`facts`: what a picture must show for the question to be about it. `relation`: what stands so to the first thing that the
    facts need is asked for. `number`: the question is about this picture alone, counted from 1."""

    type: str
    text: str
    facts: Facts
    relation: str | None = None
    number: int | None = None


@dataclass(frozen=True)
class Answer:
    """What to say, and the numbers of the pictures, from 1, that it rests on."""

    text: str
    cited: tuple[int, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.text, *(f"[{n}]" for n in self.cited)])


# ---- judging --------------------------------------------------------------------------------------------------------


def accepted(q: Question, scene: Scene) -> tuple[str, ...]:
    """Every right answer from this picture, the preferred one first; none if the question is not about it."""
    if not fits(q.facts, scene):
        return ()
    if q.type == "exists":
        return ("yes",)
    if q.type == "which":
        return ("",)  # the number is the answer
    if q.type == "colour":
        return (scene.background, *(["grey"] if scene.background == "gray" else []))
    if q.type == "count":
        return NUMBERS.get(scene.count_of(q.facts.needs[0][0]), ("one", "1"))
    if q.type == "what":
        return _listings(_from_left_to_right(scene))
    anchor = q.facts.needs[0][0]
    others = [g for g in _from_left_to_right(scene) if g[0] != anchor]
    if q.type == "beside":
        return _listings(others) if others else ()
    beside = [g for g in others if stands(scene, g[0], q.relation, anchor)]
    return tuple(text for g in beside for text in _listings([g]))


def answer(q: Question, shown: list[Scene]) -> Answer:
    """The first picture that the question is about tells the answer; every picture that supports this answer is cited."""
    if not shown or (q.number or 1) > len(shown):
        return Answer(REFUSAL)
    found = {n: texts[0] for n, s in enumerate(shown, 1) if q.number in (None, n) and (texts := accepted(q, s))}
    if q.type == "exists":
        return Answer("yes", tuple(found)) if found else Answer("no")
    if not found:
        return Answer(REFUSAL)
    if q.type == "which":
        return Answer(_and("images " if len(found) > 1 else "image ", [str(n) for n in found]), tuple(found))
    said = found[min(found)]
    return Answer(said, tuple(n for n, text in found.items() if text == said))


def stands(scene: Scene, a: int, relation: str | None, b: int) -> bool | None:
    """Whether some `a` stands in the relation to some `b`, as `world.related`, or None where it is too slanted to call."""
    verdicts = [
        _stands(q.x - p.x, q.y - p.y, relation)
        for p in scene.objects if p.concept == a for q in scene.objects if q.concept == b
    ]
    return True if True in verdicts else None if None in verdicts else False


def _stands(dx: float, dy: float, relation: str | None) -> bool | None:
    along = {"left of": dx, "right of": -dx, "above": dy, "below": -dy}[relation]
    across = abs(dy if relation in RELATIVE["left-right"] else dx)
    if along > 0.1 and along >= 1.3 * across:
        return True
    return False if along < 0.1 or 1.3 * along < across else None


def doubtful(q: Question, scene: Scene) -> bool:
    """Whether the question turns on a relation in this picture that is too slanted to call."""
    if q.facts.relation:
        return stands(scene, *q.facts.relation) is None
    if q.type in RELATIVE and fits(q.facts, scene):
        anchor = q.facts.needs[0][0]
        return any(stands(scene, c, q.relation, anchor) is None for c, _ in scene.groups if c != anchor)
    return False


def plain(text: str) -> str:
    """An answer as it is compared: lower case, without citations and closing punctuation."""
    return re.sub(r"\s+", " ", re.sub(r"\[\d+\]", "", text)).strip(" .!,").lower()


def citations(text: str) -> list[int]:
    return list(dict.fromkeys(int(n) for n in re.findall(r"\[(\d+)\]", text)))


def _from_left_to_right(scene: Scene) -> list[tuple[int, int]]:
    return sorted(scene.groups, key=lambda g: min(o.x for o in scene.objects if o.concept == g[0]))


def _listings(groups: list[tuple[int, int]]) -> tuple[str, ...]:
    """"a cat and two dogs" in every order; a single group also without its article, by its synonyms and its plural."""
    texts = [_and("", [_noun(c, n) for c, n in order]) for order in permutations(groups)]
    if len(groups) == 1:
        (concept, count), forms = groups[0], concepts()[groups[0][0]].forms
        for word, (articled, plural) in forms.items():
            texts += [_noun(concept, count, word), *([articled, word] if count == 1 else [plural])]
    return tuple(dict.fromkeys(texts))


def _noun(concept: int, count: int, word: str = "") -> str:
    articled, plural = concepts()[concept].forms[word or concepts()[concept].name]
    return articled if count == 1 else f"{NUMBERS[count][0]} {plural}"


def _and(front: str, parts: list[str]) -> str:
    return front + " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


# ---- asking ---------------------------------------------------------------------------------------------------------

WORDINGS = {
    "left-right": (
        "what is {rel} {it}", "what is {rel} {it}", "what's {rel} {it}", "what stands {rel} {it}", "which object is {rel} {it}",
        "what can be seen {rel} {it}", "what do you see {rel} {it}", "what is there {rel} {it}", "name the thing {rel} {it}",
        "which thing is {rel} {it}", "what is the thing {rel} {it}", "{rel} {it} there is what", "{rel} {it} is what",
    ),
    "beside": (
        "what is next to {it}", "what is beside {it}", "what is with {it}", "what else is in the picture with {it}",
        "what is together with {it}", "what stands next to {it}", "what is shown beside {it}", "what is near {it}",
        "apart from {it}, what is in the picture", "what goes with {it}",
    ),
    "count": (
        "how many {them} are there", "how many {them} are there", "how many {them}", "how many {them} can you see",
        "how many {them} do you see", "count the {them}", "what is the number of {them}", "how many {them} are shown",
        "what number of {them} is there",
    ),
    "exists": (
        "{is} there {it}", "{is} there {it}", "{is} there any picture with {it}", "do you see {it}", "can you see {it}",
        "does any image show {it}", "does the picture show {it}", "do the images show {it}", "{is} {it} shown",
        "does an image contain {it}",
    ),
    "colour": (
        "what {colour} is the background of the picture with {it}", "what {colour} is the background behind {it}",
        "what {colour} is behind {it}", "what is the {colour} of the background with {it}", "what is behind {it}",
        "which {colour} is the background of {it}", "what is the background of {it}", "what background does {it} have",
        "on what background is {it}", "what {colour} is the background in the image with {it}",
        "{it}: what {colour} is the background", "what is the background of the image that shows {it}",
    ),
    "what": (
        "what is in the picture with {it}", "what does the picture with {it} show", "what is in the image with {it}",
        "what can be seen in the photo with {it}", "describe the picture with {it}", "what does the image of {it} show",
    ),
    "which": (
        "which image shows {it}", "which image has {it}", "which picture shows {it}", "which picture has {it}",
        "in which image is {it}", "which one shows {it}", "which of the images shows {it}", "which photo contains {it}",
        "which images show {it}", "find the image with {it}", "in which picture do you see {it}", "what image shows {it}",
    ),
}
WORDINGS["above-below"] = WORDINGS["left-right"]
ALONE = {  # about the first picture that is shown, or, as `NUMBERED`, about the one of a number
    "colour": ("what {colour} is the background", "what is the background", "what {colour} is it on", "what is the background like"),
    "what": (
        "what is in the picture", "what is in the image", "what is shown", "what do you see", "what can be seen",
        "what does the picture show", "describe the picture", "what is this", "what is there", "describe the image",
        "what objects are there", "what things can you see",
    ),
}
NUMBERED = {
    "colour": ("what {colour} is the background of {image}", "what is the background of {image}", "what is behind {image}"),
    "what": ("what is in {image}", "what is in {image}", "what does {image} show", "describe {image}"),
}
IMAGES = ("image {n}", "picture {n}", "photo {n}", "the {nth} image", "the {nth} picture")
PLACES = ("", "", "", "", " in the picture", " in the image", " in the photo", " in the pictures", " in these images", " here")
FRONTS = ("please tell me ", "tell me ", "can you tell me ", "hey, ", "so ", "look: ")


def ask(kind: str, scene: Scene, rng: random.Random) -> Question | None:
    """A question of this type about what the scene shows; None where the scene gives no occasion for it."""
    make: Callable[[str, Scene, random.Random], tuple[str, Facts, str | None] | None]
    make = {"count": _ask_count, "exists": _ask_fit, "which": _ask_fit, "colour": _ask_of, "what": _ask_of}.get(kind, _ask_beside)
    if (made := make(kind, scene, rng)) is None:
        return None
    text, facts, relation = made
    if kind in (*RELATIVE, "count", "exists"):
        text += rng.choice(PLACES)
    return Question(kind, _spell(text, rng), facts, relation)


def ask_of_one(kind: str, rng: random.Random, number: int | None) -> Question:
    """What the picture of this number shows, or its background; without a number, of the first picture that is shown.
    Only for the types in `ALONE`."""
    image = rng.choice(IMAGES).format(n=number, nth=ORDINALS[number - 1]) if number else ""
    text = rng.choice((NUMBERED if number else ALONE)[kind]).format(image=image, colour=_colour(rng))
    return Question(kind, _spell(text, rng), Facts(()), None, number)


def place(q: Question, rng: random.Random, number: int) -> Question:
    """The same question, about the picture of this number alone."""
    text = q.text.rstrip(" ?.") + " in " + rng.choice(IMAGES).format(n=number, nth=ORDINALS[number - 1])
    return replace(q, text=_spell(text, rng), number=number)


def _ask_beside(kind: str, scene: Scene, rng: random.Random) -> tuple[str, Facts, str | None] | None:
    anchors = [g for g in scene.groups if len(scene.groups) > 1]
    relation = None
    if kind in RELATIVE:
        pairs = [(g, r) for g in anchors for r in RELATIVE[kind] for c, _ in anchors if c != g[0] and stands(scene, c, r, g[0])]
        if not pairs:
            return None
        anchor, relation = rng.choice(pairs)
    elif anchors:
        anchor = rng.choice(anchors)
    else:
        return None
    it, facts = _named(scene, [anchor], rng, 0.2)
    words = (*RELATIONS[relation][0] * 2, *(p.removeprefix("is ") for p in LOOSE_RELATIONS[relation])) if relation else ("",)
    return rng.choice(WORDINGS[kind]).format(rel=rng.choice(words), it=it), facts, relation


def _ask_count(kind: str, scene: Scene, rng: random.Random) -> tuple[str, Facts, None]:
    groups = list(scene.groups)
    concept, _ = groups.pop(rng.randrange(len(groups)))
    word = _word(concept, rng)
    text = rng.choice(WORDINGS[kind]).format(them=concepts()[concept].forms[word][1])
    needs: tuple[tuple[int, int, int], ...] = ((concept, 1, MANY),)
    ground = None
    if groups and rng.random() < 0.3:
        it, facts = _named(scene, [rng.choice(groups)], rng, 0)
        text += rng.choice((" beside ", " next to ", " with ")) + it
        needs += facts.needs
    elif rng.random() < 0.2:
        text, ground = f"{text} {_ground(scene, rng)}", scene.background
    return text, Facts(needs, None, ground), None


def _ask_of(kind: str, scene: Scene, rng: random.Random) -> tuple[str, Facts, None]:
    """About the picture that shows something; or, for what is in it, about the picture of a background."""
    if kind == "what" and rng.random() < 0.15:
        return f"what is {_ground(scene, rng)}", Facts((), None, scene.background), None
    groups = rng.sample(scene.groups, 1 if rng.random() < 0.7 else len(scene.groups))
    it, facts = _named(scene, groups, rng, 0.2 if kind == "what" else 0)
    return rng.choice(WORDINGS[kind]).format(it=it, colour=_colour(rng)), facts, None


def _ask_fit(kind: str, scene: Scene, rng: random.Random) -> tuple[str, Facts, None]:
    it = phrase(scene, rng, partial=0.35, loose=0.3)
    several = it.split()[0] in ("some", *(w for ws in NUMBERS.values() for w in ws))
    return rng.choice(WORDINGS[kind]).format(it=it, **{"is": "are" if several else "is"}), parse(it), None


def _named(scene: Scene, groups: list[tuple[int, int]], rng: random.Random, grounded: float) -> tuple[str, Facts]:
    """"the cat", "the cat and two dogs", perhaps with the background; and what that claims."""
    it = " and ".join(_one_named(c, n, rng) for c, n in groups)
    if rng.random() < grounded:
        it += " " + _ground(scene, rng)
    return it, parse(it)


def _one_named(concept: int, count: int, rng: random.Random) -> str:
    word = _word(concept, rng)
    articled, plural = concepts()[concept].forms[word]
    if count == 1:
        return rng.choice((f"the {word}", f"the {word}", f"the {word}", articled, word))
    return rng.choice((f"the {plural}", f"the {plural}", f"{NUMBERS[count][0]} {plural}", plural))


def _word(concept: int, rng: random.Random) -> str:
    kind = concepts()[concept]
    return rng.choice(kind.synonyms) if kind.synonyms and rng.random() < 0.3 else kind.name


def _ground(scene: Scene, rng: random.Random) -> str:
    return background_phrase(scene.background, rng, 0.3).removeprefix(", ")


def _colour(rng: random.Random) -> str:
    return rng.choice(("colour", "color"))


def _spell(text: str, rng: random.Random) -> str:
    if rng.random() < 0.1:
        text = rng.choice(FRONTS) + text
    if rng.random() < 0.6:
        text = text[0].upper() + text[1:]
    return text + rng.choice(("?", "?", "?", "", ".", " ?"))


# ---- folders --------------------------------------------------------------------------------------------------------


def read_folder(folder: Path) -> dict[str, Scene]:
    """The scenes of a folder from scenes.py, by file name, from their sidecars."""
    number = {c.name: i for i, c in enumerate(concepts())}
    out = {}
    for path in sorted(p for p in folder.glob("*.jpg")):
        row = json.loads(path.with_suffix(".json").read_text())
        objects = tuple(_placed(number[b["name"]], b["box"]) for b in row["boxes"])
        kinds = [number[name] for name in row["objects"]]
        groups = tuple((k, sum(o.concept == k for o in objects)) for k in kinds)
        out[path.name] = Scene(groups, row.get("relation"), row["background"], objects, 0)
    return out


def _placed(concept: int, box: list[float]) -> Placed:
    x0, y0, x1, y1 = box
    return Placed(concept, (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, 0.0)


def draw_questions(scenes: dict[str, Scene], count: int, rng: random.Random) -> list[tuple[Question, bool]]:
    """Questions about these pictures taken together, each with whether some picture answers it; all types as often, and as
    often one that no picture answers, though pictures like it are there. Half of "exists" are answered with "no".

    Left out are questions that say too little (more than three answers, or more than four pictures of what it names, in which to
    look for what stands beside it) and those that turn on a slanted relation.
    """
    kinds, pictures = (*TYPES, UNANSWERABLE), list(scenes.values())
    out: list[tuple[Question, bool]] = []
    texts: set[str] = set()
    while len(out) < count:
        kind = kinds[len(out) % len(kinds)]
        scene, absent = rng.choice(pictures), kind == UNANSWERABLE or (kind == "exists" and rng.random() < 0.5)
        if absent:
            scene = near_miss(scene, rng, "heldout")
        asked = kind if kind != UNANSWERABLE else rng.choice([t for t in TYPES if t != "exists"])
        q = ask(asked, scene, rng)
        if q is None or q.text in texts or any(doubtful(q, s) for s in pictures):
            continue
        found = {a[0] for s in pictures if (a := accepted(q, s))}
        if bool(found) == absent or len(found) > 3 or (asked in BESIDE_WHAT and sum(fits(q.facts, s) for s in pictures) > 4):
            continue
        texts.add(q.text)
        out.append((q, not absent or kind == "exists"))
    return out


def question_row(q: Question, answerable: bool, scenes: dict[str, Scene]) -> dict[str, object]:
    """One line of questions.jsonl; training/README.md tells its fields."""
    found = {name: texts for name, s in scenes.items() if (texts := accepted(q, s))}
    answers = list(dict.fromkeys(filter(None, (t for texts in found.values() for t in texts))))
    if q.type == "exists" and not found:
        answers = ["no"]
    return {"question": q.text, "type": q.type if answerable else UNANSWERABLE, "answers": answers, "relevant": list(found),
            "answerable": answerable}


def write_questions(folder: Path, count: int, seed: int) -> None:
    scenes = read_folder(folder)
    rows = [question_row(q, ok, scenes) for q, ok in draw_questions(scenes, count, random.Random(f"questions {seed}"))]
    (folder / "questions.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folders", type=Path, nargs="+")
    p.add_argument("--count", type=int, default=300)
    p.add_argument("--seed", type=int, default=5)
    a = p.parse_args()
    for folder in a.folders:
        write_questions(folder, a.count, a.seed)


if __name__ == "__main__":
    main()
