"""Draws assets/readme.png: some queries and what `eyeshot search` finds for them among the shipped scenes.

    cargo run -- demo --once && python training/readme_picture.py target/debug/eyeshot

The first hits are drawn as they come; nothing is picked by hand.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

from PIL import Image, ImageDraw, ImageFont

QUERIES = [
    ["a unicorn next to a kangaroo"],
    ["rockets at night"],
    ["--image", "assets/scenes/0045.jpg", "--plus", "2:house", "--filter", "background = night"],
]
HITS, SIDE, GAP, TEXT = 5, 180, 10, 34
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf"


def hits(program: str, query: list[str]) -> list[dict]:
    out = subprocess.run([program, "search", "-c", "demo", "--json", "-t", str(HITS), *query], check=True,
                         capture_output=True, text=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def main(program: str) -> None:
    row = SIDE + TEXT + GAP
    picture = Image.new("RGB", (HITS * (SIDE + GAP) + GAP, len(QUERIES) * row + GAP), "white")
    draw = ImageDraw.Draw(picture)
    big, small = ImageFont.truetype(FONT, 17), ImageFont.truetype(FONT, 13)
    for at, query in enumerate(QUERIES):
        top = GAP + at * row
        shown = " ".join(f'"{q}"' if " " in q else q for q in query)
        draw.text((GAP, top), f"$ eyeshot search {shown}", "black", big)
        for place, hit in enumerate(hits(program, query)):
            left = GAP + place * (SIDE + GAP)
            with Image.open(unquote(hit["key"].removeprefix("file://"))) as image:
                picture.paste(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, top + TEXT - 6))
            draw.rectangle((left, top + SIDE + TEXT - 26, left + 48, top + SIDE + TEXT - 7), "white")
            draw.text((left + 4, top + SIDE + TEXT - 24), f"{hit['score']:.3f}", "black", small)
    picture.quantize(200).save(Path("assets/readme.png"), optimize=True)


if __name__ == "__main__":
    main(sys.argv[1])
