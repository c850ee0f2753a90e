"""Measures an exported LLaVA on folders of scenes, with transformers alone: a reference for `eyeshot ask` and `eyeshot eval vqa`.

    python training/evaluate_llava.py DIR [--questions 450] [--model assets/models/demo-llava] [--clip assets/models/demo-clip]

Draws questions about the folder (as questions.py does) and asks each one with the right pictures among one to four, with what the
demo CLIP retrieves for the question, with random pictures and with none. Prints a JSON line a type and setting, then the totals.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from evaluate import Encoder
from llava_export import ANSWER_TOKENS, load
from questions import (
    ALONE, FRONTS, PLACES, REFUSAL, WORDINGS, Question, accepted, answer, citations, draw_questions, plain, read_folder,
)
from world import LOOSE_RELATIONS, RELATIONS, Scene

ASSETS = Path(__file__).resolve().parent.parent / "assets"
BATCH = 24
MOST = 4


@dataclass
class Case:
    """A question with the pictures that are shown, in order; `said` is the model's answer."""

    question: Question
    answerable: bool
    shown: list[str]
    said: str = ""


class Answerer:
    """An exported model; pictures are read once each."""

    def __init__(self, model: LlavaForConditionalGeneration, processor: LlavaProcessor, folder: Path) -> None:
        self.model, self.processor, self.folder = model, processor, folder
        processor.tokenizer.padding_side = "left"

    @torch.inference_mode()
    def __call__(self, cases: list[Case]) -> None:
        for case_count in range(MOST + 1):
            same = [c for c in cases if len(c.shown) == case_count]
            for i in range(0, len(same), BATCH):
                self._ask(same[i : i + BATCH])

    def _ask(self, cases: list[Case]) -> None:
        texts = [self.processor.apply_chat_template(_chat(c), add_generation_prompt=True) for c in cases]
        images = [Image.open(self.folder / name) for c in cases for name in c.shown]
        inputs = self.processor(images=images or None, text=texts, padding=True, return_tensors="pt")
        out = self.model.generate(**inputs, do_sample=False, max_new_tokens=ANSWER_TOKENS)
        for case, ids in zip(cases, out[:, inputs["input_ids"].shape[1] :]):
            case.said = self.processor.tokenizer.decode(ids, skip_special_tokens=True).strip()


def _chat(case: Case) -> list[dict[str, object]]:
    pictures = [{"type": "image"} for _ in case.shown]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": case.question.text}]}]


# ---- what is shown --------------------------------------------------------------------------------------------------


class Shows:
    """The pictures that each setting shows for a question."""

    def __init__(self, scenes: dict[str, Scene], folder: Path, clip: Path, rng: random.Random) -> None:
        self.scenes, self.rng, self.names = scenes, rng, list(scenes)
        self.encoder = Encoder(clip)
        self.images = self.encoder.images([folder / n for n in self.names])

    def cases(self, setting: str, asked: list[tuple[Question, bool]]) -> list[Case]:
        best = self._ranked([q for q, _ in asked]) if setting in ("given", "retrieved") else [[]] * len(asked)
        return [Case(q, ok, self._pick(setting, q, ranks)) for (q, ok), ranks in zip(asked, best)]

    def _pick(self, setting: str, q: Question, ranked: list[str]) -> list[str]:
        if setting == "none":
            return []
        if setting == "random":
            return self.rng.sample(self.names, MOST)
        if setting == "retrieved":
            return ranked[:MOST]
        relevant = [n for n in self.names if accepted(q, self.scenes[n])]
        others = [n for n in ranked[:12] if n not in relevant] + self.rng.sample(self.names, MOST)  # like it, or not
        shown = self.rng.sample(relevant, min(1, len(relevant)))
        shown += self.rng.sample([n for n in dict.fromkeys(others) if n not in relevant], self.rng.randrange(1 - len(shown), MOST))
        return self.rng.sample(shown, len(shown))

    def _ranked(self, asked: list[Question]) -> list[list[str]]:
        """Pictures by their likeness to what the question is about: its words without those that only ask."""
        scores: Tensor = self.encoder.texts([search_words(q.text) for q in asked]) @ self.images.T
        return [[self.names[i] for i in row] for row in scores.topk(min(12, len(self.names))).indices.tolist()]


@cache
def _asking_words() -> frozenset[str]:
    tables = (*WORDINGS.values(), *ALONE.values(), PLACES, FRONTS, *LOOSE_RELATIONS.values(), *(ps for ps, _ in RELATIONS.values()))
    words = {w for table in tables for text in table for w in re.findall(r"[a-z']+", text)}
    return frozenset((words | {"colour", "color"}) - {"a", "an", "and", "on", "with"})


def search_words(question: str) -> str:
    """"How many cats are there on a red background?" -> "cats on a red"."""
    kept = [w for w in re.findall(r"[\w'&-]+", question.lower()) if w not in _asking_words()]
    while kept and kept[-1] in ("on", "with", "and", "a", "an"):
        kept.pop()
    return " ".join(kept) or question


# ---- measures -------------------------------------------------------------------------------------------------------


def right(case: Case, scenes: dict[str, Scene]) -> bool:
    """Whether the answer is accepted for the whole folder; "which" is judged by what it cites."""
    if not case.answerable:
        return refused(case)
    cited = [case.shown[n - 1] for n in citations(case.said) if 0 < n <= len(case.shown)]
    found = {name: texts for name, s in scenes.items() if (texts := accepted(case.question, s))}
    if case.question.type == "which":
        return bool(cited) and set(cited) <= set(found)
    answers = {plain(t) for texts in found.values() for t in texts} or {"no"}
    return plain(case.said) in answers


def exact(case: Case, scenes: dict[str, Scene]) -> bool:
    """Whether it is, word by word, what the pictures that are shown give, with every citation."""
    return case.said == str(answer(case.question, [scenes[n] for n in case.shown]))


def refused(case: Case) -> bool:
    return plain(case.said) == plain(REFUSAL)


def totals(cases: list[Case], scenes: dict[str, Scene]) -> dict[str, float]:
    """Citations against the shown pictures that support the answer; refusals; yes and no."""
    cited = supported = both = 0
    for case in cases:
        shown = [scenes[n] for n in case.shown]
        support = {n for n, s in enumerate(shown, 1) if plain(case.said) in {plain(t) for t in accepted(case.question, s)}}
        if case.question.type == "which":
            support = {n for n, s in enumerate(shown, 1) if accepted(case.question, s)}
        told = set(citations(case.said))
        cited, supported, both = cited + len(told), supported + len(support), both + len(told & support)
    yes_no = [(plain(c.said), answer(c.question, [scenes[n] for n in c.shown]).text) for c in cases if c.question.type == "exists" and c.answerable]
    could = [answer(c.question, [scenes[n] for n in c.shown]).text != REFUSAL for c in cases]
    held = [any(accepted(c.question, scenes[n]) for n in c.shown) for c in cases if c.answerable and any(
        accepted(c.question, s) for s in scenes.values())]
    return {
        "shown_relevant": _mean(held), "citation_precision": _share(both, cited), "citation_recall": _share(both, supported),
        "refused_unanswerable": _mean(refused(c) for c, ok in zip(cases, could) if not ok),
        "refused_answerable": _mean(refused(c) for c, ok in zip(cases, could) if ok),
        "yes_no_accuracy": _mean(said == true for said, true in yes_no), "yes_rate": _mean(said == "yes" for said, _ in yes_no),
        "yes_truth": _mean(true == "yes" for _, true in yes_no),
        "word_by_word": _mean(exact(c, scenes) for c in cases),
    }


def _mean(values: Iterable[bool]) -> float:
    values = list(values)
    return _share(sum(values), len(values))


def _share(part: int, whole: int) -> float:
    return round(part / max(whole, 1), 4)


def evaluate(folder: Path, a: argparse.Namespace) -> None:
    scenes = read_folder(folder)
    rng = random.Random(f"evaluate {a.seed}")
    asked = draw_questions(scenes, a.questions, rng)
    shows, answerer = Shows(scenes, folder, a.clip, rng), Answerer(*load(a.model, a.clip), folder)
    for setting in a.settings:
        cases = shows.cases(setting, asked)
        answerer(cases)
        if a.answers:
            with a.answers.open("a") as log:
                for c in cases:
                    log.write(json.dumps({"images": setting, "question": c.question.text, "type": c.question.type, "said": c.said,
                                          "wanted": str(answer(c.question, [scenes[n] for n in c.shown])), "shown": c.shown,
                                          "right": right(c, scenes)}) + "\n")
        by_type: dict[str, list[bool]] = defaultdict(list)
        for c in cases:
            by_type[c.question.type if c.answerable else "unanswerable"].append(right(c, scenes))
        for kind, hits in by_type.items():
            print(json.dumps({"type": kind, "images": setting, "n": len(hits), "exact": _mean(hits)}), flush=True)
        every = [h for kind, hits in by_type.items() for h in hits]
        print(json.dumps({"images": setting, "n": len(every), "exact": _mean(every)} | totals(cases, scenes)), flush=True)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--questions", type=int, default=450)
    p.add_argument("--seed", type=int, default=41)
    p.add_argument("--model", type=Path, default=ASSETS / "models/demo-llava")
    p.add_argument("--clip", type=Path, default=ASSETS / "models/demo-clip")
    p.add_argument("--settings", nargs="+", default=["given", "retrieved", "random", "none"])
    p.add_argument("--answers", type=Path, help="also append every answer to this file")
    a = p.parse_args()
    torch.set_num_threads(1)
    evaluate(a.folder, a)


if __name__ == "__main__":
    main()
