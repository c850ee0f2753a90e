"""The demo BLIP while it is trained: a `BlipForImageTextRetrieval` and a text decoder that share what BLIP shares.

Text encoder and decoder are one but for their self-attention. Captions are read without their padding, and all captions of a
picture in one go, so that its keys and values are made once; `test_blip.py` holds this to what transformers computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import BertTokenizer, BlipConfig, BlipForImageTextRetrieval
from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel, BlipTextModel, BlipTextSelfAttention

from align import Prototypes
from blip_tokenizer import TEXT_LEN
from data import BACKGROUND_LABEL, GRID, PATCH, SIZE


@dataclass
class Reading:
    """What a text tower made of captions: per layer the states of the tokens that are not padding, (N, W), with `where` they
    stand in the (rows * length) grid; and per layer the cross-attention (B, n, L, 1 + GRID²), averaged over heads."""

    layers: list[Tensor]
    attention: list[Tensor]
    where: Tensor
    rows: int
    length: int

    def first(self) -> Tensor:
        """The last layer's states of each row's first token, (rows, W)."""
        return self.layers[-1][self.where % self.length == 0]


class Trainee(nn.Module):
    """The networks that are exported, and the heads that only training sees."""

    def __init__(self, config: BlipConfig) -> None:
        super().__init__()
        self.retrieval = BlipForImageTextRetrieval(config)
        self.decoder = BlipTextLMHeadModel(config.text_config)
        _draw_text_weights(self)
        _share(self.retrieval.text_encoder, self.decoder)
        width = config.vision_config.hidden_size
        self.logit_scale = nn.Parameter(torch.tensor(2.66))
        self.prototypes = Prototypes(config.image_text_hidden_size)
        self.patch_head = nn.Linear(width, BACKGROUND_LABEL + 1)
        self.patch_place = nn.Linear(width, GRID * GRID)
        self.patch_count = nn.Linear(width, 5)
        self.patch_centre = nn.Linear(width, 1)
        self.noun_place = nn.Linear(width, 2)
        self.noun_count = nn.Linear(width, 5)
        self.truth_heads = nn.ModuleList([nn.Linear(width, 2) for _ in range(config.text_config.num_hidden_layers - 1)])

    def see(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalised -> states (B, 1 + GRID², W)."""
        return self.retrieval.vision_model(pixel_values=pixels).last_hidden_state

    def image_embedding(self, states: Tensor) -> Tensor:
        return F.normalize(self.retrieval.vision_proj(states[:, 0]).float(), dim=-1)

    def text_embedding(self, ids: Tensor) -> Tensor:
        """(B, L) ids -> unit (B, W)."""
        first = read(self.retrieval.text_encoder, ids[:, None]).first()
        return F.normalize(self.retrieval.text_proj(first).float(), dim=-1)

    def match(self, ids: Tensor, states: Tensor) -> tuple[Tensor, Reading]:
        """(B, n, L) captions, n to a picture -> logits (B, n, 2)."""
        reading = read(self.retrieval.text_encoder, ids, states)
        return self.retrieval.itm_head(reading.first()).view(*ids.shape[:2], 2).float(), reading

    def speak(self, ids: Tensor, states: Tensor) -> tuple[Tensor, Reading]:
        """(B, L) ids that start with [DEC] -> logits of each next token, (N, V), without padding."""
        reading = read(self.decoder.bert, ids[:, None], states, causal=True)
        return self.decoder.cls(reading.layers[-1]).float(), reading

    @torch.inference_mode()
    def captions(self, states: Tensor, tokenizer: BertTokenizer, longest: int = 24) -> list[str]:
        """Greedy captions."""
        ids = torch.full((len(states), 1), tokenizer.bos_token_id)
        ended = torch.zeros(len(states), dtype=torch.bool)
        while len(ids[0]) < longest and not ended.all():
            last = self.speak(ids, states)[0].view(len(ids), -1, len(tokenizer))[:, -1].argmax(-1)
            ids = torch.cat([ids, torch.where(ended, tokenizer.sep_token_id, last)[:, None]], 1)
            ended |= last == tokenizer.sep_token_id
        return tokenizer.batch_decode(ids, skip_special_tokens=True)


def read(tower: BlipTextModel, ids: Tensor, image: Tensor | None = None, causal: bool = False) -> Reading:
    """(B, n, L) ids, padded with 0, n captions to a picture; image (B, P, W) where the words may look at it."""
    b, n, length = ids.shape
    rows = ids.reshape(b * n, length)
    real = rows != 0
    where = real.flatten().nonzero()[:, 0]
    allowed = real[:, None, None, :]
    if causal:
        allowed = allowed & torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
    x = tower.embeddings(input_ids=rows).flatten(0, 1)[where]
    out = Reading([], [], where, b * n, length)
    for layer in tower.encoder.layer:
        sight, _ = _attend(layer.attention.self, x, x, where, b * n, length, allowed)
        x = layer.attention.output(sight, x)
        if image is not None:
            sight, weights = _attend(layer.crossattention.self, x, image, where, b, n * length, None)
            x = layer.crossattention.output(sight, x)
            out.attention.append(weights.mean(1).view(b, n, length, -1))
        x = layer.output(layer.intermediate(x), x)
        out.layers.append(x)
    return out


def _attend(
    a: BlipTextSelfAttention, x: Tensor, seen: Tensor, where: Tensor, rows: int, length: int, allowed: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Attention of unpadded tokens x (N, W), which stand at `where` in (rows * length), to themselves or to seen (rows, P, W)."""

    def heads(t: Tensor) -> Tensor:
        if t.ndim == 2:
            t = t.new_zeros(rows * length, t.shape[-1]).index_copy(0, where, t).view(rows, length, -1)
        return t.unflatten(-1, (a.num_attention_heads, a.attention_head_size)).transpose(1, 2)

    scores = heads(a.query(x)) @ heads(a.key(seen)).transpose(-1, -2) / a.attention_head_size**0.5
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -1e4)
    weights = scores.softmax(-1)
    sight = (weights.to(scores.dtype) @ heads(a.value(seen))).transpose(1, 2).reshape(rows * length, -1)
    return sight[where], weights


def _share(encoder: BlipTextModel, decoder: BlipTextLMHeadModel) -> None:
    decoder.bert.embeddings = encoder.embeddings
    for mine, theirs in zip(decoder.bert.encoder.layer, encoder.encoder.layer):
        mine.crossattention, mine.intermediate, mine.output = theirs.crossattention, theirs.intermediate, theirs.output
    decoder.cls.predictions.decoder.weight = encoder.embeddings.word_embeddings.weight
    decoder.cls.predictions.decoder.bias = decoder.cls.predictions.bias


def _draw_text_weights(net: Trainee) -> None:
    """Wider than transformers' 0.02, at which attention over so few channels starts all but flat."""
    for part in (net.retrieval.text_encoder, net.decoder):
        for module in part.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=0.05)


def config_of(tokenizer: BertTokenizer, width: int, vision_layers: int, text_layers: int) -> BlipConfig:
    return BlipConfig(
        architectures=["BlipForImageTextRetrieval", "BlipForConditionalGeneration"],
        image_text_hidden_size=width, projection_dim=width,
        vision_config=dict(hidden_size=width, intermediate_size=4 * width, projection_dim=width, num_attention_heads=width // 64,
                           num_hidden_layers=vision_layers, image_size=SIZE, patch_size=PATCH, initializer_range=0.02),
        text_config=dict(hidden_size=width, encoder_hidden_size=width, intermediate_size=2 * width, projection_dim=width,
                         num_attention_heads=width // 32, num_hidden_layers=text_layers, max_position_embeddings=TEXT_LEN,
                         vocab_size=len(tokenizer), layer_norm_eps=1e-6, bos_token_id=tokenizer.bos_token_id,
                         eos_token_id=tokenizer.sep_token_id, sep_token_id=tokenizer.sep_token_id,
                         pad_token_id=tokenizer.pad_token_id),
    )


@torch.no_grad()
def start_from_clip(net: Trainee, clip: Path, pixels: Tensor) -> None:
    """Fills the vision tower with the demo CLIP's. BLIP has no layer norm before its layers: what CLIP's does to `pixels` on
    average is folded into the embeddings."""
    old = {k.removeprefix("vision_model."): v.float() for k, v in load_file(clip / "model.safetensors").items()}
    vision = net.retrieval.vision_model
    new = {}
    for name, value in vision.state_dict().items():
        source = name.replace("projection", "out_proj") if "self_attn" in name else name
        if ".qkv." in name:
            new[name] = torch.cat([old[name.replace("qkv", f"{p}_proj")] for p in "qkv"])
        elif name.startswith("encoder.") or name.startswith("post_layernorm"):
            new[name] = old[source]
    patches = F.conv2d(pixels, old["embeddings.patch_embedding.weight"], stride=PATCH).flatten(2).transpose(1, 2)
    place, first = old["embeddings.position_embedding.weight"], old["embeddings.class_embedding"]
    states = torch.cat([first.expand(len(pixels), 1, -1), patches], 1) + place
    gain, mean = old["pre_layrnorm.weight"] / states.std(-1).mean(), states.mean()
    new |= {
        "embeddings.class_embedding": (first * gain).view(1, 1, -1),
        "embeddings.position_embedding": ((place - mean) * gain + old["pre_layrnorm.bias"])[None],
        "embeddings.patch_embedding.weight": old["embeddings.patch_embedding.weight"] * gain.view(-1, 1, 1, 1),
        "embeddings.patch_embedding.bias": torch.zeros_like(first),
    }
    vision.load_state_dict(new)
    net.retrieval.vision_proj.weight.copy_(load_file(clip / "model.safetensors")["visual_projection.weight"].float())
