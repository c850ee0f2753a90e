"""Draws recall against speed: one panel a query set and number of threads."""

import math

LEAST = 0.8
TICKS = [0.8, 0.9, 0.95, 0.98, 0.99, 0.995]


def draw(curves, n, dim, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(name for named in curves.values() for name in named))
    families = list(dict.fromkeys(family(name) for name in names if not name.startswith("eyeshot")))
    colours = {name: f"C{i + 1}" for i, name in enumerate(families)}
    columns = min(len(curves), 2)
    rows = math.ceil(len(curves) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(6.5 * columns, 4.6 * rows + 1), squeeze=False)
    for axis in axes.flat[len(curves):]:
        axis.set_visible(False)
    marks, seen = "os^vDP", {}
    for axis, (cell, named) in zip(axes.flat, curves.items()):
        for name, points in sorted(named.items(), key=lambda item: names.index(item[0])):
            style = dict(color="black", linewidth=2.4, marker="o", markersize=4, zorder=3)
            if not name.startswith("eyeshot"):
                of = family(name)
                mark = marks[[n for n in names if family(n) == of].index(name) % len(marks)]
                style = dict(color=colours[of], linewidth=1.1, marker=mark, markersize=3.5)
            elif "guided" not in name:
                style |= dict(linestyle="--", linewidth=1.6)
            shown = [(squash(r), qps) for r, qps in points if LEAST <= r < 0.9995]
            if shown:
                seen[name] = axis.plot(*zip(*shown), label=name, **style)[0]
        axis.set(title=cell, xlabel="recall@10", ylabel="queries a second", yscale="log")
        axis.set_xticks([squash(t) for t in TICKS], [f"{t:g}" for t in TICKS])
        axis.set_xlim(squash(LEAST), squash(0.998))
        axis.grid(alpha=0.3, which="both")
    figure.suptitle(f"{n:,} x {dim}: up and to the right is better")
    figure.legend(seen.values(), seen.keys(), loc="lower center", ncol=5, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.11 if rows == 1 else 0.07, 1, 1))
    figure.savefig(path, dpi=120)


def family(name):
    return name.rsplit(" M", 1)[0].split(" reorder")[0]


def squash(recall):
    """Each halving of what is missed takes as much room."""
    return -math.log2(1 - recall)
