"""evaluate.py DATA --prefix P --epoch N: top-1, top-5, cross entropy and the classes' accuracies of a network."""

from __future__ import annotations

import json
import sys

from ibnnet_mx.cli import options, source

EPILOG = """DATA: a .rec file, a folder with the records of tools/im2rec_wrapper.py, or a folder of class folders (also
with val/ or test/ above them). A crop larger than the pictures of a .rec enlarges them: add --resize to a folder of
the pictures themselves instead."""


def make_parser():
    parser = options.Parser(prog='evaluate', description=__doc__, epilog=EPILOG)
    parser.add_argument('data', nargs='?', metavar='DATA', help='labelled pictures')
    add = parser.add_argument_group('network').add_argument
    source.add_options(add)
    add = parser.add_argument_group('pictures').add_argument
    add('--data-dir', help='another way to name DATA')
    add('--crop-size', type=int, help='side of what the network sees, such as 224 or 320; unset: as it was trained')
    add('--resize', type=int, help='short side before the crop; unset: 256/224 of the crop, records as they are')
    add(
        '--crops',
        type=int,
        default=1,
        help='1: the centre; 10: corners, centre and their mirrors, probabilities averaged',
    )
    add('--batch-size', type=int, default=100, help='changes the speed only, never the result')
    add('--threads', type=int, help='of the reader; unset: one for each core')
    add('--max-bad-records', type=int, default=0, help='damaged pictures that are skipped')
    add = parser.add_argument_group('run').add_argument
    add('--gpu', type=int, help='number of the GPU; the CPU where it is not given')
    add('--per-class', action='store_true', help='every class, not the best and worst alone')
    add('--json', action='store_true', help='one JSON object')
    return parser


def warn(text):
    print(f'evaluate: {text}', file=sys.stderr)


def evaluate(args):
    from ibnnet_mx import distributed
    from ibnnet_mx.cli import evaluation
    from ibnnet_mx.recordio.reader import Options

    path = args.data if args.data is not None else args.data_dir
    if path is None or None not in (args.data, args.data_dir):
        raise ValueError(f'DATA: name one place of pictures, {"none" if path is None else "two"} came')
    for option, value, least in (
        ('--batch-size', args.batch_size, 1),
        ('--threads', args.threads, 1),
        ('--max-bad-records', args.max_bad_records, 0),
    ):
        if value is not None and value < least:
            raise ValueError(f'{option} {value} must be at least {least}')
    cluster = distributed.connect('local', '' if args.gpu is None else str(args.gpu))
    model = source.open_source(args, cluster.contexts[0])
    if model.fixed and args.crop_size not in (None, model.size):
        raise ValueError(
            f'--crop-size {args.crop_size}: {model.label} takes pictures of {model.size}x{model.size} alone'
        )
    reading = Options(threads=args.threads, max_bad=args.max_bad_records, report=warn)
    found = evaluation.report(model, path, args.crop_size, args.resize, args.crops, args.batch_size, reading)
    if args.json:
        print(json.dumps(found))
    else:
        print('\n'.join(evaluation.lines(found, args.per_class)))
    for line in found['remarks']:
        warn(line)


def main(argv=None):
    return options.run(evaluate, make_parser(), argv)
