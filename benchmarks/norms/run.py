"""Iterations per second of a network with each norm, in training and in prediction; prints a markdown table.

Each measurement is a process of its own. The norms take turns within a round, and the rounds are repeated, so that a
drift of the machine's speed hits all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import environments  # noqa: E402
from benchmarks.options import in_a_folder, known, positive, several, tell, warn_if_busy, words  # noqa: E402
from benchmarks.reader.measure import machine  # noqa: E402
from ibnnet_mx import _limits, get_model, models  # noqa: E402
from ibnnet_mx.cli.options import Parser, run  # noqa: E402

NORMS = ('bn', 'mabn', 'brn', 'in', 'gn', 'ln')
WARM_UP, LEAST = 2, 4  # steps of a measurement: not timed, and timed at least
PICTURES = 32  # of a measurement, where they take more than LEAST steps
LR = 1e-3  # noise cannot be learned: a usual rate would end in infinities
LIMIT = 3600  # seconds that a measurement may take
PASSES = {'train': 3, 'inference': 1}  # a step in units of a forward pass
START, RATE = 5, 4e10  # for the estimate only: seconds until a process counts, multiplications a second and core


class Job(NamedTuple):
    """What one process measures; use: of PASSES."""

    model: str
    size: int
    steps: int
    use: str
    batch: int
    norm: str


def training(net, x, label):
    from mxnet import autograd, gluon

    loss_of = gluon.loss.SoftmaxCrossEntropyLoss()
    how = dict(learning_rate=LR, momentum=0.9)
    trainer = gluon.Trainer(net.collect_params(), 'sgd', how, update_on_kvstore=False)

    def step():
        with autograd.record():
            loss = loss_of(net(x), label)
        loss.backward()
        trainer.step(x.shape[0])

    return step


def measure(job):
    """Seconds of each timed step, in this process."""
    import mxnet as mx

    mx.random.seed(0)
    net = get_model(job.model, norm=job.norm)
    net.initialize()
    if job.use == 'inference':
        net = net.inference_form()
    net.hybridize(static_alloc=True, static_shape=True)
    x = mx.nd.random.normal(shape=(job.batch, 3, job.size, job.size))
    label = mx.nd.arange(job.batch) % net.model.classes
    step = training(net, x, label) if job.use == 'train' else lambda: net(x)
    seconds = []
    for _ in range(WARM_UP + job.steps):
        mx.nd.waitall()
        begin = time.perf_counter()
        step()
        mx.nd.waitall()
        seconds.append(time.perf_counter() - begin)
    return seconds[WARM_UP:]


def child(job):
    """measure(job) in a new process. SystemExit: it failed, with the last that it said."""
    found, why = environments.child([sys.executable, os.path.abspath(__file__), '--job', json.dumps(job)], LIMIT)
    if found is None:
        raise SystemExit(f'{job.norm}, {job.use}, batch {job.batch}: {why}')
    return found


def jobs(args):
    """Those of one round; the norms of the same batch size follow one another."""
    uses = [('train', batch) for batch in args.batch_sizes] + [('inference', args.inference_batch)]
    for use, batch in uses:
        steps = LEAST if args.quick else max(LEAST, PICTURES // batch)
        for norm in args.norms:
            yield Job(args.model, args.size, steps, use, batch, norm)


def work(job):
    """In pictures passed forward."""
    return PASSES[job.use] * job.batch * (WARM_UP + job.steps)


def estimate(args):
    """Minutes, of all rounds."""
    from ibnnet_mx.models import nets

    macs = nets.count_macs(get_model(args.model), args.size)
    a_picture = macs / RATE / _limits.usable_cores()
    return args.rounds * sum(START + work(job) * a_picture for job in jobs(args)) / 60


def environment():
    """The machine, and what else decides the speed."""
    import mxnet as mx

    from ibnnet_mx import operators

    own = 'with' if operators.loaded() else 'without'
    versions = f'mxnet {mx.__version__} {own} the operators of ibnnet_mx.operators.build'
    return f'{machine()}, {os.environ.get("OMP_NUM_THREADS", "?")} threads, {versions}, {time.strftime("%Y-%m-%d")}'


def summary(found):
    """{norm: {use: {batch: cell}}} from {job: a median of each round}; ratios: time relative to BN's in each round."""
    result = {}
    for job, medians in found.items():
        ratios = [own / bn for own, bn in zip(medians, found[job._replace(norm='bn')])]
        cell = dict(seconds=statistics.median(medians), ratio=statistics.median(ratios), ratios=ratios)
        result.setdefault(job.norm, {}).setdefault(job.use, {})[str(job.batch)] = cell
    return result


def speed(cell):
    a_second = 1 / cell['seconds']
    return f'{a_second:.3g}' if a_second < 100 else f'{a_second:.0f}'


def relative(cell):
    """The ratio, with the lowest and the highest of the rounds where there are several."""
    low, high = min(cell['ratios']), max(cell['ratios'])
    return f'{cell["ratio"]:.2f}' + (f' ({low:.2f} to {high:.2f})' if low < high else '')


def table(result):
    names = {'train': 'training, batch', 'inference': 'inference, batch'}
    keys = [(use, batch) for use, batches in result['bn'].items() for batch in batches]
    heads = [f'{names[use]} {batch}: iterations/s | time relative to BN' for use, batch in keys]
    lines = [f'| norm | {" | ".join(heads)} |', '|---' * (1 + 2 * len(keys)) + '|']
    for norm, uses in result.items():
        cells = [uses[use][batch] for use, batch in keys]
        columns = [f'{speed(cell)} | {relative(cell)}' for cell in cells]
        lines.append(f'| {norm} | {" | ".join(columns)} |')
    return '\n'.join(lines)


def rounds(args, told):
    """summary() of all rounds; --json has that of the finished ones after each of them."""
    found = {job: [] for job in jobs(args)}
    for number in range(1, args.rounds + 1):
        for job in found:
            found[job].append(statistics.median(child(job)))
            where = f'round {number}/{args.rounds}, {job.use}, batch {job.batch}, {job.norm}'
            tell(f'{where}: {found[job][-1]:.4g} s an iteration')
        if args.json is not None:
            args.json.write_text(json.dumps({'machine': told, args.model: summary(found)}, indent=1) + '\n')
    return summary(found)


def completed(args):
    """The options with their defaults. ValueError: one that cannot be."""
    model = models.find(args.model)
    args.size = model.size if args.size is None else args.size
    args.batch_sizes = args.batch_sizes or ((2, 8) if args.quick else (2, 32))
    args.rounds = args.rounds or (2 if args.quick else 3)
    known('--norms', args.norms, NORMS)
    args.norms = list(dict.fromkeys(['bn', *args.norms]))
    if args.size < 32:
        raise ValueError(f'--size {args.size} is too small for a network: use 32 or more')
    in_a_folder('--json', args.json)
    return args


def command(args):
    if args.job:
        print(json.dumps(measure(Job(*json.loads(args.job)))))
        return
    args = completed(args)
    about = f'about {estimate(args):.1f} minutes where nothing else runs'
    tell(f'{args.rounds * len(list(jobs(args)))} measurements, {about}')
    warn_if_busy()
    told = environment()
    print(f'{table(rounds(args, told))}\n\n{args.model}, {args.size}x{args.size}; {told}')


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--model', default='resnet50', help='a name that get_model() takes (resnet50)')
    add('--size', type=positive, help="height and width of a picture (the model's own: 224 of resnet50)")
    add('--batch-sizes', type=several, metavar='N,N', help='of training (2,32)')
    add('--inference-batch', type=positive, default=16, metavar='N', help='pictures of a prediction (16)')
    add(
        '--norms',
        type=words,
        default=NORMS,
        metavar='NORM,NORM',
        help=f'some of {",".join(NORMS)} (all); bn is always measured, for the others are compared with it',
    )
    add('--rounds', type=positive, metavar='N', help='how often all is measured; what is told is the median (3)')
    add(
        '--quick', action='store_true', help='a first look: 4 steps each; where not given, batch sizes 2,8 and 2 rounds'
    )
    add('--json', type=Path, metavar='FILE', help='the medians are written to it after every round')
    add('--job', help=argparse.SUPPRESS)
    return run(command, parser)


if __name__ == '__main__':
    sys.exit(main())
