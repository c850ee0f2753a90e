"""Writes the demo LLaVA in Hugging Face layout, half precision, without the vision tower: that one is the demo CLIP's."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPImageProcessor, CLIPModel, GenerationConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor, PreTrainedTokenizerFast,
    logging,
)

from llava import Trainee
from llava_tokenizer import CHAT_TEMPLATE, IMAGE

TOWER = "vision_tower."
ANSWER_TOKENS = 40  # longer than any answer


def export(net: Trainee, config: LlavaConfig, tokenizer: PreTrainedTokenizerFast, clip: Path, out: Path) -> None:
    whole = LlavaForConditionalGeneration(config)
    whole.model.multi_modal_projector.load_state_dict(net.projector.state_dict())
    whole.model.language_model.load_state_dict(net.language.state_dict())
    whole.tie_weights()
    whole.generation_config = GenerationConfig(
        do_sample=False, max_new_tokens=ANSWER_TOKENS, bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
    )
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:  # as transformers names them; then without the tower
        whole.half().save_pretrained(folder)
        tensors = {k: v for k, v in load_file(Path(folder) / "model.safetensors").items() if TOWER not in k}
        told = json.loads((Path(folder) / "config.json").read_text())
        told["text_config"]["rope_theta"] = told["text_config"]["rope_parameters"]["rope_theta"]  # where older readers look
        told["mm_vision_tower"] = "demo"  # whose tower it sees through, so that the directory loads by its path too
        _write(out / "config.json", told)
        _write(out / "generation_config.json", json.loads((Path(folder) / "generation_config.json").read_text()))
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    LlavaProcessor(
        CLIPImageProcessor.from_pretrained(clip), tokenizer, patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy=config.vision_feature_select_strategy, chat_template=CHAT_TEMPLATE, image_token=IMAGE,
        num_additional_image_tokens=1,
    ).save_pretrained(out)
    CLIPImageProcessor.from_pretrained(clip).save_pretrained(out)
    told = json.loads((out / "tokenizer_config.json").read_text())
    _write(out / "tokenizer_config.json", told | {"chat_template": CHAT_TEMPLATE})
    print("exported to", out, flush=True)


def _write(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def load(folder: Path, clip: Path) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """An export in single precision, its vision tower put in from the demo CLIP."""
    logging.set_verbosity_error()  # it would list the tower's tensors as missing
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    tower = CLIPModel.from_pretrained(clip, dtype=torch.float32).vision_model
    model.model.vision_tower.load_state_dict(tower.state_dict())
    return model.eval(), LlavaProcessor.from_pretrained(folder)
