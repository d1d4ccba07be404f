"""Which runs there are, in the order in which they are made, and the commands of each."""

from __future__ import annotations

from typing import NamedTuple

NETS = {  # net: (what the tables call it, ending of the family's name, options)
    'bn': ('BN', '', []),
    'ibn_a': ('IBN-a', '_ibn_a', []),
    'ibn_b': ('IBN-b', '_ibn_b', []),
    'in': ('IN', '', ['--norm', 'in']),
    'ibn_a_stage1': ('IBN-a, stage 1', '_ibn_a', ['--ibn-stages', '1']),
    'ibn_a_stages123': ('IBN-a, stages 1 to 3', '_ibn_a', ['--ibn-stages', '1,2,3']),
    'ibn_a_quarter': ('IBN-a, a quarter IN', '_ibn_a', ['--ibn-ratio', '0.25']),
    'ibn_a_three_quarters': ('IBN-a, three quarters IN', '_ibn_a', ['--ibn-ratio', '0.75']),
}
MAIN = ('bn', 'ibn_a', 'ibn_b')
PLACED = ('ibn_a_stage1', 'ibn_a_stages123', 'ibn_a_quarter', 'ibn_a_three_quarters')
VERSIONS = {'v1': 'resnet', 'v2': 'resnet_v2'}
DOMAINS = ('photo', 'art_painting', 'cartoon', 'sketch')
SEEDS = 3
PICTURES = {'cifar10': 'cifar10', 'placement': 'cifar10', 'equal': 'cifar10', 'pacs': 'pacs'}  # part: those it needs
RECIPES = {  # part: options of train_resnet.py
    'cifar10': ['--recipe', 'cifar10_fast', '--depth', '20', '--epochs', '20'],
    'equal': ['--recipe', 'cifar10_fast', '--depth', '20', '--epochs', '12'],
    'pacs': ['--recipe', 'cifar10_fast', '--depth', '20', '--epochs', '30', '--batch-size', '64', '--lr', '0.1'],
}
RECIPES['placement'] = RECIPES['cifar10']
PLAN = {  # part: (wheres and nets of every seed, wheres and nets of seed 0 alone)
    'cifar10': (tuple(VERSIONS), MAIN, ('v1',), ('in',)),
    # one seed of stages 1 to 3 lay too near IBN-a's to tell them apart
    'placement': (('v1',), ('ibn_a_stages123',), ('v1',), ('ibn_a_stage1', 'ibn_a_quarter', 'ibn_a_three_quarters')),
    'equal': (('v2',), ('bn',), (), ()),
    'pacs': (DOMAINS, MAIN, DOMAINS, ('in',)),
}
SECONDS = {'cifar10': 2200, 'placement': 2200, 'equal': 1100, 'pacs': 420}  # of a run, where none is known
EVALUATION = 1.2  # a training and its evaluation take so many times the training


class Run(NamedTuple):
    """One training and its evaluation. where: the version of CIFAR-10's network, or the domain that is left out."""

    part: str
    where: str
    net: str
    seed: int

    @property
    def name(self) -> str:
        return f'{self.part}_{self.where}_{self.net}_seed{self.seed}'

    @property
    def epochs(self) -> int:
        words = RECIPES[self.part]
        return int(words[words.index('--epochs') + 1])

    def words(self, dtype: str) -> list[str]:
        """Options of train_resnet.py, but for where things lie."""
        family = VERSIONS.get(self.where, 'resnet')
        _, ending, options = NETS[self.net]
        seed = ['--seed', str(self.seed), '--dtype', dtype]
        return [*RECIPES[self.part], '--model', family + ending, *options, *seed]


def runs(parts: list[str], seeds: int = SEEDS) -> list[Run]:
    """Of some parts; seed by seed, so that whatever is there when it ends early can be compared."""
    found = []
    for seed in range(seeds):
        for part in parts:
            wheres, nets, *once = PLAN[part]
            for places, which in [(wheres, nets), once] if not seed else [(wheres, nets)]:
                found += [Run(part, where, net, seed) for where in places for net in which]
    return found
