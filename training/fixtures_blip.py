"""Writes the BLIP parity fixtures under tests/fixtures/blip/: tiny checkpoints with redrawn weights, and what transformers makes of them.

    python training/fixtures_blip.py       # needs torch, transformers >= 5, tokenizers, safetensors, pillow, numpy

Pictures are those of tests/fixtures/clip/preprocess. Everything is seeded: a second run writes the same tensors.
"""

import json
import shutil
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import BlipConfig, BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipForQuestionAnswering
from transformers.models.bert.tokenization_bert import BertTokenizer
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
OUT = FIXTURES / "blip"
SIDE, PATCH, POSITIONS = 32, 8, 20
PICTURES = ["33x47", "75x40", "20x90", "64x64"]

TEXTS = [
    "a photo of a dog",
    "A  Photo\tof\n two CATS, isn't it?",
    "x",
    "naïve café ünïcödé 東京 🐘",
    "the left of the right above below red blue cars",
    "a text that is far too long " * 6,
]
QUESTIONS = ["what is left of the dog?", "how many?", "is the cat above a red car or below the two blue birds?"]

WORDS = """a photo of dog dogs cat cats two three the left right above below red blue car cars bird birds what is how many or in it on
text that far too long picture and are there not i isn t he naive cafe""".split()


def vocabulary():
    """BERT's layout: special tokens, letters, their continuations, words, word pieces; [DEC] and [ENC] come after it."""
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)] + list("0123456789.,?!'-\u6771\u4eac")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + letters + ["##" + c for c in letters[:26]]
    return pieces + [w for w in WORDS if len(w) > 1] + ["##s", "##ing", "##code"][1:]


def draw(model, seed, spread):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name.lower():
                parameter.copy_(noise * 0.05 + (1.0 if name.endswith("weight") else 0.0))
            else:
                parameter.copy_(noise * (spread if parameter.ndim > 1 else 0.05))
    return model.eval()


def config(pieces, *, text=None, vision=None):
    return BlipConfig(
        image_text_hidden_size=24,
        text_config={
            "vocab_size": len(pieces) + 2, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": POSITIONS, "bos_token_id": len(pieces),
            "eos_token_id": 2, "pad_token_id": 0, "sep_token_id": pieces.index("[SEP]"), **(text or {}),
        },
        vision_config={
            "hidden_size": 40, "intermediate_size": 44, "num_hidden_layers": 2, "num_attention_heads": 5,
            "image_size": SIDE, "patch_size": PATCH, **(vision or {}),
        },
    )


def checkpoint(name, kind, seed, *, pieces, spread=0.15, words_only=False, legacy=False, half=True, ending=2.0, **sizes):
    """A checkpoint of class `kind` in OUT/name. Returns the model, its tokenizer and the pictures as it sees them."""
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    settings = config(pieces, **sizes)
    model = draw(kind(settings), seed, spread)
    if hasattr(model, "text_decoder"):
        # So that some texts end before they are as long as allowed.
        with torch.no_grad():
            model.text_decoder.cls.predictions.bias[settings.text_config.sep_token_id] += ending
    if half:
        # To be small: the numbers are f16's, in the file and in the reference.
        model = model.half().float()
    vocab = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = BertTokenizer(vocab=vocab, model_max_length=POSITIONS)
    prepare = BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    prepare.save_pretrained(folder)
    settings.architectures = [kind.__name__]
    settings.save_pretrained(folder)
    if words_only:
        (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    else:
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    if legacy:
        # As the original repositories: a pickle with position_ids and the tied output weights written out.
        state = {k: v.half() if half else v for k, v in model.state_dict().items()}
        for part in ["text_encoder.embeddings", "text_decoder.bert.embeddings"]:
            if f"{part}.word_embeddings.weight" in state:
                state[f"{part}.position_ids"] = torch.arange(POSITIONS)[None]
        torch.save(state, folder / "pytorch_model.bin")
    else:
        (model.half() if half else model).save_pretrained(folder)
        model = model.float()
    pictures = [Image.open(FIXTURES / "clip" / "preprocess" / f"{p}.png").convert("RGB") for p in PICTURES]
    pixels = prepare(pictures, return_tensors="pt")["pixel_values"]
    return folder, model, tokenizer, pixels


def encode(tokenizer, texts, **how):
    return tokenizer(texts, padding=True, truncation=True, return_token_type_ids=False, return_tensors="pt", **how)


def different(rows):
    unit = rows.flatten(1) / rows.flatten(1).norm(dim=-1, keepdim=True)
    spread = (unit @ unit.T - torch.eye(len(rows))).max()
    assert spread < 0.9999, f"two look alike ({spread}): the fixture tests nothing"


def matcher(name, seed, **how):
    folder, model, tokenizer, pixels = checkpoint(name, BlipForImageTextRetrieval, seed, **how)
    batch = encode(tokenizer, TEXTS)
    enc = model.config.text_config.bos_token_id + 1
    with torch.no_grad():
        vision = model.vision_model(pixels, output_hidden_states=True)
        image = torch.nn.functional.normalize(model.vision_proj(vision.last_hidden_state[:, 0]), dim=-1)
        alone = model.text_encoder(**batch).last_hidden_state[:, 0]
        text = torch.nn.functional.normalize(model.text_proj(alone), dim=-1)
        itc = model(pixel_values=pixels, use_itm_head=False, **batch).itm_score
        assert torch.allclose(itc, image @ text.T, atol=1e-6)
        # Every picture with every text, in both conventions.
        pairs = {"cls": [], "enc": []}
        for picture in pixels:
            several = picture[None].expand(len(TEXTS), -1, -1, -1)
            pairs["cls"].append(model(pixel_values=several, **batch).itm_score)
            ids = batch["input_ids"].clone()
            ids[:, 0] = enc
            pairs["enc"].append(model(pixel_values=several, input_ids=ids, attention_mask=batch["attention_mask"]).itm_score)
    logits = {k: torch.stack(v) for k, v in pairs.items()}
    different(vision.last_hidden_state)
    different(text)
    # A different picture must matter: logits differ across pictures by more than rounding.
    assert logits["cls"].std(0).min() > 1e-3, logits["cls"].std(0)
    assert (logits["cls"] - logits["enc"]).abs().min() > 1e-4
    save_file({
        "input_ids": batch["input_ids"].int(), "attention_mask": batch["attention_mask"].int(),
        "hidden": torch.stack(vision.hidden_states)[:, :2].contiguous(), "states": vision.last_hidden_state[:2].contiguous(),
        "image_embeds": image, "text_embeds": text, "itc": itc, "itm_cls": logits["cls"], "itm_enc": logits["enc"],
    }, folder / "expected.safetensors")


DECODINGS = {
    "greedy": {},
    "greedy-12": {"max_new_tokens": 12},
    "min-8": {"min_new_tokens": 8, "max_new_tokens": 12},
    "penalty": {"repetition_penalty": 1.7, "max_new_tokens": 14},
    "beam-3": {"num_beams": 3, "max_new_tokens": 10},
    "beam-4-long": {"num_beams": 4, "max_new_tokens": 15, "length_penalty": 2.0, "min_new_tokens": 3},
    "beam-2-early": {"num_beams": 2, "max_new_tokens": 12, "early_stopping": True, "repetition_penalty": 1.3},
    "beam-3-short": {"num_beams": 3, "max_new_tokens": 12, "length_penalty": -1.0},
}
PREFIX = "a photo of"


def trimmed(row, end):
    row = row.tolist()
    return row[: row.index(end) + 1] if end in row else row


def captioner(name, seed, **how):
    folder, model, tokenizer, pixels = checkpoint(name, BlipForConditionalGeneration, seed, **how)
    end = model.config.text_config.sep_token_id
    model.text_decoder.generation_config.pad_token_id = 0
    cases = []
    for case, settings in DECODINGS.items():
        for prefix in [None, PREFIX]:
            settings = {"do_sample": False, "max_new_tokens": 10, **settings}
            text = encode(tokenizer, [prefix] * len(pixels)) if prefix else {}
            out = model.generate(pixel_values=pixels, **text, **settings)
            cases.append({"name": case, "prefix": prefix, "settings": settings, "tokens": [trimmed(r, end) for r in out]})
    seen = {tuple(row) for case in cases for row in case["tokens"]}
    ended = sum(row[-1] == end for case in cases for row in case["tokens"])
    print(name, "distinct outputs", len(seen), "ended", ended, "of", sum(len(c["tokens"]) for c in cases))
    assert len(seen) > 20 and ended > 10, "the captions are too much alike to test anything"
    batch = encode(tokenizer, TEXTS[:1] * len(pixels))
    ids = batch["input_ids"].clone()
    ids[:, 0] = model.config.text_config.bos_token_id
    with torch.no_grad():
        logits = model(pixel_values=pixels, input_ids=ids).logits
    different(logits[:, -1])
    save_file({"input_ids": ids.int(), "logits": logits}, folder / "expected.safetensors")
    (folder / "cases.json").write_text(json.dumps(cases) + "\n")


def answerer(name, seed, **how):
    folder, model, tokenizer, pixels = checkpoint(name, BlipForQuestionAnswering, seed, **how)
    end = model.config.text_config.sep_token_id
    model.text_decoder.generation_config.pad_token_id = 0
    cases = []
    for case, settings in DECODINGS.items():
        settings = {"do_sample": False, "max_new_tokens": 10, **settings}
        rows = []
        # One at a time: transformers lets an answer look at the padding of a shorter question, which we don't.
        for question in QUESTIONS:
            for picture in pixels:
                out = model.generate(pixel_values=picture[None], **encode(tokenizer, [question]), **settings)
                rows.append(trimmed(out[0], end))
        cases.append({"name": case, "prefix": None, "settings": settings, "tokens": rows})
    seen = {tuple(row) for case in cases for row in case["tokens"]}
    print(name, "distinct answers", len(seen))
    assert len(seen) > 20
    (folder / "cases.json").write_text(json.dumps(cases) + "\n")


def main():
    torch.set_num_threads(1)
    pieces = vocabulary()
    matcher("matcher", 11, pieces=pieces, half=False)
    matcher("matcher-legacy", 12, pieces=pieces, words_only=True, legacy=True,
            text={"layer_norm_eps": 1e-6, "hidden_act": "gelu_new"}, vision={"layer_norm_eps": 1e-6, "num_hidden_layers": 1})
    captioner("captioner", 13, pieces=pieces, spread=0.25)
    captioner("captioner-legacy", 14, pieces=pieces, spread=0.25, words_only=True, legacy=True, ending=3.0, text={"num_hidden_layers": 3})
    answerer("answerer", 15, pieces=pieces, spread=0.25, vision={"hidden_size": 32, "num_attention_heads": 4})
    (OUT / "texts.json").write_text(json.dumps({"texts": TEXTS, "questions": QUESTIONS}, ensure_ascii=False, indent=1) + "\n")
    for leftover in OUT.rglob("generation_config.json"):
        leftover.unlink()
    total = sum(f.stat().st_size for f in OUT.rglob("*") if f.is_file())
    print(f"{OUT}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
