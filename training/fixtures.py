"""Writes the parity fixtures under tests/fixtures/: tiny checkpoints with redrawn weights, and what the reference makes of them.

    python training/fixtures.py            # needs torch, transformers >= 5, tokenizers, safetensors, pillow, numpy

Rust reads the same checkpoints and compares: token ids identical, hidden states to 1e-4, unit embeddings to 1e-5, pixels
within a grey level. Every parameter is drawn anew, since default initialisation makes two different inputs look alike.
Everything is seeded: a second run writes the same tensors.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers, Regex
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.clip.tokenization_clip import CLIPTokenizer as FastTokenizer

OUT = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "clip"
START, END = "<|startoftext|>", "<|endoftext|>"
SIDE, PATCH, POSITIONS = 32, 8, 24

CORPUS = """a photo of a dog on the left of a cat . two red apples above a blue car . the running horses can't stop , they've been
there and we'll see them again . a black and white striped animal . three small birds under a large tree at night . what is it
? it's a zebra , isn't it ? I'd say i'm sure you're right . a picture of the photograph's frame . 12 cars and 345 boats . """

TEXTS = [
    "a photo of a dog",
    "A  Photo\tof\n two CATS!",
    "x",
    "it's they've we'll I'd can't you're I'm isn't",
    "naïve café Ünïcödé ÀÉÎ",
    "cafe\u0301 n\u0303",
    "🐘 elephants and 👩‍👩‍👧 🇫🇷",
    "東京 の 夜 — Москва, ελληνικά; العربية",
    "12 345 3.14 1/2 50% $9 #tag @me a_b c-d (e) [f] {g}",
    "a text that is far too long " * 6,
    "...!!!??? --- <|endoftext|> after",
    "İstanbul ﬁ ǅ ß",
]


def draw(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name == "logit_scale":
                parameter.copy_(torch.tensor(2.5))
            elif "norm" in name or "layrnorm" in name:
                parameter.copy_(noise * 0.05 + (1.0 if name.endswith("weight") else 0.0))
            else:
                parameter.copy_(noise * (0.15 if parameter.ndim > 1 else 0.05))
    return model.eval()


def byte_pairs(merges_wanted, specials_last):
    """CLIP's layout of a vocabulary: bytes, bytes that end a word, merges; the two special tokens last, or before the merges."""
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.normalizer = normalizers.Lowercase()
    trained.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    trainer = trainers.BpeTrainer(vocab_size=4000, end_of_word_suffix="</w>", show_progress=False)
    trained.train_from_iterator([CORPUS] * 3, trainer)
    merges = [tuple(m) for m in json.loads(trained.to_str())["model"]["merges"]][:merges_wanted]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = alphabet + [a + "</w>" for a in alphabet]
    joined = ["".join(m) for m in merges]
    pieces += joined + [START, END] if specials_last else [START, END] + joined
    return {piece: i for i, piece in enumerate(pieces)}, merges


def images():
    """Pictures of several shapes: gradients, hard edges and noise, so that every filter has something to do."""
    rng = np.random.default_rng(7)
    for width, height in [(1, 1), (2, 3), (32, 32), (33, 47), (75, 40), (20, 90), (131, 17), (64, 64)]:
        y, x = np.mgrid[0:height, 0:width]
        picture = np.stack([x * 255 / max(width - 1, 1), y * 255 / max(height - 1, 1), 255 * ((x // 5 + y // 7) % 2)], -1)
        picture = picture * 0.8 + rng.integers(0, 52, (height, width, 3))
        yield f"{width}x{height}", Image.fromarray(picture.clip(0, 255).astype(np.uint8))


def processor(**changes):
    settings = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    return CLIPImageProcessorPil(**{**settings, **changes})


def clip(name, seed, *, specials_last, eos_is_2=False, text=None, vision=None, side=SIDE, save):
    """One checkpoint, and beside it `expected.safetensors` and `texts.json`."""
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    vocab, merges = byte_pairs(64, specials_last)
    config = CLIPConfig(
        projection_dim=24,
        text_config={
            "vocab_size": len(vocab), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 4, "max_position_embeddings": POSITIONS, "bos_token_id": vocab[START],
            "eos_token_id": 2 if eos_is_2 else vocab[END], "pad_token_id": vocab[END], **(text or {}),
        },
        vision_config={
            "hidden_size": 40, "intermediate_size": 44, "num_hidden_layers": 2, "num_attention_heads": 5,
            "image_size": side, "patch_size": PATCH, **(vision or {}),
        },
    )
    model = draw(CLIPModel(config), seed)
    tokenizer = FastTokenizer(vocab=vocab, merges=merges, model_max_length=POSITIONS)
    prepare = processor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    prepare.save_pretrained(folder)
    config.architectures = ["CLIPModel"]
    config.save_pretrained(folder)
    model = save(folder, model, tokenizer, vocab, merges) or model

    batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    pixels = prepare([picture for _, picture in images()], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        text_out = model.text_model(**batch, output_hidden_states=True)
        vision_out = model.vision_model(pixels, output_hidden_states=True)
        text_embeds = model.text_projection(text_out.pooler_output)
        image_embeds = model.visual_projection(vision_out.pooler_output)
        whole = model(**batch, pixel_values=pixels)
    unit = lambda x: x / x.norm(dim=-1, keepdim=True)
    assert torch.allclose(whole.text_embeds, unit(text_embeds), atol=1e-6)
    assert torch.allclose(whole.image_embeds, unit(image_embeds), atol=1e-6)
    spread = (unit(text_embeds) @ unit(text_embeds).T - torch.eye(len(TEXTS))).abs().max()
    assert spread < 0.999, "two texts look alike: the fixture tests nothing"
    # Hidden states of the first texts and pictures only, to stay small.
    save_file({
        "input_ids": batch["input_ids"].int(), "attention_mask": batch["attention_mask"].int(),
        "text_embeds": unit(text_embeds), "image_embeds": unit(image_embeds),
        "text_hidden": torch.stack(text_out.hidden_states)[:, :3].contiguous(),
        "image_hidden": torch.stack(vision_out.hidden_states)[:, 3:5].contiguous(),
        "logit_scale": model.logit_scale.exp().detach(),
    }, folder / "expected.safetensors")
    (folder / "texts.json").write_text(json.dumps(TEXTS, ensure_ascii=False, indent=1) + "\n")


def write_slow_tokenizer(folder, vocab, merges):
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False) + "\n")
    lines = ["#version: 0.2"] + [" ".join(m) for m in merges]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")


def as_safetensors(folder, model, tokenizer, vocab, merges):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def as_shards(folder, model, tokenizer, vocab, merges):
    model.save_pretrained(folder, max_shard_size="100KB")
    tokenizer.save_pretrained(folder)


def as_bin(folder, model, tokenizer, vocab, merges):
    """As OpenAI's repositories were: a pickle with position_ids, and the slow tokenizer's two files."""
    state = dict(model.state_dict())
    state["text_model.embeddings.position_ids"] = torch.arange(POSITIONS)[None]
    torch.save(state, folder / "pytorch_model.bin")
    write_slow_tokenizer(folder, vocab, merges)


def as_half_bin_shards(folder, model, tokenizer, vocab, merges):
    """f16 pickles behind an index; some tensors are views into a larger storage, one is transposed."""
    model = model.half().float()
    state = {k: v.half() for k, v in model.state_dict().items()}
    for key in ["visual_projection.weight", "text_model.final_layer_norm.bias"]:
        big = torch.zeros(state[key].numel() + 10, dtype=torch.half)
        big[7:-3] = state[key].flatten()
        state[key] = big[7:-3].view(state[key].shape)
    state["text_projection.weight"] = state["text_projection.weight"].t().contiguous().t()
    names = list(state)
    halves = [names[: len(names) // 2], names[len(names) // 2 :]]
    index = {"metadata": {}, "weight_map": {}}
    for number, half in enumerate(halves, 1):
        file = f"pytorch_model-{number:05}-of-00002.bin"
        torch.save({k: state[k] for k in half}, folder / file)
        index["weight_map"] |= {k: file for k in half}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1) + "\n")
    tokenizer.save_pretrained(folder)
    return model


def preprocessing():
    """What the Pillow-backed processor makes of each picture under many settings: grey levels, and normalised values."""
    folder = OUT / "preprocess"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pictures = list(images())
    for name, picture in pictures:
        picture.save(folder / f"{name}.png", optimize=True)
    levels = {"do_rescale": False, "do_normalize": False}
    square = {"height": 24, "width": 24}
    cases = {f"resample-{n}": {"resample": n, **levels, "size": {"shortest_edge": 24}, "crop_size": square} for n in range(6)}
    cases |= {
        "exact": {"size": {"height": 20, "width": 28}, "do_center_crop": False, **levels},
        "size-int": {"size": 24, "crop_size": 24, **levels},
        "pad": {"size": {"shortest_edge": 15}, "crop_size": {"height": 24, "width": 25}, **levels},
        "odd-crop": {"size": {"shortest_edge": 24}, "crop_size": {"height": 17, "width": 18}, **levels},
        "no-resize": {"do_resize": False, "crop_size": square, **levels},
        "defaults": {"size": {"shortest_edge": 24}, "crop_size": square},
        "own-numbers": {
            "size": {"shortest_edge": 24}, "crop_size": square, "resample": 2, "rescale_factor": 0.01,
            "image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.25, 2.0],
        },
        "no-rescale": {"size": {"shortest_edge": 24}, "crop_size": square, "do_rescale": False},
    }
    expected, configs = {}, {}
    for case, settings in cases.items():
        configs[case] = {"image_processor_type": "CLIPImageProcessor", **settings}
        for name, picture in pictures:
            values = CLIPImageProcessorPil(**settings)(picture, return_tensors="np")["pixel_values"][0]
            exact = settings.get("do_normalize", True)
            if exact and name not in ("2x3", "33x47", "131x17"):
                continue
            expected[f"{case}/{name}"] = torch.from_numpy(values.astype(np.float32 if exact else np.uint8)).contiguous()
    save_file(expected, folder / "expected.safetensors")
    (folder / "cases.json").write_text(json.dumps(configs, indent=1) + "\n")


def main():
    clip("gelu", 1, specials_last=False, save=as_safetensors,
         text={"hidden_act": "gelu", "layer_norm_eps": 1e-6}, vision={"hidden_act": "gelu"})
    clip("quick-gelu-legacy-bin", 2, specials_last=True, eos_is_2=True, save=as_bin)
    clip("sharded", 3, specials_last=True, side=36, save=as_shards,
         text={"hidden_act": "gelu_pytorch_tanh"}, vision={"hidden_act": "relu", "layer_norm_eps": 1e-3})
    clip("half-bin-shards", 4, specials_last=True, save=as_half_bin_shards)
    preprocessing()
    total = sum(f.stat().st_size for f in OUT.rglob("*") if f.is_file())
    print(f"{OUT}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
