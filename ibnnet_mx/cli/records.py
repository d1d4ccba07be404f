"""ibnnet records FILE.rec ...: check record files for damage, or draw their pictures."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from ibnnet_mx._env import usable_cores
from ibnnet_mx.cli.options import Parser, add_image_size, option_name, run, tell_missing
from ibnnet_mx.files import outputs
from ibnnet_mx.recipe import AUGMENT
from ibnnet_mx.size import Size

if TYPE_CHECKING:
    from ibnnet_mx.recordio.inspection.verify import Report

NAMED = 10  # so many faults of a file are listed
ABOUT = """Reads FILE.rec and decodes every picture in it: index, lengths, labels, damage, sizes, formats, classes.
With --headers-only no picture is read, so that millions of records take seconds.
Exit code 0: all is sound, 1: a file is damaged, 2: the command is wrong. With --sheet only a contact sheet is drawn."""
EXAMPLES = (
    'ibnnet records DATA/train_480_q90.rec DATA/val_256_q90.rec',
    'ibnnet records DATA/train_480_q90.rec --headers-only --json report.json',
    'ibnnet records DATA/train_480_q90.rec --sheet sheet.png --augment 2',
)
SHEET = {'count': (1, 2000), 'image_size': (8, 2048), 'draws': (1, 32)}
MANY, FEW = 32, 12  # records of a sheet, without and with what training makes of them


def make_parser(prog: str = 'ibnnet records') -> Parser:
    usage = '%(prog)s FILE.rec [FILE.rec ...] [options]'
    parser = Parser(EXAMPLES, prog=prog, usage=usage, description=ABOUT)
    parser.add_argument('files', nargs='+', metavar='FILE.rec', help='record files, or .bin pairs of faces')
    add = parser.add_argument_group('check').add_argument
    add('--all', action='store_true', help=f'list all faults, not only the first {NAMED} of each file')
    add('--headers-only', action='store_true', help='check index, lengths, labels and ids alone, in seconds')
    add('--json', metavar='FILE', help='also write the report as JSON')
    add('--threads', type=int, default=usable_cores(), help='threads; unset: one for each core')
    add = parser.add_argument_group('contact sheet').add_argument
    add('--sheet', metavar='FILE.png', help='draw records of FILE.rec, evenly spread, with their labels')
    add('--count', type=int, help=f'records on the sheet; unset: {MANY}, with --augment {FEW}')
    text = 'size of a picture, or with --augment of the crop, such as 256x128; unset: 224, or less'
    add_image_size(add, '--size', text=text)
    add(
        '--augment',
        choices=[str(level) for level in AUGMENT],
        metavar='LEVEL',
        help=f'also as training changes them: {", ".join(map(str, AUGMENT))}',
    )
    add('--draws', type=int, help='changed pictures, as in the first epochs of a run; unset: 3')
    return parser


def check_options(parser: Parser, args: argparse.Namespace) -> None:
    """Exit with one line about the first wrong option, before any file is read."""
    from ibnnet_mx.recordio.inspection import sheet

    for path in args.files:
        if not os.path.isfile(path):
            wrong = 'is a folder: name the .rec files in it' if os.path.isdir(path) else 'does not exist'
            parser.error(f'{path} {wrong}')
    for name, (low, high) in {'threads': (1, 256), **SHEET}.items():
        value = getattr(args, name)
        numbers = [] if value is None else Size.of(value) if name == 'image_size' else [value]
        if any(not low <= number <= high for number in numbers):
            parser.error(f'{option_name(name)} {value} must be from {low} to {high}')
    if args.draws is not None and args.augment is None:
        parser.error(
            f'--draws {args.draws} has no meaning without --augment LEVEL: add it ({", ".join(map(str, AUGMENT))})'
        )
    if args.sheet is None:
        for name in (*SHEET, 'augment'):
            if getattr(args, name) is not None:
                option = f'{option_name(name)} {getattr(args, name)}'
                parser.error(f'{option} has no meaning without --sheet FILE.png: add it')
        return
    if len(args.files) > 1:
        parser.error(
            f'--sheet {args.sheet}: a sheet is for one FILE.rec, {len(args.files)} given: draw one after the other'
        )
    for name in ('all', 'json', 'headers_only'):
        if getattr(args, name):
            option = option_name(name)
            parser.error(f'{option} has no meaning with --sheet, which checks nothing: leave it out')
    if os.path.splitext(args.sheet)[1].lower() not in sheet.SUFFIXES:
        parser.error(f'--sheet {args.sheet}: the name must end in {", ".join(sheet.SUFFIXES)}')


def draw(args: argparse.Namespace) -> int:
    import cv2

    from ibnnet_mx.recordio import Augment, RecordFile, lists
    from ibnnet_mx.recordio.inspection import letters, sheet

    (path,) = args.files
    levels = {str(level): Augment(**changes) for level, changes in AUGMENT.items()}
    draws = sheet.Draws(levels[args.augment], args.draws or 3) if args.augment else None
    with RecordFile(path) as records:
        size = args.image_size or sheet.usual_side(records)
        names, count = lists.read_synset(os.path.dirname(path)), args.count or (FEW if draws else MANY)
        picture = sheet.draw_sheet(records, count, size, names, draws)
        shown = f'{min(count, len(records))} of {len(records):,} records'
    done, encoded = cv2.imencode(os.path.splitext(args.sheet)[1], picture)
    if not done:
        raise ValueError(f'--sheet {args.sheet}: {picture.shape[1]}x{picture.shape[0]} pixels are too many; use .png')
    outputs.write_output('sheet', args.sheet, encoded.tobytes())
    tell_missing(letters.missing(names))
    print(f'{args.sheet}: {picture.shape[1]}x{picture.shape[0]} pixels, {shown}')
    return 0


def describe_pairs(path: str) -> None:
    """Print the contents of a verification set of faces. Raises RecordError, or ValueError for a damaged picture."""
    from ibnnet_mx.recordio.pixels.pictures import PictureError, decode
    from ibnnet_mx.recordio.reading import pairs

    given = pairs.read_pairs(path)
    sizes = set()
    for number, picture in enumerate(given.pictures):
        try:
            sizes.add(decode(picture).shape[1::-1])
        except PictureError as error:
            raise ValueError(f'{path}: picture {number} {error}') from None
    shown = ', '.join(f'{width}x{height}' for width, height in sorted(sizes))
    same = int(given.same.sum())
    print(path)
    print(f'  pairs    {len(given.same)}: {same} of one person, {len(given.same) - same} of two')
    print(f'  size     {shown}')


def _verified(path: str, threads: int, headers_only: bool) -> Report:
    from tqdm import tqdm

    from ibnnet_mx.recordio.inspection import verify

    style = dict(desc=os.path.basename(path), unit=' records', disable=None, leave=False)
    with verify.hushed() as (complaints, screen), tqdm(file=screen, **style) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done)

        return verify.verify_file(path, threads, complaints, progress, headers_only)


def look(args: argparse.Namespace) -> int:
    """Check each file and print what was found. Return 1 if something is wrong."""
    from ibnnet_mx.recordio import lists

    reports = []
    for path in args.files:
        if path.lower().endswith('.bin'):
            describe_pairs(path)
            continue
        reports.append(_verified(path, args.threads, args.headers_only))
        print('\n'.join(lines(reports[-1], lists.read_synset(os.path.dirname(path)), None if args.all else NAMED)))
    if args.json:
        files = [{'sound': not report.wrong, **_plain(report)} for report in reports]
        lists.write_text(args.json, [json.dumps({'files': files}, indent=1)])
    return int(any(report.wrong for report in reports))


def _plain(report: Report) -> dict[str, Any]:
    from ibnnet_mx.recordio.inspection.verify import Span

    return {key: value._asdict() if isinstance(value, Span) else value for key, value in report._asdict().items()}


def lines(report: Report, names: list[str], named: int | None) -> list[str]:
    """Return the lines of a report. named: how many faults are listed; None: all."""
    index = 'with an index that fits' if report.indexed else 'found by a scan, without an index'
    rows = [('records', f'{report.records} in {report.bytes / 1e6:.1f} MB, {index}')] if report.records else []
    rows += (
        [('formats', ', '.join(f'{count} {name}' for name, count in report.formats.items()))] if report.formats else []
    )
    for name, span in (('width', report.width), ('height', report.height)):
        if span is not None:
            same = span.least == span.most
            rows.append((name, f'{span.least}' if same else f'{span.least} to {span.most}, median {span.median}'))
    rows += _classes(report, names) + _pieces(report)
    rows += [('note', text) for text in report.notes]
    wrong = len(report.wrong)
    if not wrong:
        return [report.path, *(f'  {name:<9}{text}' for name, text in rows), '  sound    nothing is wrong']
    rows.append(('WRONG', f'{wrong} thing{"s" if wrong > 1 else ""}'))
    rows += [('', text) for text in report.wrong[:named]]
    if named is not None and wrong > named:
        rows.append(('', f'and {wrong - named} more: --all names them'))
    return [report.path, *(f'  {name:<9}{text}' for name, text in rows)]


def _classes(report: Report, names: list[str]) -> list[tuple[str, str]]:
    if not report.classes:
        return []

    def told(label: int) -> str:
        return f'{label} {names[label]}' if 0 <= label < len(names) else str(label)

    few, many = min(report.classes, key=report.classes.__getitem__), max(report.classes, key=report.classes.__getitem__)
    low, high = report.classes[few], report.classes[many]
    text = f'{len(report.classes)}, numbers {min(report.classes)} to {max(report.classes)}, '
    pictures = (
        f'{low} picture{"s" if low > 1 else ""} in each'
        if low == high
        else (f'{low} picture{"s" if low > 1 else ""} ({told(few)}) to {high} ({told(many)})')
    )
    width = [('labels', f'{report.labels} of each record; the first is the class')] if report.labels > 1 else []
    return [*width, ('classes', text + pictures)]


def _pieces(report: Report) -> list[tuple[str, str]]:
    """Return rows that say how many JPEGs can be read in pieces, and how to make it all of them."""
    jpegs = sum(count for name, count in report.formats.items() if name.startswith('JPEG'))
    if not jpegs:
        return []
    rows = [('pieces', f'{report.pieces} of {jpegs} JPEGs can be read in pieces, thanks to restart markers')]
    if report.pieces < jpegs:
        how = f'ibnnet pack --add-restart {report.path}'
        rows.append(('', f'{how} adds these where it can, without loss'))
    return rows


def main(argv: list[str] | None = None, prog: str = 'ibnnet records') -> int:
    options = make_parser(prog)

    def command(args: argparse.Namespace) -> int | None:
        check_options(options, args)
        return look(args) if args.sheet is None else draw(args)

    return run(command, options, argv)
