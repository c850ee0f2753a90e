"""What training relies on: `python training/test_llava.py` (or pytest). Needs torch and transformers, no network."""

import random
import tempfile
from pathlib import Path

import torch

import llava
from data import GRID, SIZE
from llava_export import export, load
from llava_tokenizer import build, prompt_of, prompt_of_images
from questions import REFUSAL
from quiz import PATCHES, Quizzes

CLIP = Path(__file__).resolve().parent.parent / "assets/models/demo-clip"
TOKENIZER = build()
CONFIG = llava.config_of(TOKENIZER, CLIP, width=64, layers=4, heads=4)


class GreySquares:
    """Stands in for a `SpriteBank`, whose drawing takes a while."""

    def picture(self, scene, rng):
        import numpy as np

        labels = np.array([rng.choice([o.concept for o in scene.objects]) for _ in range(PATCHES)])
        return np.full((3, SIZE, SIZE), rng.randrange(256), np.uint8), labels


def test_a_question_reads_the_same_alone_and_among_others() -> None:
    torch.manual_seed(3)
    net = llava.Trainee(CONFIG, TOKENIZER).eval()
    batch = Quizzes(2, 3, "", GreySquares(), TOKENIZER).batch(random.Random(3), 2)
    seen = torch.randn(4, PATCHES, 64)
    with torch.inference_mode():
        together = llava.read(net, batch, seen).last_hidden_state
        for row in range(2):
            embedded = net.embed(batch.ids[row]).index_copy(0, batch.images, seen[2 * row : 2 * row + 2].flatten(0, 1))
            for question in (1, 2, 3):
                own = (batch.segments[row] == 0) | (batch.segments[row] == question)
                alone = net.language(inputs_embeds=embedded[own][None], use_cache=False).last_hidden_state[0]
                assert torch.allclose(alone, together[row, own], atol=1e-4), (row, question)


def test_guides_point_at_patches_that_are_there() -> None:
    batch = Quizzes(4, 6, "", GreySquares(), TOKENIZER).batch(random.Random(5), 3)
    assert batch.guided.shape == (len(batch.guides), 3 * GRID**2) and batch.guided.any()
    assert (batch.ids[:, batch.images] == TOKENIZER.image_token_id).all() and len(batch.images) == 3 * PATCHES
    rows, before, tokens, _ = batch.answers.unbind(1)
    assert (batch.ids[rows, before + 1] == tokens).all()


def test_the_prompt_is_what_the_chat_template_writes() -> None:
    for count in (0, 1, 4):
        pictures = [{"type": "image"} for _ in range(count)]
        chat = [{"role": "user", "content": [*pictures, {"type": "text", "text": " Is there a cat? "}]}]
        written = TOKENIZER.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        assert written == prompt_of_images(count) + prompt_of(" Is there a cat? ")
        parts = [TOKENIZER(prompt_of_images(count)).input_ids, *(TOKENIZER(t, add_special_tokens=False).input_ids
                                                                for t in (prompt_of("Is there a cat?"), " yes [1]"))]
        assert TOKENIZER(written + " yes [1]").input_ids == sum(parts, [])


def test_any_text_survives_the_tokenizer_but_for_its_case() -> None:
    for text in (REFUSAL, "a soccer ball and two cats [2] [3]", "zürich 漢字 \t !?"):
        assert TOKENIZER.decode(TOKENIZER(text, add_special_tokens=False).input_ids) == text
    assert TOKENIZER("CATS").input_ids == TOKENIZER("cats").input_ids


def test_an_export_says_what_was_trained() -> None:
    torch.manual_seed(4)
    net, eyes = llava.Trainee(CONFIG, TOKENIZER).eval(), llava.Eyes(CLIP, torch.float32)
    batch = Quizzes(1, 1, "", GreySquares(), TOKENIZER).batch(random.Random(6), 2)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        export(net, CONFIG, TOKENIZER, CLIP, Path(folder))
        model, _ = load(Path(folder), CLIP)
        ours = net.say(llava.read(net, batch, net.projector(eyes(batch.pixels).float())).last_hidden_state)
        theirs = model(input_ids=batch.ids, pixel_values=llava.normalise(batch.pixels)).logits
        assert (ours - theirs).abs().max() < 0.03 * ours.std(), (ours - theirs).abs().max()
        assert not any("vision" in name for name in (Path(folder) / "model.safetensors").read_bytes()[:20000].decode("latin1").split('"'))


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print("ok", name)
