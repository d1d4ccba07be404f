"""One measurement of torch's training step on the same network."""

from __future__ import annotations

import torch
from job import LR, MOMENTUM, WD, answer
from torch.nn import functional as F
from torch_networks import build


def make(job):
    options = job['options']
    torch.manual_seed(0)
    torch.set_num_threads(job['threads'])
    net = build(job['model'], options.get('checkpoint', False))
    parameters = sum(p.numel() for p in net.parameters())
    x = torch.randn(job['batch'], 3, job['size'], job['size'])
    label = torch.arange(job['batch']) % job['classes']
    if options.get('channels_last'):
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), LR, MOMENTUM, weight_decay=WD)
    run = torch.compile(net) if options.get('compile') else net

    def step():
        optimizer.zero_grad()
        with torch.autocast('cpu', torch.bfloat16, enabled=options.get('bfloat16', False)):
            loss = F.cross_entropy(run(x), label)
        loss.backward()
        optimizer.step()

    return step, parameters


if __name__ == '__main__':
    answer(make)
