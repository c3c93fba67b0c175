"""From a trained network in hand to a front of smaller ones; see docs/your-own-network.md."""

import numpy as np
import torch
from ordinary import accuracy, draw_images, loss, trained_network  # what you have

from supernet import NSGA2, CostModel, Sampler, Supernet, calibrate, search_front

rng, network = np.random.default_rng(0), trained_network()
supernet = Supernet.from_module(network, draw_images(2, rng)[0], importance="l1")  # prints what varies
sampler, optimizer = Sampler(supernet.space), torch.optim.Adam(supernet.parameters(), 2e-3)
for step in range(200):
    images, targets = draw_images(32, rng)  # for the largest, the smallest and a random network
    sum(loss(supernet(images, arch), targets) for arch in sampler.draw(rng)).backward()
    optimizer.step(), optimizer.zero_grad(), step % 50 or print(f"step {step}")
test, seen, costs = draw_images(500, rng), draw_images(256, rng)[0], CostModel(supernet.build, supernet.space)
score = lambda arch: accuracy(calibrate(net := supernet.eval().extract(arch), seen.split(64)) and net, *test)  # noqa: E731
for arch, cost, found in search_front(NSGA2(supernet.space, costs, rng, population=8), score, 32):
    print(f"{cost['macs']:9,.0f} MACs  accuracy {found:.3f}  {arch.width} {[len(run) for run in arch.runs]}")
