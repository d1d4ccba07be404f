"""ibnnet pack SOURCE DATA_DIR: pack pictures into record files for training and validation."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from ibnnet_mx.cli.options import Parser, option_name, run, tell
from ibnnet_mx.cli.pack_options import LARGE, make_parser
from ibnnet_mx.errors import OptionError, dashed, visible
from ibnnet_mx.files import locks
from ibnnet_mx.size import Size

if TYPE_CHECKING:
    from tqdm import tqdm

    from ibnnet_mx.recordio.packing.worker import Output
    from ibnnet_mx.recordio.sources import Sample, Source

SMALL = 256  # short side of the validation records, and of the training records for crops without scaling
NAMED = 20  # --add-restart names at most so many damaged pictures of a file


def check_numbers(parser: Parser, args: argparse.Namespace) -> None:
    bounds = {'resize': (32, 4096), 'quality': (1, 100), 'seed': (0, 2**32 - 1), 'max_bad': (0, None), 'jobs': (1, 256)}
    for name, (low, high) in bounds.items():
        value = getattr(args, name)
        if value is not None and (value < low or high is not None and value > high):
            span = f'from {low} to {high}' if high is not None else f'at least {low}'
            parser.error(f'--{name.replace("_", "-")} {value} must be {span}')


def check_options(parser: Parser, args: argparse.Namespace) -> None:
    """Exit with one line about the first wrong option, before any picture is read."""
    check_numbers(parser, args)
    if len(args.paths) != 2 and not (args.download and len(args.paths) == 1):
        parser.error(
            f'SOURCE DATA_DIR: two paths are needed, {len(args.paths)} given: {" ".join(args.paths) or "none"}'
        )
    for name in ('resize', 'data_type'):
        value = getattr(args, name)
        if args.image_size is not None and value is not None:
            parser.error(
                f'{option_name(name)} {value} contradicts --image-size {args.image_size}: leave one of them out'
            )
    if not 0 < args.train_ratio < 1:
        parser.error(f'--train-ratio {args.train_ratio:g} must be between 0 and 1, such as 0.8')
    if args.root is not None and not os.path.isdir(args.root):
        parser.error(f'--root {args.root}: there is no such folder')
    if os.path.exists(args.paths[-1]) and not os.path.isdir(args.paths[-1]):
        parser.error(f'DATA_DIR {args.paths[-1]} is a file: name a folder for the records')


def sides(source: Source, args: argparse.Namespace) -> tuple[list[Sample], list[Sample]]:
    """Return the training side, shuffled, and the validation side in the order of the source."""
    from ibnnet_mx.recordio import sources

    if source.val:
        return sources.shuffle(source.train, args.seed), source.val
    split = sources.split if args.split == 'random' or not source.classes else sources.split_by_class
    return split(source.train, args.train_ratio, args.seed)


def is_small(args: argparse.Namespace, source: Source) -> bool:
    """Return True for pictures of 32x32 pixels, unless the options ask for other records."""
    return source.cifar and args.data_type is None and args.resize is None


def outputs(args: argparse.Namespace, source: Source) -> tuple[list[Output], list[Output]]:
    """Return the files of both sides. CIFAR-10's own archive keeps the names that its users know."""
    from ibnnet_mx.recordio.packing.worker import Output, sized_output
    from ibnnet_mx.recordio.pixels.pictures import CIFAR_SIDE

    small = is_small(args, source)
    size = args.image_size or (CIFAR_SIDE if small and not source.is_archive else None)
    if size is not None:
        train, val = (sized_output(side, Size.of(size), args.quality) for side in ('train', 'val'))
        return [train], [val]
    if args.data_type == 'cifar10' or small:
        return [Output('cifar10_train', 0, 0)], [Output('cifar10_val', 0, 0)]
    sizes = sorted({args.resize or LARGE, SMALL}, reverse=True)
    large = [Output(f'train_{size}_q{args.quality}', size, args.quality) for size in sizes]
    return large, [Output(f'val_{SMALL}_q{args.quality}', SMALL, args.quality)]


def write_records(args: argparse.Namespace) -> None:
    from ibnnet_mx.recordio import lists, sources
    from ibnnet_mx.recordio.packing import cifar10
    from ibnnet_mx.recordio.packing.open_source import open_source

    folder = args.paths[-1]
    name = cifar10.cifar10(args.paths[0]) if args.download else args.paths[0]
    source = open_source(name, args.root, ','.join(args.domain) if args.domain else None)
    for note in source.notes:
        tell(visible(dashed(note, option_name)))
    if args.task == 'face':
        return write_faces(args, folder, source)
    train, val = sides(source, args)
    for note in [*describe_enlarging(args, source), *sources.describe_gaps(train, val, source.classes)]:
        tell(visible(note))
    os.makedirs(folder, exist_ok=True)
    with packing_alone(folder):
        if args.list:
            write_lists(folder, train, val)
        else:
            pack(folder, args, source, train, val)
        if source.classes:
            path = os.path.join(folder, 'synset.txt')
            lists.write_text(path, source.classes)
            print(f'{path}: {len(source.classes)} classes')


def describe_enlarging(args: argparse.Namespace, source: Source) -> list[str]:
    """Return [] or a line about pictures that the records will enlarge, with the way out."""
    largest, usual = args.resize or LARGE, source.usual
    sized = args.image_size is not None or args.data_type == 'cifar10' or is_small(args, source) or args.list
    if sized or usual is None or min(usual) >= largest:
        return []
    return [
        f'the pictures have about {usual.sides} pixels, and the records enlarge them to a short side of {largest}: '
        f'--image-size {min(usual)} keeps them as they are'
    ]


def packing_alone(folder: str) -> Any:
    """Return a context in which no other process packs into a folder."""
    return locks.alone(os.path.join(folder, 'packing'), 'DATA_DIR', folder, 'wait for it, or name another folder')


def write_faces(args: argparse.Namespace, folder: str, source: Source) -> None:
    """Write all pictures of SOURCE as records of faces, with insightface's file `property`."""
    from ibnnet_mx.recordio import lists
    from ibnnet_mx.recordio.opening import faces
    from ibnnet_mx.recordio.packing.pack import Packer
    from ibnnet_mx.recordio.packing.worker import Output

    os.makedirs(folder, exist_ok=True)
    with packing_alone(folder), Packer(folder, args.jobs, 0, args.exif) as packer:
        output = Output('train', faces.SIDE, args.quality)
        result = packer.faces([*source.train, *source.val], source.store, output)
        identities = len({sample.labels for sample in (*source.train, *source.val)})
        lists.write_text(os.path.join(folder, 'property'), [f'{identities},{faces.SIDE},{faces.SIDE}'])
        lists.write_text(os.path.join(folder, 'synset.txt'), source.classes)
    print(f'{result.path}: {result.records} pictures, {identities} identities, {result.bytes} bytes')


def write_lists(folder: str, train: list[Sample], val: list[Sample]) -> None:
    from ibnnet_mx.recordio import lists

    for side, samples in (('train', train), ('val', val)):
        path = os.path.join(folder, f'{side}.lst')
        lists.write_text(path, [lists.list_line(number, sample) for number, sample in enumerate(samples)])
        print(f'{path}: {len(samples)} pictures')


def pack(folder: str, args: argparse.Namespace, source: Source, train: list[Sample], val: list[Sample]) -> None:
    from ibnnet_mx.recordio.packing.manifest import split_id
    from ibnnet_mx.recordio.packing.pack import Packer

    split, files_of_sides = split_id(train, val), outputs(args, source)
    with Packer(folder, args.jobs, args.max_bad, args.exif) as packer:
        others = packer.manifest.left_alone({output.name for files in files_of_sides for output in files}, split)
        if others:
            raise OptionError(
                'DATA_DIR',
                folder,
                f'holds {others[0]}.rec of another split of the pictures, which would stay beside the new files: name '
                'another folder, or delete its records',
            )
        for samples, files in zip((train, val), files_of_sides):
            packer.side(samples, source.store, files, split)
    for result in packer.results:
        skipped = f', {result.skipped} skipped' if result.skipped else ''
        before = '' if result.fresh else ' (finished before)'
        print(f'{result.path}: {result.records} records{skipped}, {result.bytes} bytes{before}')


def refuse_others(
    parser: Parser, args: argparse.Namespace, argv: list[str] | None, allowed: tuple[str, ...], reason: str
) -> None:
    """Exit with one line if an option is given that is not among the allowed ones. reason: why it means nothing."""
    given = parser.parse_args(argv, argparse.Namespace(**dict.fromkeys(vars(args))))
    for name, value in vars(given).items():
        if name not in allowed and value is not None and value != []:
            option = f'SOURCE DATA_DIR ({" ".join(value)})' if name == 'paths' else f'--{name.replace("_", "-")}'
            parser.error(f'{reason}, so {option} has no meaning: leave it out')


def check_restart(parser: Parser, args: argparse.Namespace, argv: list[str] | None) -> None:
    """Exit with one line if an option other than --jobs is given with --add-restart."""
    check_numbers(parser, args)
    refuse_others(parser, args, argv, ('add_restart', 'jobs'), '--add-restart changes existing records')
    for path in args.add_restart:
        if not os.path.isfile(path):
            parser.error(f'--add-restart {path}: there is no such file')


def add_restart(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ibnnet_mx.recordio.packing import restart

    for path in args.add_restart:
        counts: Counter[int] = Counter()
        with tqdm(desc=os.path.basename(path), unit=' records', file=sys.stderr, disable=None) as bar:

            def count(became: int, why: str, counts: Counter[int] = counts, bar: tqdm = bar) -> None:
                counts[became] += 1
                bar.update()
                if why and counts[restart.DAMAGED] <= NAMED:
                    tqdm.write(f'left as it was: {why}', file=sys.stderr)

            before, after = restart.add_markers(path, args.jobs, count)
        size = f'{before} bytes, now {after} ({after / before - 1:+.1%})' if after != before else f'{before} bytes'
        print(f'{path}: {told(counts)}; {size}')
        note(path, before, after)


def told(counts: Counter[int]) -> str:
    """Return a line about the records of a file. counts: {restart.ADDED and the like: count of records}."""
    from ibnnet_mx.recordio.packing import restart

    added, progressive = counts[restart.ADDED] + counts[restart.SEQUENTIAL], counts[restart.SEQUENTIAL]
    texts = {
        restart.MARKED: 'had them before',
        restart.FOREIGN: 'not JPEG',
        restart.UNCUTTABLE: 'of a kind that cannot be read in pieces (4:1:1, CMYK)',
        restart.DAMAGED: 'damaged and left as they were',
    }
    parts = [f'{counts[key]} {text}' for key, text in texts.items() if counts[key]]
    if progressive:
        parts.insert(0, f'{progressive} of them progressive before')
    done = f'{added} got restart markers' if added else 'nothing to do'
    return ', '.join([f'{sum(counts.values())} records: {done}', *parts])


def note(path: str, before: int, after: int) -> None:
    """Write the new size into packed.json, so that packing the same pictures again finds the file finished."""
    from ibnnet_mx.recordio.packing.manifest import Manifest

    folder, name = os.path.split(os.path.splitext(path)[0])
    manifest = Manifest(folder)
    entry = manifest.entries.get(name)
    if before != after and entry is not None and entry.get('bytes') == before:
        manifest.put(name, {**entry, 'bytes': after})


def main(argv: list[str] | None = None, prog: str = 'im2rec_wrapper') -> int:
    options = make_parser(prog)

    def command(args: argparse.Namespace) -> None:
        if args.add_restart:
            check_restart(options, args, argv)
            add_restart(args)
        else:
            check_options(options, args)
            if args.task == 'face':
                allowed = ('paths', 'task', 'root', 'domain', 'quality', 'exif', 'jobs')
                refuse_others(options, args, argv, allowed, "--task face packs all pictures in insightface's layout")
            write_records(args)

    return run(command, options, argv, 'interrupted; finished files stay, and the same command continues')
