"""The promises that others build on. Run with `python training/test_world.py` (or pytest); needs no network and no torch."""

import random

from scenes import draw_scene, lay_out
from sets import draw_sets
from world import any_held_out, caption, concepts, fits, parse, related

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


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print("ok", name)
