"""Measures an exported BLIP on folders written by scenes.py, with transformers alone: a reference for the Rust engine.

    python training/scenes.py --out A --count 1000 --seed 7 && python training/scenes.py --out B --sets 100 --seed 31
    python training/evaluate_blip.py --scenes A --sets B [--model assets/models/demo-blip] [--clip assets/models/demo-clip]

Prints JSON lines: choosing among four captions (CLIP, ITC, ITM, and ITM on another set's pictures as the control), reranking
CLIP's best 32 under several fusions, telling swapped captions, and what generated captions say.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer, BlipForConditionalGeneration, BlipForImageTextRetrieval, BlipImageProcessorPil

from blip_export import calibration_error
from evaluate import Encoder, first_hits
from negatives import strange_text, wrong_caption
from world import Placed, Scene, concepts, fits, parse, related

BATCH = 128
NAMES = {c.name: i for i, c in enumerate(concepts())}
COSINE_WEIGHTS = (0.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0)  # of CLIP's cosine, beside the match logit
FUSION = 40.0  # the one that ranked best on other scenes (seed 8)


class Matcher:
    """An exported BLIP: image states once, then any pairs."""

    def __init__(self, folder: Path) -> None:
        self.model = BlipForImageTextRetrieval.from_pretrained(folder, dtype=torch.float32).eval()
        self.speaker = BlipForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.processor = BlipImageProcessorPil.from_pretrained(folder)

    def pixels(self, paths: list[Path]) -> Tensor:
        return self.processor(images=[Image.open(p) for p in paths], return_tensors="pt").pixel_values

    @torch.inference_mode()
    def images(self, paths: list[Path]) -> Tensor:
        """(n, P, W) states."""
        parts = (paths[i : i + BATCH] for i in range(0, len(paths), BATCH))
        return torch.cat([self.model.vision_model(pixel_values=self.pixels(part)).last_hidden_state for part in parts])

    @torch.inference_mode()
    def match(self, texts: list[str], states: Tensor) -> Tensor:
        """The logit (how much more a match than not) of each text with the picture in the same row."""
        out = []
        for i in range(0, len(texts), BATCH):
            t = self.tokenizer(texts[i : i + BATCH], padding=True, truncation=True, return_tensors="pt")
            seen = states[i : i + BATCH]
            last = self.model.text_encoder(
                input_ids=t.input_ids, attention_mask=t.attention_mask, encoder_hidden_states=seen,
                encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long),
            ).last_hidden_state
            logits = self.model.itm_head(last[:, 0])
            out.append(logits[:, 1] - logits[:, 0])
        return torch.cat(out)

    @torch.inference_mode()
    def contrast(self, texts: list[str], states: Tensor) -> Tensor:
        """Cosines (texts, images) of ITC."""
        t = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        last = self.model.text_encoder(input_ids=t.input_ids, attention_mask=t.attention_mask).last_hidden_state
        text = F.normalize(self.model.text_proj(last[:, 0]), dim=-1)
        return text @ F.normalize(self.model.vision_proj(states[:, 0]), dim=-1).T

    @torch.inference_mode()
    def captions(self, paths: list[Path]) -> list[str]:
        out = []
        for i in range(0, len(paths), BATCH):
            ids = self.speaker.generate(pixel_values=self.pixels(paths[i : i + BATCH]), max_new_tokens=24)
            out += self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return out


def scene_of(facts: dict) -> Scene:
    """The scene that a sidecar tells of."""
    placed = tuple(
        Placed(NAMES[o["name"]], (o["box"][0] + o["box"][2]) / 2, (o["box"][1] + o["box"][3]) / 2, o["box"][2] - o["box"][0], 0)
        for o in facts["boxes"]
    )
    kinds = [p.concept for p in placed]
    return Scene(tuple((k, kinds.count(k)) for k in dict.fromkeys(kinds)), facts.get("relation"), facts["background"], placed, 0)


def folder_of(folder: Path) -> tuple[list[Path], list[dict]]:
    paths = sorted(folder.glob("[0-9]*.jpg"))
    return paths, [json.loads(p.with_suffix(".json").read_text()) for p in paths]


# ---- choosing among four captions -----------------------------------------------------------------------------------


def choices(folder: Path, matcher: Matcher, clip: Encoder) -> list[dict]:
    paths, facts = folder_of(folder)
    states, embedded = matcher.images(paths), clip.images(paths)
    sets = torch.tensor([f["set"] for f in facts]).view(-1, 4)
    texts = [f["choices"] for f in facts[::4]]
    captions = clip.texts([t for four in texts for t in four]).view(len(texts), 4, -1)
    own = torch.arange(len(paths)).view(-1, 4)
    assert (sets == sets[:, :1]).all()
    kinds = [f["contrast"] for f in facts[::4]]
    strangers = _shuffled(kinds, own)

    def judged(pictures: Tensor) -> Tensor:
        seen = pictures[:, :, None].expand(-1, 4, 4).flatten()
        return matcher.match([t for four in texts for _ in range(4) for t in four], states[seen]).view(-1, 4, 4)

    matches = judged(own)
    cosines = torch.einsum("spd,scd->spc", embedded[own], captions)
    stages = {
        "clip": cosines,
        "itc": torch.stack([matcher.contrast(four, states[row]).T for four, row in zip(texts, own)]),
        "itm": matches,
        "itm + 40*cosine": matches + FUSION * cosines,
        "control: itm, another set's pictures": judged(strangers),
    }
    return [
        {"contrast": kind, "stage": stage, **_share(scores[[k == kind for k in kinds]])}
        for kind in dict.fromkeys(kinds) for stage, scores in stages.items()
    ]


def _shuffled(kinds: list[str], own: Tensor) -> Tensor:
    """For each set, one picture of another set of its contrast, four times over: nothing in it tells the captions apart."""
    rng, out = random.Random(5), own.clone()
    for i, kind in enumerate(kinds):
        other = rng.choice([j for j, k in enumerate(kinds) if k == kind and j != i])
        out[i] = own[other][torch.randperm(4, generator=torch.Generator().manual_seed(i))]
    return out


def _share(scores: Tensor) -> dict[str, float]:
    """scores (sets, pictures, captions). individual: the right one of four; pair: the right one beats its neighbour (of relations:
    its opposite); both: What's Up's pairs, in which both pictures of such a pair are right among four; set: all four are."""
    right = scores.argmax(2) == torch.arange(4)
    own = scores.diagonal(dim1=1, dim2=2)
    beats = own > scores[:, torch.arange(4), torch.arange(4) ^ 1]
    shares = {"individual": right, "pair": beats, "both": right.view(-1, 2, 2).all(2), "set": right.all(1)}
    return {"sets": len(scores)} | {k: round(v.float().mean().item(), 4) for k, v in shares.items()}


# ---- reranking ------------------------------------------------------------------------------------------------------


def reranking(folder: Path, matcher: Matcher, clip: Encoder, depth: int) -> list[dict]:
    paths, _ = folder_of(folder)
    place = {p.name: i for i, p in enumerate(paths)}
    rows = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    rows = [q for q in rows if "query" in q]
    relevant = [{place[n] for n in q["relevant"]} for q in rows]
    relational = torch.tensor([parse(q["query"]).relation is not None for q in rows])
    cosines = clip.texts([q["query"] for q in rows]) @ clip.images(paths).T
    best = cosines.topk(depth, dim=1)
    states = matcher.images(paths)
    logits = torch.cat([matcher.match([q["query"]] * depth, states[i]) for q, i in zip(rows, best.indices)]).view(-1, depth)

    def r1(scores: Tensor) -> dict[str, float]:
        full = cosines - 1e6
        full.scatter_(1, best.indices, scores)
        hit = first_hits(full, relevant) == 0
        return {"r1": round(hit.float().mean().item(), 4), "r1_relational": round(hit[relational].float().mean().item(), 4)}

    out = [{"rank": "cosine", "queries": len(rows), "relational": int(relational.sum()), **r1(best.values)}]
    out.append({"rank": "log match + 10*cosine", **r1(F.logsigmoid(logits) + 10 * best.values)})
    return out + [{"rank": f"logit + {w:g}*cosine", **r1(logits + w * best.values)} for w in COSINE_WEIGHTS]


# ---- wrong captions, and written ones -------------------------------------------------------------------------------


def auc(scores: Tensor, right: Tensor) -> float:
    """The chance that a right pair scores above a wrong one."""
    good, bad = scores[right], scores[~right]
    return ((good[:, None] > bad).float() + 0.5 * (good[:, None] == bad)).mean().item()


def verdicts(folder: Path, matcher: Matcher) -> list[dict]:
    """Each picture with one of its captions, 30 % of which are swapped for another picture's (CapFilt's test); the same with
    captions that are wrong in a word or two; and with text from outside the world."""
    rng = random.Random(9)
    paths, facts = folder_of(folder)
    states, shown = matcher.images(paths), [scene_of(f) for f in facts]
    own = [rng.choice(f["captions"]) for f in facts]

    def swapped(i: int) -> str:
        return next(t for t in iter(lambda: rng.choice(own), None) if not fits(parse(t), shown[i]))

    def near(i: int) -> str | None:
        return wrong_caption(shown[i], rng.getrandbits(32), rng)

    out = []
    for name, wrong in (("swapped", swapped), ("near", near), ("outside", lambda _: strange_text(rng))):
        texts, right = list(own), torch.ones(len(own), dtype=torch.bool)
        for i in range(len(own)):
            if rng.random() < 0.3 and (text := wrong(i)):
                texts[i], right[i] = text, False
        logits = matcher.match(texts, states)
        p = logits.sigmoid()
        out.append({
            "wrong": name, "pairs": len(texts), "planted": int((~right).sum()), "auc": round(auc(logits, right), 4),
            "ece": round(calibration_error(p, right.float()), 4), "right_above_half": round((p[right] > 0.5).float().mean().item(), 4),
            "wrong_above_half": round((p[~right] > 0.5).float().mean().item(), 4),
        })
    return out


def written(folder: Path, matcher: Matcher) -> dict:
    paths, facts = folder_of(folder)
    captions = matcher.captions(paths)
    tallies: dict[str, list[bool]] = {"parsed": [], "objects": [], "relation": [], "count": [], "background": [], "everything": []}
    for text, fact in zip(captions, facts):
        scene = scene_of(fact)
        try:
            claim = parse(text)
        except ValueError:
            claim = None
        kinds = claim is not None and {c for c, _, _ in claim.needs} == {c for c, _ in scene.groups}
        tallies["parsed"].append(claim is not None)
        tallies["objects"].append(kinds)
        tallies["count"].append(kinds and all(low <= scene.count_of(c) <= high for c, low, high in claim.needs))
        tallies["background"].append(claim is not None and claim.background == scene.background)
        tallies["everything"].append(kinds and fits(claim, scene))
        if scene.relation:
            tallies["relation"].append(claim is not None and claim.relation is not None and related(scene, *claim.relation))
    shares = {k: round(sum(v) / len(v), 4) for k, v in tallies.items()}
    return {"captions": len(captions), **shares, "examples": captions[:5]}


def main() -> None:
    models = Path(__file__).resolve().parent.parent / "assets/models"
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--scenes", type=Path, help="a folder from scenes.py")
    p.add_argument("--sets", type=Path, help="a folder from scenes.py --sets")
    p.add_argument("--model", type=Path, default=models / "demo-blip")
    p.add_argument("--clip", type=Path, default=models / "demo-clip")
    p.add_argument("--depth", type=int, default=32, help="how many of CLIP's best are reranked")
    a = p.parse_args()
    transformers.logging.set_verbosity_error()  # each of the two models finds the other's weights unexpected
    matcher, clip = Matcher(a.model), Encoder(a.clip)
    rows: list[dict] = choices(a.sets, matcher, clip) if a.sets else []
    for row in rows:
        print(json.dumps(row), flush=True)
    if a.scenes:
        for row in [*reranking(a.scenes, matcher, clip, a.depth), *verdicts(a.scenes, matcher), written(a.scenes, matcher)]:
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
