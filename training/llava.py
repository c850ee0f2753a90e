"""The demo LLaVA as training sees it: projector and language model, the losses, and the heads that only training sees."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, PreTrainedTokenizerFast

from align import one_of
from data import BACKGROUND_LABEL, GRID, UNSURE, normalise
from llava_tokenizer import CONTEXT
from quiz import FINDING, MOST_IMAGES, PATCHES, READING, Batch
from world import BACKGROUNDS, RELATIONS, concepts

TURNS = 300.0  # RoPE's base: its slowest wave is about as long as the longest prompt, so that none is wasted
GUIDED_LAYERS = {FINDING: 1, READING: 3}
GUIDED_HEADS = 3  # of these layers, the first ones; the others look where they like
PLACED_AFTER, FOUND_AFTER, KNOWN_AFTER = 1, 2, 3
"""After so many layers patches must tell their place, nouns what shows them, and patches and the answer's start what they know."""


def config_of(tokenizer: PreTrainedTokenizerFast, clip: Path, width: int, layers: int, heads: int) -> LlavaConfig:
    """LLaVA-1.5's layout around the demo CLIP's vision tower."""
    vision = CLIPConfig.from_pretrained(clip).vision_config
    special = dict(bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    text = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=8 * width // 3, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=CONTEXT, rms_norm_eps=1e-5,
        tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": TURNS}, **special,
    )
    return LlavaConfig(
        vision_config=vision, text_config=text, image_token_index=tokenizer.image_token_id, image_seq_length=PATCHES,
        projector_hidden_act="gelu", vision_feature_layer=-2, vision_feature_select_strategy="default", tie_word_embeddings=True,
        **special,
    )


class Eyes(nn.Module):
    """The frozen vision tower up to its last layer but one, in half precision; it has nothing to learn."""

    def __init__(self, clip: Path, dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__()
        self.dtype = dtype
        self.tower = CLIPModel.from_pretrained(clip).vision_model.to(dtype).eval().requires_grad_(False)
        del self.tower.encoder.layers[-1]

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) bytes -> the states of the patches that LLaVA reads, (B, PATCHES, W)."""
        return self.tower(pixel_values=normalise(pixels).to(self.dtype)).last_hidden_state[:, 1:]


class Trainee(nn.Module):
    """A `LlavaForConditionalGeneration` without its vision tower, and the heads that the export drops."""

    def __init__(self, config: LlavaConfig, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        whole = LlavaForConditionalGeneration._from_config(config, attn_implementation="eager")
        self.projector, self.language = whole.model.multi_modal_projector, whole.model.language_model
        width = config.text_config.hidden_size
        self.place_heads = nn.ModuleList(nn.Linear(width, n) for n in (MOST_IMAGES, GRID, GRID))
        self.fact_heads = nn.ModuleList(nn.Linear(width, n) for n in (4, len(RELATIONS)))
        self.shown_head, self.rest_head = (nn.Linear(width, MOST_IMAGES) for _ in range(2))
        self.scale = nn.Parameter(torch.tensor(10.0))
        names = [c.name for c in concepts()] + list(BACKGROUNDS)
        words = tokenizer([f" {n}" for n in names], add_special_tokens=False, padding=True, return_tensors="pt")
        self.register_buffer("names", words.input_ids, persistent=False)
        self.register_buffer("named", words.attention_mask.float(), persistent=False)

    def embed(self, ids: Tensor) -> Tensor:
        return self.language.embed_tokens(ids)

    def say(self, states: Tensor) -> Tensor:
        """Logits over the vocabulary; input and output share their embeddings."""
        return F.linear(states, self.language.embed_tokens.weight)

    def words(self) -> Tensor:
        """One vector for each concept and background: the mean of its words' embeddings."""
        return (self.embed(self.names) * self.named[..., None]).sum(1) / self.named.sum(1, keepdim=True)


def visible(b: Batch) -> Tensor:
    """(S, 1, T, T), added to attention scores: what stands before, in the shared part or in the own question."""
    own, other = b.segments[:, :, None], b.segments[:, None, :]
    length = b.ids.shape[1]
    before = torch.ones(length, length, dtype=torch.bool, device=b.ids.device).tril()
    may = before & ((other == 0) | (own == other))
    device = b.ids.device
    dtype = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else torch.float32
    return torch.zeros(may.shape, dtype=dtype, device=device).masked_fill(~may, torch.finfo(dtype).min)[:, None]


def losses(net: Trainee, eyes: Eyes, b: Batch, done: float) -> dict[str, Tensor]:
    """The weighted parts of the loss, `done` (0..1) of the schedule being over."""
    seen = net.projector(eyes(b.pixels).to(net.scale.dtype)) if len(b.pixels) else None
    out = read(net, b, seen)
    rows, before, token, _ = b.answers.unbind(1)
    wrong = F.cross_entropy(net.say(out.last_hidden_state[rows, before]).float(), token, reduction="none")
    parts = {"answer": (wrong * b.emphasis).sum() / b.emphasis.sum()}
    if seen is None:
        return parts | {"unused": 0 * sum(p.sum() for p in net.parameters())}
    early = max(0.2, 1 - 1.6 * done)
    return parts | {
        "guide": 0.5 * guide(out.attentions, b),
        "align": 0.5 * early * align(net, seen, b),
        "place": 0.5 * early * place(net, out.hidden_states[PLACED_AFTER][:, b.images], b),
        "facts": 0.2 * early * facts(net, out.hidden_states[KNOWN_AFTER][:, b.images], b),
        "which": 0.4 * which(net, out.hidden_states, b),
    }


def read(net: Trainee, b: Batch, seen: Tensor | None):
    """Runs the language model over the batch."""
    embedded = net.embed(b.ids)
    if seen is not None:
        embedded = embedded.index_copy(1, b.images, seen.reshape(len(b.ids), -1, seen.shape[-1]).to(embedded.dtype))
    return net.language(inputs_embeds=embedded, attention_mask=visible(b), position_ids=b.positions, use_cache=False,
                        output_attentions=True, output_hidden_states=True)


def guide(attentions: tuple[Tensor, ...], b: Batch) -> Tensor:
    """How little a named thing's attention lies on the patches that show it: -log of the mass there."""
    total = torch.zeros((), device=b.ids.device)
    for way, layer in GUIDED_LAYERS.items():
        chosen = (b.guides[:, 2] == way) & b.guided.any(1)
        if chosen.any():
            row, position, _ = b.guides[chosen].unbind(1)
            on_images = attentions[layer][:, :GUIDED_HEADS].transpose(1, 2)[row, position][..., b.images].float()
            mass = (on_images * b.guided[chosen][:, None]).sum(-1)
            total = total - torch.log(mass + 1e-4).mean()
    return total


def which(net: Trainee, states: tuple[Tensor, ...], b: Batch) -> Tensor:
    """A noun should tell which pictures show it, and what comes before the answer, on which pictures it will rest."""
    found = b.guides[:, 2] == FINDING
    row, position, _ = b.guides[found].unbind(1)
    shown = b.guided[found].unflatten(1, (-1, PATCHES)).any(-1).float()
    told = net.shown_head(states[FOUND_AFTER][row, position])[:, : shown.shape[1]]
    rests = net.rest_head(states[KNOWN_AFTER][tuple(b.starts.unbind(1))])
    return _each(told, shown) + _each(rests, b.rests)


def _each(logits: Tensor, truth: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="sum") / max(truth.numel(), 1)


def align(net: Trainee, seen: Tensor, b: Batch) -> Tensor:
    """A patch should look like the word for what covers it, or for the background: both share one space from the start."""
    words = F.normalize(net.words().float(), dim=-1)
    logits = net.scale * F.normalize(seen.float(), dim=-1) @ words.T
    target = torch.where(b.kinds == BACKGROUND_LABEL, BACKGROUND_LABEL + b.grounds[:, None], b.kinds)
    weights = torch.ones(len(words), device=words.device)
    weights[BACKGROUND_LABEL:] = 0.1
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), weights, ignore_index=UNSURE)


def place(net: Trainee, states: Tensor, b: Batch) -> Tensor:
    """Each patch tells its picture's number, its row and its column."""
    at = torch.arange(states.shape[1], device=states.device).expand(len(states), -1)
    truths = (at // PATCHES, at % PATCHES // GRID, at % GRID)
    return sum(one_of(head(states).flatten(0, 1), t.flatten()) for head, t in zip(net.place_heads, truths)) / 3


def facts(net: Trainee, states: Tensor, b: Batch) -> Tensor:
    """Each patch of an object tells how many of it there are, and how it stands to the other one."""
    truths = (b.counts, b.roles)
    return sum(one_of(head(states).flatten(0, 1), t.flatten()) for head, t in zip(net.fact_heads, truths)) / 2
