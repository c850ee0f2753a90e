"""The promises behind the demo BLIP. Run with `python training/test_blip.py` (or pytest); needs torch, but no trained weights."""

import random

import torch

from blip import Trainee, config_of
from blip_tokenizer import DECODE, build_tokenizer
from data import centres
from negatives import strange_text, unrelated_caption, wrong_caption
from scenes import draw_scene
from tokenizer import corpus
from train_blip import UNSURE, compare
from world import any_held_out, caption, fits, full_caption, parse

SEED = 12


def test_the_world_s_words_are_whole_and_any_text_tokenizes() -> None:
    tokenizer = build_tokenizer()
    for text in corpus():
        assert not any(t.startswith("##") or t == "[UNK]" for t in tokenizer.tokenize(text)), text
    assert tokenizer.tokenize("Quartz-9") == ["q", "##u", "##a", "##r", "##t", "##z", "-", "9"]
    assert tokenizer.tokenize("KITTENS") == ["kittens"]


def test_wrong_captions_are_wrong_and_never_of_a_held_out_pair() -> None:
    rng = random.Random(SEED)
    found = 0
    for _ in range(2000):
        scene = draw_scene(rng, "train")
        if text := wrong_caption(scene, rng.getrandbits(32), rng, partial=0.2, loose=0.4):
            found += 1
            facts = parse(text)
            assert not fits(facts, scene) and not any_held_out(sorted({c for c, _, _ in facts.needs})), (text, scene)
        strange = strange_text(rng)
        assert strange and unrelated_caption(scene, rng)
    assert found > 1900


def test_a_wrong_caption_is_worded_as_the_right_one() -> None:
    rng = random.Random(SEED)
    near = 0
    for _ in range(1000):
        scene, seed = draw_scene(rng, "train"), rng.getrandbits(32)
        right, wrong = caption(scene, random.Random(seed)).split(), (wrong_caption(scene, seed, rng) or "").split()
        near += len(right) == len(wrong) and sum(a != b for a, b in zip(right, wrong)) <= 2
    assert near > 350, near


def test_full_captions_tell_everything() -> None:
    rng = random.Random(SEED)
    for _ in range(2000):
        scene = draw_scene(rng, "train")
        facts = parse(full_caption(scene, rng))
        assert fits(facts, scene) and facts.background and (facts.relation is not None) == (scene.relation is not None)
        assert {c for c, _, _ in facts.needs} == {c for c, _ in scene.groups}


def test_compare_finds_the_words_that_are_wrong() -> None:
    assert compare([2, 5, 6, 7, 3], [2, 5, 9, 7, 3]) == [1, 1, 0, 1, 1]
    assert compare([2, 5, 6, 3], [2, 5, 8, 9, 3]) == [1, 1, 0, 0, 1]
    assert compare([2, 5, 3], [2, 10, 11, 12, 13, 14, 3]) == [UNSURE] * 7


def test_centres_add_up_to_the_number_of_objects() -> None:
    rng = random.Random(SEED)
    for _ in range(500):
        scene = draw_scene(rng, "train")
        assert abs(centres(scene).sum() - len(scene.objects)) < 1e-4


def test_packed_reading_is_what_transformers_computes() -> None:
    torch.manual_seed(SEED)
    tokenizer = build_tokenizer()
    net = Trainee(config_of(tokenizer, 64, 2, 3)).eval()
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    pixels = torch.randn(2, 3, 80, 80)
    texts = ["a cat", "two dogs to the left of a tree on a red background", "x", "an umbrella above a cat"]
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = net.see(pixels)
        ours, _ = net.match(batch.input_ids.view(2, 2, -1), states)
        theirs = net.retrieval(batch.input_ids, pixels.repeat_interleave(2, 0), attention_mask=batch.attention_mask).itm_score
        torch.testing.assert_close(ours.flatten(0, 1), theirs, atol=1e-4, rtol=1e-4)
        assert (theirs[0] - theirs[1]).abs().max() > 0.01
        ids = batch.input_ids[:2].clone()
        ids[:, 0] = tokenizer.convert_tokens_to_ids(DECODE)
        ours, _ = net.speak(ids, states)
        theirs = net.decoder(ids, attention_mask=batch.attention_mask[:2], encoder_hidden_states=states).logits
        torch.testing.assert_close(ours, theirs[batch.attention_mask[:2].bool()], atol=1e-4, rtol=1e-4)


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print("ok", name)
