"""Makes vectors like CLIP's: clustered images, image queries drawn like them, and text queries across a modality gap.

Text queries (and the captions that guide the index) share the images' latent, but look at it coarsely, through a
distorted map, and round another mean: their nearest images lie far from them and from one another.
"""

import argparse
import pathlib

import numpy as np

LATENT = 256


class World:
    """Everything that images and texts have in common, drawn once from a seed."""

    def __init__(self, dim, concepts, seed):
        rng = np.random.default_rng(seed)
        spectrum = (np.arange(LATENT) + 2.0) ** -0.55
        spectrum /= np.sqrt((spectrum**2).sum())
        self.dim = dim
        self.spectrum = spectrum.astype(np.float32)
        # Concepts come in families: a concept is its family's centre and a step away from it.
        families = rng.standard_normal((max(concepts // 20, 1), LATENT), dtype=np.float32)
        self.concepts = 0.75 * families[rng.integers(len(families), size=concepts)]
        self.concepts += 0.66 * rng.standard_normal(self.concepts.shape, dtype=np.float32)
        share = 1.0 / (np.arange(concepts) + 20.0)
        self.share = share / share.sum()
        basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
        self.image_map = basis[:LATENT]
        twist = rng.standard_normal((LATENT, dim)) / np.sqrt(dim)
        self.text_map = (0.5 * self.image_map + 0.9 * twist).astype(np.float32)
        unit = lambda v: v / np.linalg.norm(v)
        self.image_mean = unit(rng.standard_normal(dim).astype(np.float32))
        self.text_mean = unit(rng.standard_normal(dim).astype(np.float32))

    def _latent(self, rng, n, spread):
        concept = rng.choice(len(self.concepts), size=n, p=self.share)
        step = rng.standard_normal((n, LATENT), dtype=np.float32)
        return (self.concepts[concept] + spread * step) * self.spectrum

    def _finish(self, rng, x, noise):
        x += noise / np.sqrt(self.dim) * rng.standard_normal(x.shape, dtype=np.float32)
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

    def images(self, n, seed):
        rng = np.random.default_rng(seed)
        x = self._latent(rng, n, 0.7) @ self.image_map + 0.9 * self.image_mean
        return self._finish(rng, x, 0.25)

    def texts(self, n, seed):
        rng = np.random.default_rng(seed)
        x = self._latent(rng, n, 1.0) @ self.text_map + 1.2 * self.text_mean
        return self._finish(rng, x, 0.4)


def make(out, n, dim, seed, queries=1000, samples=None, concepts=4000):
    """Writes base.npy, img.npy, txt.npy and samples.npy (sample texts, as many as images unless told) to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    world = World(dim, concepts, seed)
    np.save(out / "base.npy", world.images(n, seed + 1))
    np.save(out / "img.npy", world.images(queries, seed + 2))
    np.save(out / "txt.npy", world.texts(queries, seed + 3))
    np.save(out / "samples.npy", world.texts(samples or n, seed + 4))


def main():
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("out", type=pathlib.Path)
    parse.add_argument("-n", type=int, default=200_000)
    parse.add_argument("--dim", type=int, default=512)
    parse.add_argument("--queries", type=int, default=1000)
    parse.add_argument("--samples", type=int, help="sample texts (default: as many as images)")
    parse.add_argument("--concepts", type=int, default=4000)
    parse.add_argument("--seed", type=int, default=7)
    args = parse.parse_args()
    make(args.out, args.n, args.dim, args.seed, args.queries, args.samples, args.concepts)


if __name__ == "__main__":
    main()
