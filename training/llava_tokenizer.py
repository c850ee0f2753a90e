"""The demo LLaVA's tokenizer and prompt: lower-casing byte-level BPE whose merges make every word of the world one token."""

from __future__ import annotations

from collections import Counter

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

import questions
from questions import REFUSAL
from tokenizer import corpus, learn_merges

BOS, EOS, PAD, IMAGE = "<s>", "</s>", "<pad>", "<image>"
CONTEXT = 256
CHAT_TEMPLATE = (  # pictures first, numbered, then the text: "USER: [1]<image> [2]<image> what is this? ASSISTANT:"
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ 'USER:' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ ' [' ~ loop.index ~ ']<image>' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ ' ' ~ content['text'] | trim }}{% endfor %}"
    "{% elif message['role'] == 'assistant' %}{{ ' ASSISTANT:' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ ' ' ~ content['text'] | trim ~ '</s>' }}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ ' ASSISTANT:' }}{% endif %}"
)


def prompt_of_images(count: int) -> str:
    """What `CHAT_TEMPLATE` puts before the question."""
    return "USER:" + "".join(f" [{n}]{IMAGE}" for n in range(1, count + 1))


def prompt_of(question: str) -> str:
    """What it puts behind the pictures."""
    return f" {question.strip()} ASSISTANT:"


def _words() -> list[str]:
    """The grammar's phrases, and those of questions and answers."""
    wordings = [w for table in (questions.WORDINGS, questions.ALONE, questions.NUMBERED) for ws in table.values() for w in ws]
    wordings += [*questions.IMAGES, *questions.PLACES, *questions.FRONTS, *questions.ORDINALS]
    empty = {k: "" for k in ("rel", "it", "them", "is", "colour", "image", "n", "nth")}
    plain = [w.format(**empty) for w in wordings]
    plain += [REFUSAL, "yes no none if it image images 1 2 3 4 5 6 7 8 9 [1] [2] is are colour color user: assistant: what who where when why how"]
    return corpus() + plain * 3


def build() -> PreTrainedTokenizerFast:
    """Ids: pad, bos, eos, image; the bytes; the merges. Every run gives the same vocabulary."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words: Counter[tuple[str, ...]] = Counter()
    for text in _words():
        for word, _ in split.pre_tokenize_str(f" {' '.join(text.lower().split())}"):
            words[tuple(word)] += 2  # so that even a rare word ends up whole
    merges = learn_merges(words)
    tokens = [PAD, BOS, EOS, IMAGE, *alphabet, *dict.fromkeys(a + b for a, b in merges)]
    backend = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    backend.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    backend.pre_tokenizer = split
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(f"{BOS} $A", special_tokens=[(BOS, tokens.index(BOS))])
    backend.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in (PAD, BOS, EOS, IMAGE)])
    backend.add_tokens([AddedToken("I", single_word=True, normalized=False)])  # the one capital that answers need
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=BOS, eos_token=EOS, pad_token=PAD, extra_special_tokens={"image_token": IMAGE},
        model_max_length=CONTEXT, chat_template=CHAT_TEMPLATE, padding_side="left",
    )
