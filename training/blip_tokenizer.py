"""A small BERT tokenizer (lower-casing WordPiece) over the world's own words; any other text falls apart into characters."""

from __future__ import annotations

import json
import string
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertTokenizer

from tokenizer import corpus

TEXT_LEN = 40
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
DECODE, ENCODE = "[DEC]", "[ENC]"  # what a caption starts with, and what the original's matcher reads in place of [CLS]


def build_tokenizer() -> BertTokenizer:
    """Ids: the special tokens, single characters, characters inside a word, the world's words, [DEC], [ENC]."""
    split, lower = pre_tokenizers.BertPreTokenizer(), normalizers.BertNormalizer(lowercase=True)
    words = {w for text in corpus() for w, _ in split.pre_tokenize_str(lower.normalize_str(text))}
    alphabet = [c for c in string.printable if c.isprintable() and c != " " and not c.isupper()]
    tokens = [*SPECIAL, *alphabet, *("##" + c for c in alphabet), *sorted(words - set(alphabet)), DECODE, ENCODE]
    vocab = {t: i for i, t in enumerate(tokens)}
    inner = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    inner.normalizer, inner.pre_tokenizer, inner.decoder = lower, split, decoders.WordPiece(prefix="##")
    ends = [("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])]
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=ends,
    )
    return BertTokenizer(
        tokenizer_object=inner, vocab=vocab, bos_token=DECODE, additional_special_tokens=[ENCODE], model_max_length=TEXT_LEN,
    )


def save(tokenizer: BertTokenizer, out: Path) -> None:
    """tokenizer.json, tokenizer_config.json and, for older readers, special_tokens_map.json."""
    tokenizer.save_pretrained(out)
    names = {f"{k}_token": getattr(tokenizer, f"{k}_token") for k in ("bos", "cls", "mask", "pad", "sep", "unk")}
    names["additional_special_tokens"] = [ENCODE]
    (out / "special_tokens_map.json").write_text(json.dumps(names, indent=2) + "\n")
