"""Builds assets/concepts.json from the curated list in concepts.txt; emojibase-data confirms each glyph and gives its group.

    python training/make_concepts.py path/to/emojibase-data
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TAKES_A = {"unicorn", "ufo", "ewe"}
TAKES_AN = {"hourglass"}


def pluralise(word: str) -> str:
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def forms(entry: str) -> tuple[str, tuple[str, str]]:
    """"wolf=wolves" -> ("wolf", ("a wolf", "wolves")); "grapes*" -> ("grapes", ("grapes", "grapes"))."""
    if entry.endswith("*"):
        word = entry[:-1]
        return word, (word, word)
    word, _, plural = entry.partition("=")
    vowel = (word[0] in "aeiou" and word not in TAKES_A) or word in TAKES_AN
    return word, (f"{'an' if vowel else 'a'} {word}", plural or pluralise(word))


def main(emojibase: Path) -> None:
    names = {g["order"]: g["key"] for g in json.loads((emojibase / "en/messages.json").read_text())["groups"]}
    known = {
        e["emoji"].rstrip("\ufe0f"): (e["emoji"], names[e["group"]])
        for e in json.loads((emojibase / "en/data.json").read_text())
        if "group" in e
    }
    rows, owner = [], {}
    for line in (HERE / "concepts.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        glyph, _, rest = line.partition(" ")
        emoji, group = known[glyph.rstrip("\ufe0f")]
        name, _, synonyms = rest.partition(": ")
        words = dict(forms(w.strip()) for w in [name, *filter(None, synonyms.split(", "))])
        for word, (_, plural) in words.items():
            for form in {word, plural}:
                if owner.setdefault(form, emoji) != emoji:
                    sys.exit(f"{form!r} names two concepts: {owner[form]} and {emoji}")
        first, *others = words
        rows.append({"name": first, "emoji": emoji, "synonyms": others, "group": group, "forms": words})
    out = "[\n" + ",\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n]\n"
    (HERE.parent / "assets/concepts.json").write_text(out)
    print(len(rows), "concepts")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
