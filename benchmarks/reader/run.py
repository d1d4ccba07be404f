"""CPU time a picture of our Reader, of mxnet's ImageRecordIter and of other readers, in turn; prints markdown tables.

Each measurement is a process of its own; the readers take turns within a round, and the rounds are repeated, so that a
drift of the machine's speed hits all alike. Without options it makes records from scikit-learn's two photographs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.environments import PEERS, child  # noqa: E402
from benchmarks.options import known, tell, warn_if_busy  # noqa: E402
from benchmarks.reader import peers, plot, records, tables  # noqa: E402
from benchmarks.reader.measure import cores, machine  # noqa: E402
from ibnnet_mx.cli.options import Parser, run  # noqa: E402
from ibnnet_mx.recipe import AUGMENT  # noqa: E402

HERE = Path(__file__).resolve().parent
SIZES = {'training': 224, 'validation': 224, 'cifar': 32}
FACTORS = {'training': 1, 'validation': 4, 'cifar': 100}  # more of the pictures that are read quickly
QUICK_FACTORS = {'training': 1, 'validation': 2, 'cifar': 50}
BATCHES = {'training': 32, 'validation': 32, 'cifar': 128}
MEMORY = dict(batch=256, threads=2)
MEMORY_BATCHES = 4  # of an epoch: more than are in work at a time
MOST = {'training': 1000, 'validation': 1000, 'cifar': 50000}  # records that are used of a file
QUICK_MOST = {'training': 150, 'validation': 150, 'cifar': 10000}
LIMIT = 600  # seconds that a measurement may take


class Row(NamedTuple):
    """form: of records.Forms."""

    label: str
    form: str
    tasks: tuple[str, ...] = ('training',)
    uint8: bool = False


ALL = ('training', 'validation', 'cifar')
OWN = {
    'ours_restart': Row('ours, .rec with restart markers', 'restart', ('training', 'validation')),
    'ours_plain': Row('ours, plain .rec', 'plain', ('training', 'validation')),
    'ours': Row('ours', 'plain', ('cifar',)),
    'ours_uint8': Row('ours, restart markers, uint8', 'restart', uint8=True),
    'ours_opencv': Row('ours, restart markers, OpenCV in place of C', 'restart'),
    'imagerecorditer': Row('ImageRecordIter, a thread for each core', 'plain', ALL),
    'imagerecorditer_index': Row('ImageRecordIter, the same with an index', 'plain'),
    'imagerecorditer_default': Row('ImageRecordIter, default threads', 'plain'),
    'imagerecorditer_uint8': Row('ImageRecordUInt8Iter', 'plain', uint8=True),
}
FLOORS = {
    'floor': Row('floor: decoding of the crops alone, restart markers', 'restart'),
    'floor_plain': Row('floor: decoding of the crops alone, plain', 'plain'),
}
LABELS = {
    **{name: row.label for name, row in {**OWN, **FLOORS}.items()},
    **{name: peer.label for name, peer in peers.PEERS.items()},
}


def common(args, task, forms):
    """What a job says for every reader. colour: hue in radians, brightness and saturation as fractions."""
    level = AUGMENT[2]
    hue, lightness, saturation = level['hls']
    factor = (QUICK_FACTORS if args.quick else FACTORS)[task]
    return dict(
        task=task,
        kind='time',
        folder=forms.folder,
        records=forms.count,
        size=SIZES[task],
        batch=BATCHES[task],
        threads=args.threads,
        scale=level['scale'],
        aspect=level['aspect'],
        colour=(hue * 3.14159265 / 90, lightness / 255, saturation / 255),
        warm_up=factor * (150 if args.quick else 600),
        pictures=factor * (300 if args.quick else 2000),
    )


def own_command(args, forms, task, name, **changes):
    row = {**OWN, **FLOORS}[name]
    job = dict(common(args, task, forms), reader=name, path=getattr(forms, row.form), uint8=row.uint8)
    return [sys.executable, str(HERE / 'own.py'), json.dumps({**job, **changes})]


def commands(args, sets):
    """{(task, reader): command} of a round, and {reader: why it is left out}."""
    found, missing = {}, {}
    wanted = args.readers or list(LABELS)
    for task, forms in sets.items():
        for name, row in {**OWN, **FLOORS}.items():
            if name in wanted and task in row.tasks:
                found[task, name] = own_command(args, forms, task, name)
    for name, peer in peers.PEERS.items():
        if name not in wanted or 'training' not in sets:
            continue
        python, why = peers.install(name, args.peers, tell)
        if python is None:
            missing[name] = f'not installed: {why}'
            continue
        forms = sets['training']
        job = dict(common(args, 'training', forms), path=forms.plain, variant=peer.variant)
        found['training', name] = [python, str(HERE / 'peer_scripts' / peer.script), json.dumps(job)]
    order = list(LABELS)
    return dict(sorted(found.items(), key=lambda pair: (ALL.index(pair[0][0]), order.index(pair[0][1])))), missing


def rounds(args, wanted, missing):
    """{(task, reader): results}; what fails once is left out from then on, and said in `missing`."""
    found = {}
    for number in range(1, args.rounds + 1):
        for key, command in wanted.items():
            name = ' '.join(key)
            if name in missing:
                continue
            result, why = child(command, LIMIT)
            if result is None:
                missing[name] = why
                found.pop(key, None)
                continue
            found.setdefault(key, []).append(result)
            tell(f'{number}/{args.rounds} {name}: {result["cpu"]:.3g} ms CPU, {result["wall"]:.3g} ms wall clock')
    return found


def statistics(args, sets):
    """{(task, reader): means and deviations of the pixels}."""
    found = {}
    for task, forms in sets.items():
        for name in ('ours_restart', 'ours', 'imagerecorditer', 'imagerecorditer_index'):
            if task in OWN[name].tasks:
                found[task, name] = must(own_command(args, forms, task, name, kind='statistics'))
    return found


def must(command):
    result, why = child(command, LIMIT)
    if result is None:
        raise ValueError(why)
    return result


def memory(args, sets):
    """{'uint8' or 'float32': MB of the whole process}, training from records with restart markers."""
    if 'training' not in sets or (args.readers and 'ours_restart' not in args.readers):
        return {}
    forms = sets['training']
    path = records.repeated(forms.restart, Path(forms.folder), MEMORY_BATCHES * MEMORY['batch'])
    changes = dict(MEMORY, kind='memory', path=path, epochs=8 if args.quick else 20)
    readers = {'uint8': 'ours_uint8', 'float32': 'ours_restart'}
    return {kind: must(own_command(args, forms, 'training', name, **changes)) for kind, name in readers.items()}


def prepared(args, folder):
    """{task: forms} of what the options name, or of records made here."""
    most = QUICK_MOST if args.quick else MOST
    given = {'training': args.rec, 'validation': args.val, 'cifar': args.cifar}
    if args.photos is not None:
        packed = records.packed(args.photos, folder / 'packed')
        given['training'] = given['training'] or packed / 'train_480_q90.rec'
        given['validation'] = given['validation'] or packed / 'val_256_q90.rec'
    elif not any(given.values()):
        made = records.made(folder / 'made', 100 if args.quick else 400)
        names = ('train_480_q90', 'val_256_q90', 'cifar10_train')
        given = {task: made / f'{name}.rec' for task, name in zip(ALL, names)}
    sets = {}
    for task, path in given.items():
        if path is not None:
            make = records.copied if task == 'cifar' else records.forms
            sets[task] = make(path, folder / task, most[task], 2 * BATCHES[task])
    return sets


def report(args, result, found_memory, missing):
    for task, rows in result.items():
        print(f'\n{task}, {SIZES[task]}x{SIZES[task]}, batch {BATCHES[task]}:\n')
        print(tables.table(rows, LABELS))
    print()
    for name, why in missing.items():
        print(f'{name}: {why}')
    for target in tables.TARGETS:
        print(tables.judged(target, result))
    for line in tables.memory_lines(found_memory, f'batch {MEMORY["batch"]} on {MEMORY["threads"]} threads'):
        print(line)


def saved(result, found_memory, missing, told):
    """For --json: CPU ms a picture of training, by reader, and everything else under `details`."""
    flat = {name: cell['cpu'] for name, cell in result.get('training', {}).items()}
    for family in ('tfdata', 'torchvision'):  # the best of its ways
        ways = [cpu for name, cpu in flat.items() if name.startswith(family)]
        if ways:
            flat[family] = min(ways)
    details = dict(machine=told, labels=LABELS, tasks=result, memory=found_memory, missing=missing)
    return {**flat, 'details': details}


def environment(args):
    return f'{machine()}, {args.threads} threads, {args.rounds} rounds, {time.strftime("%Y-%m-%d")}'


def measured(args, folder):
    sets = prepared(args, folder)
    if args.statistics:
        print(tables.statistics_table(statistics(args, sets), LABELS))
        return
    wanted, missing = commands(args, sets)
    begin = time.monotonic()
    result = tables.medians(rounds(args, wanted, missing))
    found_memory = memory(args, sets)
    print(environment(args))
    report(args, result, found_memory, missing)
    tell(f'{time.monotonic() - begin:.0f} seconds without installation and preparation')
    if args.json is not None:
        args.json.write_text(json.dumps(saved(result, found_memory, missing, environment(args)), indent=1) + '\n')
    if args.plot is not None:
        plot.draw(saved(result, found_memory, missing, environment(args)), args.plot)


def command(args):
    args.rounds = args.rounds or (1 if args.quick else 5)
    known('--readers', args.readers or (), LABELS)
    warn_if_busy()
    with tempfile.TemporaryDirectory() as folder:
        measured(args, Path(folder))


def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add(
        '--photos',
        type=Path,
        metavar='SOURCE',
        help='a tar or folder of photographs, packed by tools/im2rec_wrapper.py',
    )
    add('--rec', type=Path, metavar='FILE', help='your own records for training; the other form of them is made')
    add('--val', type=Path, metavar='FILE', help='records for validation, with a short side of 256')
    add('--cifar', type=Path, metavar='FILE', help='cifar10_train.rec')
    add('--quick', action='store_true', help='a first look, in less than two minutes: one round, few pictures')
    add('--rounds', type=int, metavar='N', help='how often all is measured; what is told is the median (5)')
    add('--threads', type=int, default=cores(), metavar='N', help='of each reader (one for each core)')
    add('--readers', type=lambda text: text.split(','), metavar='A,B', help=f'some of {",".join(LABELS)} (all)')
    add(
        '--peers',
        type=Path,
        default=PEERS,
        metavar='DIR',
        help="the peers' environments (benchmarks/.peers)",
    )
    add('--json', type=Path, metavar='FILE', help='CPU milliseconds a picture, by reader')
    add('--plot', type=Path, metavar='FILE.png', help='bars of the same')
    add('--statistics', action='store_true', help='means and deviations of the pixels, in place of times')
    return run(command, parser)


if __name__ == '__main__':
    sys.exit(main())
