"""Losses that line up an image tower with a text tower, and the heads that only training sees."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import BACKGROUND_LABEL, UNSURE, Batch
from world import BACKGROUNDS, MANY, concepts


def also_fits(b: Batch) -> Tensor:
    """(texts, images) mask: whether text i's needs and background hold for image j (relations are not looked at)."""
    fit = torch.ones(len(b.needs), len(b.pixels), dtype=torch.bool, device=b.needs.device)
    for concept, least, most in (need.unbind(1) for need in b.needs.unbind(1)):
        have = b.kinds[:, concept].T
        fit &= (most[:, None] < 0) | ((have >= least[:, None]) & (have <= most[:, None]))
    return fit & ((b.said[:, None] == UNSURE) | (b.said[:, None] == b.background[None]))


def contrastive(image: Tensor, text: Tensor, scale: Tensor, b: Batch) -> Tensor:
    """Both ways, over unit embeddings; captions that also fit another image of the batch are no negatives."""
    own = torch.eye(len(image), dtype=torch.bool, device=image.device)
    logits = (scale * text @ image.T).masked_fill(also_fits(b) & ~own, float("-inf"))
    target = torch.arange(len(image), device=image.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


class Prototypes(nn.Module):
    """One linear head that reads the kinds (and one for count, one for background) from images *and* texts: with common
    prototypes the two towers line up directly."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kinds = nn.Linear(width, len(concepts()))
        self.count = nn.Linear(width, 5)
        self.background = nn.Linear(width, len(BACKGROUNDS))

    def forward(self, image: Tensor, text: Tensor, b: Batch) -> Tensor:
        """The loss over unit embeddings (B, W) of both."""
        used = b.needs[..., 2] >= 0
        named = torch.zeros_like(b.kinds).scatter_add_(1, b.needs[..., 0], used.long()).clamp(max=1)
        exact = torch.where(b.needs[..., 2] < MANY, b.needs[..., 2], b.needs[..., 1]).clamp(min=0)
        single = used.sum(1) == 1
        counts = torch.where(single & (b.needs[:, 0, 2] < MANY), exact[:, 0], UNSURE)
        shown = torch.where((b.kinds > 0).sum(1) == 1, b.kinds.sum(1), UNSURE)
        image, text = image * 16, text * 16
        return (
            many_of(self.kinds(image), b.kinds > 0)
            + many_of(self.kinds(text), named > 0)
            + 0.3 * (one_of(self.count(image), shown) + one_of(self.count(text), counts))
            + 0.3 * (one_of(self.background(image), b.background) + one_of(self.background(text), b.said))
        )


def patch_loss(logits: Tensor, b: Batch) -> Tensor:
    """Which concept covers each patch; (B, GRID², K + 1) logits."""
    weights = torch.ones(BACKGROUND_LABEL + 1, device=logits.device)
    weights[BACKGROUND_LABEL] = 0.1
    return F.cross_entropy(logits.float().flatten(0, 1), b.patches.flatten(), weights, ignore_index=UNSURE)


def many_of(logits: Tensor, present: Tensor) -> Tensor:
    """Cross-entropy against the uniform distribution over the kinds that are present."""
    target = present.float() / present.sum(1, keepdim=True).clamp(min=1)
    return -(target * logits.float().log_softmax(-1)).sum(1).mean()


def one_of(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy that skips UNSURE rows and is 0 where all are."""
    return F.cross_entropy(logits.float(), target, ignore_index=UNSURE, reduction="sum") / (target != UNSURE).sum().clamp(min=1)


def hit_rate(scores: Tensor, relevant: Tensor, k: int) -> float:
    """Share of rows with a relevant column among the k best. Both (queries, items)."""
    best = scores.topk(k, dim=1).indices
    return relevant.gather(1, best).any(1).float().mean().item()
