"""A small CLIP tokenizer (lower-casing byte-level BPE) whose merges come from the world's own words."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

from world import (
    BESIDE, COLOUR_PHRASES, COLOURS, LOOSE_COLOUR_PHRASES, LOOSE_FRONTS, LOOSE_JOINS, LOOSE_PREFIXES, LOOSE_RELATIONS,
    LOOSE_SCENERY, LOOSE_SUFFIXES, NUMBERS, PREFIXES, RELATIONS, SCENERY, concepts,
)

SUFFIX = "</w>"


def phrases() -> list[str]:
    """Every wording of the grammar around its nouns."""
    out = [*COLOURS, "grey", *BESIDE, *PREFIXES, *LOOSE_PREFIXES, *LOOSE_SUFFIXES, *LOOSE_JOINS]
    out += [p for ps, _ in RELATIONS.values() for p in ps] + [p for ps in LOOSE_RELATIONS.values() for p in ps]
    out += [p for each in (SCENERY, LOOSE_SCENERY) for ps in each.values() for p in ps]
    out += [p.format("", a="a") for p in COLOUR_PHRASES + LOOSE_COLOUR_PHRASES + LOOSE_FRONTS]
    return out + [w for ws in NUMBERS.values() for w in ws] + ["a an the one some and"]


def corpus() -> list[str]:
    """Nouns and phrases, each as often as it should count in the merges."""
    return [form for c in concepts() for word, (_, plural) in c.forms.items() for form in (word, plural)] + phrases() * 3


def learn_merges(words: Counter[tuple[str, ...]]) -> list[tuple[str, str]]:
    """Byte-pair merges until nothing repeats, ties broken by spelling, so that every run gives the same vocabulary."""
    merges = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, n in words.items():
            for pair in pairwise(word):
                pairs[pair] += n
        if not pairs or max(pairs.values()) < 2:
            return merges
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        words = Counter({_merge(word, best): n for word, n in words.items()})


def _merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    for part in word:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return tuple(out)


def build_tokenizer() -> CLIPTokenizer:
    """Ids as in OpenAI's: the bytes, the bytes that end a word, the merges, then the two special tokens; EOS is highest."""
    blank = CLIPTokenizer().backend_tokenizer
    words: Counter[tuple[str, ...]] = Counter()
    for text in corpus():
        for word, _ in blank.pre_tokenizer.pre_tokenize_str(blank.normalizer.normalize_str(text)):
            words[(*word[:-1], word[-1] + SUFFIX)] += 2  # so that even a rare word ends up whole
    merges = learn_merges(words)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*alphabet, *(b + SUFFIX for b in alphabet), *dict.fromkeys(a + b for a, b in merges)]
    vocab = {t: i for i, t in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=32)
