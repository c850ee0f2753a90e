"""What the encoder's benches read: ViT-B/32 with random weights in the hub's layout and as ONNX, and pictures like photographs.

    python benches/encoder/make.py DIR [--count 200]

Writes DIR/model (CLIP: ViT-B/32, the text tower of the same release, 0.6 GB), DIR/vitb32.onnx, DIR/vitb32.int8.onnx, DIR/1mp (--count JPEGs of
1152 x 864) and DIR/12mp (a fifth as many of 4032 x 3024). Needs torch, transformers, onnx, onnxruntime, numpy, Pillow.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from PIL import Image, ImageDraw, ImageFilter
from transformers import CLIPConfig, CLIPModel

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent.parent / "assets/models/demo-clip"
PREPROCESSOR = """{"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_convert_rgb": true, "do_normalize": true,
"do_rescale": true, "do_resize": true, "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_processor_type": "CLIPImageProcessor",
"image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 224}}
"""


def checkpoint(folder):
    """openai/clip-vit-base-patch32's shapes, save for the tokenizer, which is the demo model's."""
    torch.manual_seed(1)
    text = {"hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8, "num_hidden_layers": 12, "vocab_size": 2569,
            "bos_token_id": 2567, "eos_token_id": 2568, "pad_token_id": 2568, "max_position_embeddings": 32}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config={"patch_size": 32}, projection_dim=512)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.02)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.05)
            elif "norm" in name:
                parameter.normal_(1, 0.2)
    model.config.architectures = ["CLIPModel"]
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(PREPROCESSOR)
    for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]:
        shutil.copy(DEMO / name, folder / name)
    return model


class Vision(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.tower, self.projection = model.vision_model, model.visual_projection

    def forward(self, pixels):
        return torch.nn.functional.normalize(self.projection(self.tower(pixel_values=pixels)[1]), dim=-1)


def export(model, folder):
    axes = {"pixels": {0: "batch"}, "embedding": {0: "batch"}}
    path = folder / "vitb32.onnx"
    torch.onnx.export(Vision(model), (torch.randn(2, 3, 224, 224),), path, input_names=["pixels"], output_names=["embedding"],
                      dynamic_axes=axes, opset_version=17, dynamo=False)
    quantize_dynamic(path, folder / "vitb32.int8.onnx", weight_type=QuantType.QInt8)


def picture(rng, width, height):
    """Gradients, soft and hard shapes, fine texture and sensor noise: about as many bytes a pixel as a camera's JPEG."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    base = np.zeros((height, width, 3), np.float32)
    for colour in range(3):
        a, b, c = rng.uniform(-90, 90, 3)
        base[..., colour] = 128 + a * x / width + b * y / height + c * np.sin(3 * x / width + 2 * y / height)
    image = Image.fromarray(base.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        cx, cy, r = rng.integers(0, width), rng.integers(0, height), rng.integers(height // 60, height // 5)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((cx - r, cy - r, cx + r, cy + r), fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    image = image.filter(ImageFilter.GaussianBlur(height / 1500))
    texture = Image.fromarray(rng.integers(0, 256, (height // 4, width // 4), dtype=np.uint8)).resize((width, height))
    grain = (np.asarray(texture, np.float32) - 128) * 0.12 + rng.normal(0, 4, (height, width)).astype(np.float32)
    return Image.fromarray((np.asarray(image, np.float32) + grain[..., None]).clip(0, 255).astype(np.uint8))


def pictures(folder, count, width, height):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number:04}.jpg"
        if not path.exists():
            picture(np.random.default_rng([width, number]), width, height).save(path, quality=88)
    size = sum(path.stat().st_size for path in folder.iterdir()) / count
    print(f"{folder}: {count} of {width} x {height}, {size / 1e6:.2f} MB each")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    args = parser.parse_args()
    pictures(args.folder / "1mp", args.count, 1152, 864)
    pictures(args.folder / "12mp", max(args.count // 5, 1), 4032, 3024)
    if not (args.folder / "vitb32.int8.onnx").exists():
        export(checkpoint(args.folder / "model"), args.folder)


if __name__ == "__main__":
    main()
