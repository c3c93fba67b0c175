"""Supernet of a plain ResNet: trained stage by stage, searched, subnets extracted; see docs/your-own-network.md."""

from dataclasses import dataclass

import numpy as np
import torch
from ordinary import ResNet, accuracy, draw_images, loss  # what you have: a network, a task

from search_spaces import Space, choice, repeat
from supernet import NSGA2, CostModel, Sampler, Supernet, audit, calibrate, search_front, stages


@dataclass(frozen=True)
class Arch:  # what varies
    widths: tuple[int, int]  # of each stage
    kernels: tuple[tuple[int, ...], ...]  # of each stage, of each of its blocks


def evaluate(arch):
    network = supernet.eval().extract(arch)  # an ordinary ResNet
    assert torch.equal(network(test[0]), supernet(test[0], arch))  # not nearly: the same numbers
    calibrate(network, seen.split(64))  # BatchNorm statistics of its own
    return accuracy(network, *test)


blocks, rng = repeat(choice(3, 5), depth=choice(1, 2, 3)), np.random.default_rng(0)
space = Space(Arch((choice(8, 12, 16), choice(16, 24, 32)), (blocks, blocks)))
supernet = Supernet(lambda arch: ResNet(arch.widths, arch.kernels), space)
plan = stages(space, [{"name": "", "open": kinds, "steps": 80} for kinds in ([], ["kernels", "depth"], ["widths"])])
audit(supernet.build, space, plan, input_shape=lambda arch: (1, 3, 32, 32))  # all are parts of the largest, and trained
optimizer = torch.optim.Adam(supernet.parameters(), 3e-3)
for stage in plan:
    sampler = Sampler(stage.space)
    for _ in range(stage.steps):
        images, targets = draw_images(32, rng)  # for the largest, the smallest and a random network
        sum(loss(supernet(images, arch), targets) for arch in sampler.draw(rng)).backward()
        optimizer.step()
        optimizer.zero_grad()
test, (seen, _) = draw_images(500, rng), draw_images(256, rng)
costs = CostModel(supernet.build, space, lambda arch: (1, 3, 32, 32))
for arch, cost, score in search_front(NSGA2(space, costs, rng, population=8), evaluate, 32):
    print(f"{cost['macs']:9,.0f} MACs  accuracy {score:.3f}  {arch}")
