"""The training loop that every demo model uses: processes that share gradients, a schedule by the clock, averaged weights,
checkpoints, reports. What is trained is a `Task`."""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

HERE = Path(__file__).resolve().parent


class Task(Protocol):
    """What a trainer brings. It is made before the processes fork, so what it holds (sprites, tokenizers) is shared."""

    def make(self) -> nn.Module:
        """A fresh network, the same every time under the same torch seed."""

    def batches(self, size: int, seed: str) -> IterableDataset:
        """Endless batches; each has `to(device)`."""

    def losses(self, net: nn.Module, batch: object, done: float) -> dict[str, Tensor]:
        """The weighted parts of the loss, `done` (0..1) of the schedule being over."""

    def measure(self, net: nn.Module) -> str:
        """What a report says of the averaged weights."""

    def export(self, net: nn.Module) -> None:
        """Writes the averaged weights as users load them."""


class Peers:
    """The processes that train together, each on one thread, and the memory through which they add up gradients.

    On a busy CPU this is several times faster than one process with as many threads, which wait for one another at every
    operation; here they wait once a step. The first one leads: it tells the time, measures and saves.
    """

    def __init__(self, count: int, numbers: int) -> None:
        self.count = count
        self.gradients = torch.zeros(count, numbers).share_memory_()
        self.clock = torch.zeros(1, dtype=torch.float64).share_memory_()
        self.barrier = mp.get_context("fork").Barrier(count, timeout=600)

    def average_gradients(self, net: nn.Module, rank: int) -> None:
        if self.count == 1:
            return
        parameters = list(net.parameters())
        torch.cat([p.grad.flatten() for p in parameters], out=self.gradients[rank])
        self.barrier.wait()
        mean = self.gradients.mean(0)
        self.barrier.wait()
        for p, g in zip(parameters, mean.split([p.numel() for p in parameters])):
            p.grad.copy_(g.view_as(p))

    def share_clock(self, seconds: float, rank: int) -> float:
        """The leader's seconds, for everyone, so that all agree on the learning rate and on the end."""
        if rank == 0:
            self.clock[0] = seconds
        self.barrier.wait()
        return self.clock.item()


def learning_rate(peak: float, done: float, step: int) -> float:
    """Warm-up over 150 steps, then a cosine over the share of the time that is used up."""
    return peak * min(1, (step + 1) / 150) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1))))


@torch.no_grad()
def average(mean: nn.Module, net: nn.Module, step: int) -> None:
    """Exponential moving average of the weights; its window grows with the steps taken."""
    keep = min(0.998, (step + 1) / (step + 10))
    torch._foreach_lerp_(list(mean.parameters()), list(net.parameters()), 1 - keep)


@dataclass
class State:
    """Everything that a checkpoint holds."""

    net: nn.Module
    mean: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    samples: int = 0
    spent: float = 0.0

    @classmethod
    def fresh(cls, task: Task, a: argparse.Namespace) -> State:
        torch.manual_seed(a.seed)
        net, mean = (task.make().to(a.device) for _ in range(2))
        mean.load_state_dict(net.state_dict())
        groups = [
            {"params": [p for p in net.parameters() if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return cls(net, mean, torch.optim.AdamW(groups, a.lr, betas=(0.9, 0.98), fused=True))

    def save(self, run: Path) -> None:
        run.mkdir(parents=True, exist_ok=True)
        state = {k: v if isinstance(v, (int, float)) else v.state_dict() for k, v in vars(self).items()}
        torch.save(state, run / "new.pt")
        os.replace(run / "new.pt", run / "last.pt")

    def load(self, run: Path, device: str) -> None:
        for k, v in torch.load(run / "last.pt", map_location=device, weights_only=True).items():
            if isinstance(v, (int, float)):
                setattr(self, k, v)
            else:
                getattr(self, k).load_state_dict(v)


def train(task: Task, a: argparse.Namespace) -> None:
    torch.set_num_threads(1)  # before the fork: threads that already run would not survive it
    peers = Peers(a.processes, sum(p.numel() for p in task.make().parameters()))
    others = [
        mp.get_context("fork").Process(target=_train_one, args=(task, a, peers, rank), daemon=True)
        for rank in range(1, a.processes)
    ]
    for other in others:
        other.start()
    _train_one(task, a, peers, 0)


def _train_one(task: Task, a: argparse.Namespace, peers: Peers, rank: int) -> None:
    state = State.fresh(task, a)
    if a.resume:
        state.load(a.run, a.device)
    net, device = state.net, torch.device(a.device)
    data = task.batches(a.batch, f"{a.seed} {state.step} {rank}")
    batches = iter(DataLoader(data, batch_size=None, num_workers=a.workers))
    journal = Journal(task, a, state) if rank == 0 else None
    start, total = time.time() - state.spent, a.minutes * 60
    net.train()
    while (spent := peers.share_clock(time.time() - start, rank)) < total:
        for group in state.optimiser.param_groups:
            group["lr"] = learning_rate(a.lr, spent / total, state.step)
        batch = next(batches).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=not a.f32):
            parts = task.losses(net, batch, spent / total)
        state.optimiser.zero_grad(set_to_none=True)
        sum(parts.values()).backward()
        peers.average_gradients(net, rank)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        state.optimiser.step()
        average(state.mean, net, state.step)
        state.step, state.samples, state.spent = state.step + 1, state.samples + a.batch * peers.count, spent
        if journal:
            journal.turn(state, parts)
    if journal:
        journal.close(state)


class Journal:
    """What the leader does now and then: report on held-out scenes, save a checkpoint, and export at the end."""

    def __init__(self, task: Task, a: argparse.Namespace, state: State) -> None:
        self.task, self.a = task, a
        self.last, self.last_samples, self.last_cpu = time.time(), state.samples, time.process_time()
        print(f"{sum(p.numel() for p in state.net.parameters()) / 1e6:.2f} M parameters with the heads of training", flush=True)

    def turn(self, state: State, parts: dict[str, Tensor]) -> None:
        wall = time.time() - self.last
        if wall < self.a.report:
            return
        told = " ".join(f"{k} {v.item():.3f}" for k, v in parts.items())
        rate = (state.samples - self.last_samples) / wall
        share = (time.process_time() - self.last_cpu) / wall
        state.save(self.a.run)
        print(f"{state.spent:.0f}s step {state.step} samples {state.samples} {rate:.0f}/s (core share {share:.2f}) {told} "
              f"| {self.task.measure(state.mean)}", flush=True)
        self.last, self.last_samples, self.last_cpu = time.time(), state.samples, time.process_time()

    def close(self, state: State) -> None:
        state.save(self.a.run)
        print(f"final: {state.spent:.0f}s samples {state.samples} | {self.task.measure(state.mean)}", flush=True)
        self.task.export(state.mean)


def add_arguments(p: argparse.ArgumentParser, name: str, minutes: float) -> None:
    """The options of every trainer; `name` is the model's, as in assets/models/demo-NAME."""
    p.add_argument("--minutes", type=float, default=minutes, help="length of the whole schedule, earlier parts included")
    p.add_argument("--resume", action="store_true")
    p.add_argument("--export-only", action="store_true", help="exports the last checkpoint's averaged weights")
    p.add_argument("--run", type=Path, default=HERE / "runs" / name, help="checkpoints")
    p.add_argument("--out", type=Path, default=HERE.parent / f"assets/models/demo-{name}")
    p.add_argument("--device", default="cpu")
    p.add_argument("--processes", type=int, default=2, help="that train together, one thread each; 1 on a GPU")
    p.add_argument("--workers", type=int, default=0, help="that draw scenes for each of them; as many as there are cores on a GPU")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--batch", type=int, default=64, help="samples a step and process")
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--angles", type=int, default=3, help="drawn rotations of each glyph at each size")
    p.add_argument("--report", type=float, default=180, help="seconds between reports, each with a checkpoint")
    p.add_argument("--f32", action="store_true", help="no bfloat16 autocast")


def run(task: Task, a: argparse.Namespace) -> None:
    """Trains, or exports what was trained."""
    if not a.export_only:
        return train(task, a)
    net = task.make()
    net.load_state_dict(torch.load(a.run / "last.pt", map_location="cpu", weights_only=True)["mean"])
    task.export(net)
