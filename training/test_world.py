"""The promises that others build on. Run with `python training/test_world.py` (or pytest); needs no network and no torch."""

import json
import random
import tempfile
from pathlib import Path

from questions import (
    REFUSAL, RELATIVE, TYPES, UNANSWERABLE, Question, accepted, answer, ask, citations, draw_questions, plain, question_row,
    read_folder,
)
from scenes import draw_scene, lay_out, near_miss, sidecar
from sets import draw_sets
from world import MANY, Facts, Placed, Scene, any_held_out, caption, concepts, fits, parse, related

SEED = 11


def test_every_caption_reads_back_and_fits() -> None:
    rng = random.Random(SEED)
    for i in range(5000):
        scene = draw_scene(rng, ("train", "heldout")[i % 2])
        text = caption(scene, rng, partial=0.2, loose=0.5 * (i % 3))
        assert fits(parse(text), scene), (text, scene)


def test_related_scenes_are_drawn_as_told() -> None:
    rng = random.Random(SEED)
    for _ in range(2000):
        scene = draw_scene(rng, "train")
        if scene.relation:
            (a, _), (b, _) = scene.groups
            again = lay_out(scene.groups, scene.relation, scene.background, rng)
            assert related(scene, a, scene.relation, b) and related(again, a, scene.relation, b)


def test_in_a_set_each_caption_fits_its_own_picture_alone() -> None:
    for contrast in draw_sets(100, SEED):
        assert len(contrast.scenes) == len(contrast.captions) == 4
        for i, text in enumerate(contrast.captions):
            assert [fits(parse(text), scene) for scene in contrast.scenes] == [i == j for j in range(4)], contrast


def test_the_pictures_of_a_set_differ_in_one_thing_alone() -> None:
    facts = {"relation": lambda s: s.relation, "count": lambda s: len(s.objects), "background": lambda s: s.background}
    for contrast in draw_sets(100, SEED):
        assert len({o.concept for s in contrast.scenes for o in s.objects}) == len(contrast.scenes[0].groups)
        for kind, read in facts.items():
            assert len({read(s) for s in contrast.scenes}) == (4 if kind == contrast.kind else 1), contrast


def test_splits_share_no_pair() -> None:
    rng = random.Random(SEED)
    for split in ("train", "heldout"):
        for _ in range(2000):
            kinds = [c for c, _ in draw_scene(rng, split).groups]
            assert len(kinds) == 1 or any_held_out(kinds) == (split == "heldout")


def test_no_word_names_two_concepts() -> None:
    owner: dict[str, str] = {}
    for kind in concepts():
        for word, (_, plural) in kind.forms.items():
            for form in {word, plural}:
                assert owner.setdefault(form, kind.name) == kind.name, form


def test_what_captions_claim() -> None:
    cat = next(i for i, c in enumerate(concepts()) if c.name == "cat")
    for text, least, most in (("a cat", 1, 99), ("cat", 1, 99), ("one cat", 1, 1), ("two kittens", 2, 2), ("cats", 2, 99)):
        assert parse(text).needs == ((cat, least, most),), text


def kind(name: str) -> int:
    return next(i for i, c in enumerate(concepts()) if c.name == name)


def scene(background: str, *objects: tuple[str, float, float]) -> Scene:
    """A scene with these objects at these places."""
    placed = tuple(Placed(kind(name), x, y, 0.25, 0.0) for name, x, y in objects)
    names = dict.fromkeys(name for name, _, _ in objects)
    return Scene(tuple((kind(n), sum(o[0] == n for o in objects)) for n in names), None, background, placed, 0)


CAT_LEFT_OF_DOG = scene("red", ("cat", 0.2, 0.5), ("dog", 0.8, 0.5))
TWO_CATS = scene("sea", ("cat", 0.2, 0.5), ("cat", 0.8, 0.5))
CAT = Facts(((kind("cat"), 1, MANY),))
DOG = Facts(((kind("dog"), 1, MANY),))


def test_answers_and_what_they_rest_on() -> None:
    shown = [TWO_CATS, CAT_LEFT_OF_DOG]
    for q, text in (
        (Question("left-right", "", DOG, "left of"), "a cat [2]"),
        (Question("left-right", "", DOG, "right of"), REFUSAL),
        (Question("above-below", "", CAT, "below"), REFUSAL),
        (Question("beside", "", CAT), "a dog [2]"),
        (Question("count", "", CAT), "two [1]"),
        (Question("count", "", CAT, number=2), "one [2]"),
        (Question("count", "", CAT, number=3), REFUSAL),
        (Question("exists", "", CAT), "yes [1] [2]"),
        (Question("exists", "", parse("three cats")), "no"),
        (Question("exists", "", parse("a dog left of a cat")), "no"),
        (Question("colour", "", DOG), "red [2]"),
        (Question("what", "", DOG), "a cat and a dog [2]"),
        (Question("which", "", DOG), "image 2 [2]"),
        (Question("which", "", CAT), "images 1 and 2 [1] [2]"),
        (Question("which", "", parse("a fox")), REFUSAL),
    ):
        assert str(answer(q, shown)) == text, (q, text)
        assert str(answer(q, [])) == REFUSAL


def test_answers_are_compared_without_citations() -> None:
    assert plain("A cat and  a dog. [2] [3]") == "a cat and a dog"
    assert citations("a cat [2] [3] [2]") == [2, 3]


def test_a_question_is_answered_by_the_scene_that_it_was_made_for() -> None:
    rng = random.Random(SEED)
    asked = dict.fromkeys(TYPES, 0)
    for i in range(4000):
        about = draw_scene(rng, "train")
        q = ask(TYPES[i % len(TYPES)], about, rng)
        if q and not (q.type in RELATIVE and len(about.groups) > 2):
            assert accepted(q, about), (q, about)
            asked[q.type] += 1
    assert min(asked.values()) > 100, asked


def test_a_near_miss_is_another_scene_of_the_same_split() -> None:
    rng = random.Random(SEED)
    for _ in range(3000):
        first = draw_scene(rng, "train")
        other = near_miss(first, rng, "train")
        assert (first.groups, first.relation, first.background) != (other.groups, other.relation, other.background)
        assert not any_held_out([c for c, _ in other.groups]) and len(other.objects) <= 4


def test_questions_of_a_folder() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rng = random.Random(SEED)
        drawn = {f"{i:04d}.jpg": draw_scene(rng, "heldout") for i in range(200)}
        for name, each in drawn.items():
            (Path(folder) / name).touch()
            (Path(folder) / name).with_suffix(".json").write_text(json.dumps(sidecar(each, [])))
        scenes = read_folder(Path(folder))
        assert {n: s.key() for n, s in scenes.items()} == {n: s.key() for n, s in drawn.items()}
        rows = [question_row(q, ok, scenes) for q, ok in draw_questions(scenes, 90, rng)]
        assert {r["type"] for r in rows} == {*TYPES, UNANSWERABLE}
        for row in rows:
            assert row["answerable"] == (row["type"] != UNANSWERABLE)
            assert bool(row["relevant"]) == (row["answerable"] and row["answers"] != ["no"]), row
            assert bool(row["answers"]) == (row["answerable"] and row["type"] != "which"), row


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print("ok", name)
