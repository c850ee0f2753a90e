"""Writes tests/fixtures/llava/: tiny LLaVA checkpoints with redrawn weights, and what transformers makes of them.

    python training/fixtures_llava.py      # needs torch, transformers >= 5, tokenizers, safetensors, pillow, numpy

    vicuna    LLaVA 1.5 over Llama, f32, a slow tokenizer's pieces (bytes, a space in front), chat template beside
    mistral   LLaVA 1.6 over Mistral (grouped heads, sliding window), tiles, template in the tokenizer's config
    original  `vicuna` as its authors would have saved it: names by the rule below, the vision tower in a folder of its own,
              tokenizer.model and no tokenizer.json

Every question is asked twice: as the processor makes its tokens, and greedily answered. Everything is seeded.
"""

import json
import shutil
import struct
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors, trainers, pre_tokenizers
from transformers import (
    AutoTokenizer, LlavaConfig, LlavaForConditionalGeneration, LlavaNextConfig, LlavaNextForConditionalGeneration,
    LlavaNextProcessor, LlavaProcessor, PreTrainedTokenizerFast,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from fixtures import CORPUS, images

OUT = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "llava"
SIDE, PATCH, NEW = 32, 8, 12
MISTRAL_SEED = 14
VICUNA = (  # llava-hf/llava-1.5-7b-hf's
    "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
    "{# Render all images first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}{# Render all text next #}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}{% endfor %}"
    "{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{% generation %}"
    "{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{ '<<SYS>>\n' + message['content'][0]['text'] + '\n<</SYS>>\n\n' }}{% elif message['role'] == 'user' %}{{ '[INST] ' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] }}{% endfor %}"
    "{{ ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'][0]['text'] + '</s> ' }}{% endif %}"
    "{% endfor %}"
)
# What is asked, and about which of the fixtures' pictures.
ASKED = [
    ("What is left of the cat?", ["33x47"]),
    ("How many birds are there, naïve 東京 🐘?", ["75x40"]),
    ("Which image shows a zebra?", ["20x90", "131x17", "64x64"]),
    ("  Who are you?  ", []),
]


def draw(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name or "layrnorm" in name:
                parameter.copy_(noise * 0.05 + (1.0 if name.endswith("weight") else 0.0))
            else:
                parameter.copy_(noise * (0.15 if parameter.ndim > 1 else 0.05))
            parameter.copy_(parameter.half().float())  # so that files of f16 hold exactly these
    return model.eval()


def pieces(count):
    """Llama's kind of vocabulary: three special tokens, 256 bytes, then pieces; rank is score."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trained.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=count, show_progress=False)
    trained.train_from_iterator([CORPUS + "USER: ASSISTANT: What is left of How many are there Which image shows"] * 3, trainer)
    vocab = sorted(trained.get_vocab().items(), key=lambda kv: kv[1])
    joined = [p for p, _ in vocab if len(p) > 1]
    single = [p for p, _ in vocab if len(p) == 1]
    return ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + joined + single


def tokenizer(vocab, template):
    """As transformers' LlamaConverter builds it from SentencePiece's file."""
    ids = {piece: i for i, piece in enumerate(vocab)}
    score = {piece: -(i - 259) for i, piece in enumerate(vocab) if i >= 259}
    merges = [
        (piece[:at], piece[at:], score[piece])
        for piece in vocab[259:] for at in range(1, len(piece)) if piece[:at] in ids and piece[at:] in ids
    ]
    merges = sorted(merges, key=lambda m: (m[2], len(m[0]), len(m[1])), reverse=True)
    backend = Tokenizer(models.BPE(ids, [m[:2] for m in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    backend.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")])
    backend.add_special_tokens([AddedToken("<image>", normalized=False, special=True)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>",
        extra_special_tokens={"image_token": "<image>"}, chat_template=template,
    )


def conversation(question, count, system=None):
    user = [{"type": "image"}] * count + [{"type": "text", "text": question.strip()}]
    told = [{"role": "system", "content": [{"type": "text", "text": system}]}] if system else []
    return [*told, {"role": "user", "content": user}]


def expect(folder, model, processor):
    """What the reference makes of each question: prompt, hidden states, logits, greedy answer."""
    pictures = dict(images())
    tensors, cases = {}, []
    for number, (question, names) in enumerate(ASKED):
        prompt = processor.apply_chat_template(conversation(question, len(names)), add_generation_prompt=True)
        begins = prompt.startswith("<s>")
        shown = [pictures[name] for name in names] or None
        batch = processor(images=shown, text=prompt, return_tensors="pt", add_special_tokens=not begins)
        with torch.no_grad():
            out = model(**batch, output_hidden_states=True)
            written = model.generate(**batch, max_new_tokens=NEW, do_sample=False, pad_token_id=2)
        written = written[0, batch["input_ids"].shape[1]:]
        tensors[f"{number}.input_ids"] = batch["input_ids"][0].int()
        # The whole depth at a few places, to stay small.
        places = torch.linspace(0, batch["input_ids"].shape[1] - 1, 12).long().unique()
        tensors[f"{number}.places"] = places.int()
        tensors[f"{number}.hidden"] = torch.stack(out.hidden_states)[:, 0, places].contiguous()
        tensors[f"{number}.logits"] = out.logits[0, -1].contiguous()
        tensors[f"{number}.written"] = written.int()
        if shown:
            if len(shown) == 1:  # all its squares, every other pixel
                tensors[f"{number}.pixels"] = batch["pixel_values"].flatten(0, -4)[..., ::2, ::2].contiguous()
            with torch.no_grad():
                sizes = {"image_sizes": batch["image_sizes"]} if "image_sizes" in batch else {}
                features = model.get_image_features(batch["pixel_values"], **sizes).pooler_output
            tensors[f"{number}.seen"] = torch.cat(list(features)).contiguous()[::3].contiguous()
            cases.append({"tokens": [len(f) for f in features]})
        else:
            cases.append({"tokens": []})
        text = processor.tokenizer.decode(written, skip_special_tokens=True)
        cases[-1] |= {"question": question, "images": names, "prompt": prompt, "text": text}
        assert len(set(written.tolist())) > 3, f"too plain an answer: take another seed: {text!r}"
    # The same question of two pictures must not have the same answer, or the fixture tests nothing.
    a, b = tensors["0.logits"], tensors["1.logits"]
    assert (a - b).abs().max() > 1e-2
    save_file(tensors, folder / "expected.safetensors")
    (folder / "cases.json").write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n")


def fresh(name):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


VISION = {
    "model_type": "clip_vision_model", "hidden_size": 40, "intermediate_size": 44, "num_hidden_layers": 3,
    "num_attention_heads": 5, "image_size": SIDE, "patch_size": PATCH,
}


def vicuna():
    folder = fresh("vicuna")
    vocab = pieces(330)
    words = tokenizer(vocab, VICUNA)
    size = len(vocab) + 5  # padded, as checkpoints are
    text = {
        "model_type": "llama", "vocab_size": size, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 256, "eos_token_id": 2,
        "bos_token_id": 1, "pad_token_id": 2, "rms_norm_eps": 1e-5,
    }
    image = words.convert_tokens_to_ids("<image>")
    config = LlavaConfig(vision_config=VISION, text_config=text, image_token_index=image, image_seq_length=16)
    model = draw(LlavaForConditionalGeneration(config), 11)
    model.generation_config.eos_token_id = 2
    prepare = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    processor = LlavaProcessor(
        prepare, words, patch_size=PATCH, vision_feature_select_strategy="default", chat_template=VICUNA,
        num_additional_image_tokens=1,
    )
    expect(folder, model, processor)
    original(model, vocab, config, text)
    model.half().save_pretrained(folder)
    # As llava-hf's repositories are: old names, sharded, processor apart.
    words.chat_template = None
    words.save_pretrained(folder)
    prepare.save_pretrained(folder)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": VICUNA}, indent=1) + "\n")
    rename(folder, {"model.language_model.": "language_model.model.", "lm_head.": "language_model.lm_head.",
                    "model.vision_tower.": "vision_tower.vision_model.", "model.multi_modal": "multi_modal"}, shards=2)
    shutil.copy(folder / "preprocessor_config.json", OUT / "original" / "tower")


def stored(model):
    """The tensors as this transformers saves them, without the folder."""
    return {name: value.detach().clone().contiguous() for name, value in model.state_dict().items()}


def rename(folder, rules, shards):
    tensors = {}
    for file in sorted(folder.glob("model*.safetensors")):
        tensors |= load_file(file)
        file.unlink()
    for file in folder.glob("*.index.json"):
        file.unlink()
    # Whatever this transformers calls them, to the names of its model classes first.
    tensors = {current(name): value for name, value in tensors.items()}
    renamed = {}
    for name, value in tensors.items():
        for old, new in rules.items():
            if name.startswith(old):
                name = new + name[len(old):]
                break
        renamed[name] = value
    names = sorted(renamed)
    index = {"metadata": {}, "weight_map": {}}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = names[number::shards]
        save_file({name: renamed[name] for name in part}, folder / file, metadata={"format": "pt"})
        index["weight_map"] |= {name: file for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def current(name):
    for old, new in {"language_model.model.": "model.language_model.", "language_model.lm_head.": "lm_head.",
                     "vision_tower.": "model.vision_tower.", "multi_modal_projector.": "model.multi_modal_projector."}.items():
        if name.startswith(old):
            return new + name[len(old):]
    return name


def original(model, vocab, config, text):
    """The authors' layout of the same weights, with what it lacks in a folder named as mm_vision_tower says."""
    folder = fresh("original")
    state = {current(name): value for name, value in stored(model).items()}
    own, tower = {}, {}
    for name, value in state.items():
        if name.startswith("model.vision_tower."):
            rest = name.removeprefix("model.vision_tower.").removeprefix("vision_model.")
            tower[f"vision_model.{rest}"] = value
        elif name.startswith("model.multi_modal_projector.linear_"):
            number, kind = name.removeprefix("model.multi_modal_projector.linear_").split(".")
            own[f"model.mm_projector.{2 * (int(number) - 1)}.{kind}"] = value
        else:
            own[name.replace("model.language_model.", "model.")] = value
    torch.save({k: v.half() for k, v in own.items()}, folder / "pytorch_model.bin")
    described = {k: v for k, v in text.items() if k != "model_type"} | {
        "model_type": "llava", "architectures": ["LlavaLlamaForCausalLM"], "hidden_act": "silu",
        "mm_vision_tower": "tower", "mm_vision_select_layer": -2, "mm_vision_select_feature": "patch",
        "mm_projector_type": "mlp2x_gelu", "mm_hidden_size": 40, "image_aspect_ratio": "square", "use_mm_proj": True,
    }
    (folder / "config.json").write_text(json.dumps(described, indent=1) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}, indent=1) + "\n")
    (folder / "tokenizer.model").write_bytes(sentencepiece(vocab))
    (folder / "tower").mkdir()
    save_file({k: v.half() for k, v in tower.items()}, folder / "tower" / "model.safetensors")
    (folder / "tower" / "config.json").write_text(
        json.dumps({"model_type": "clip", "vision_config": VISION, "architectures": ["CLIPModel"]}, indent=1) + "\n")


def sentencepiece(vocab):
    """SentencePiece's file of the same pieces: a protobuf, written by hand."""
    def varint(n):
        out = bytearray()
        while n > 127:
            out.append(n & 127 | 128)
            n >>= 7
        return bytes(out) + bytes([n])

    def block(field, content):
        return varint(field << 3 | 2) + varint(len(content)) + content

    out = b""
    for i, piece in enumerate(vocab):
        kind = 2 if i == 0 else 3 if i < 3 else 6 if i < 259 else 1
        score = 0.0 if i < 259 else -(i - 259)
        out += block(1, block(1, piece.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score) + varint(3 << 3) + varint(kind))
    out += block(2, varint(3 << 3) + varint(2))
    return out + block(3, block(1, b"identity") + varint(3 << 3) + varint(1))


def mistral():
    folder = fresh("mistral")
    vocab = pieces(330)
    words = tokenizer(vocab, MISTRAL)
    grids = [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]]
    text = {
        "model_type": "mistral", "vocab_size": len(vocab) + 1, "hidden_size": 48, "intermediate_size": 40,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "sliding_window": 40,
        "max_position_embeddings": 640, "rope_theta": 1000000.0, "eos_token_id": 2, "bos_token_id": 1,
    }
    image = words.convert_tokens_to_ids("<image>")
    config = LlavaNextConfig(
        vision_config=VISION | {"hidden_act": "gelu"}, text_config=text, image_token_index=image, image_grid_pinpoints=grids,
        vision_feature_layer=-2,
    )
    model = draw(LlavaNextForConditionalGeneration(config), MISTRAL_SEED)
    model.generation_config.eos_token_id = 2
    prepare = LlavaNextImageProcessorPil(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=grids)
    processor = LlavaNextProcessor(
        prepare, words, patch_size=PATCH, vision_feature_select_strategy="default", chat_template=MISTRAL,
        num_additional_image_tokens=1,
    )
    expect(folder, model, processor)
    model.half().save_pretrained(folder)
    words.save_pretrained(folder)
    prepare.save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    described = json.loads((folder / "tokenizer_config.json").read_text()) | {"chat_template": MISTRAL}
    (folder / "tokenizer_config.json").write_text(json.dumps(described, indent=1) + "\n")


def main():
    torch.manual_seed(0)
    vicuna()
    mistral()
    total = sum(f.stat().st_size for f in OUT.rglob("*") if f.is_file())
    print(f"{OUT}: {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
