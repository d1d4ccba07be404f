"""ibnnet evaluate DATA --prefix P: top-1, top-5, cross entropy, calibration and the classes' accuracies."""

from __future__ import annotations

import contextlib
import json
import os

from ibnnet_mx.cli import options, source
from ibnnet_mx.errors import dashed, visible
from ibnnet_mx.files import outputs
from ibnnet_mx.shift import table
from ibnnet_mx.size import Size

ABOUT = """Measure a network: top-1, top-5, cross entropy, calibration and the classes' accuracies, on pictures as
they are, on shifted pictures, or on several domains."""
EPILOG = """DATA: a .rec file, a folder with the records of `ibnnet pack`, or a folder of class folders (also with val/
or test/ above them). Pictures of a .rec that are smaller than the crop are enlarged: name a folder of the original
pictures and add --resize instead. Far larger ones are brought to size as files are.

SHIFTS: all (the 15 corruptions of arXiv:1903.12261), groups or names, separated by commas, each with or without a
severity from 1 to 5, such as fog:3,noise. """ + ' '.join(
    f'{group}: {", ".join(names)}.' for group, names in table.GROUPS.items()
)
EXAMPLES = (
    'ibnnet evaluate DATA --prefix model/resnet50_v2',
    'ibnnet evaluate DATA --prefix model/resnet50_v2 --epoch 90 --shift all',
    'ibnnet evaluate DATA --weights published --model resnet50_ibn_a',
    'ibnnet evaluate --prefix model/a --domains photo=P art=A --json',
)

MOST_THREADS = 1024


def make_parser(prog='evaluate'):
    usage = '%(prog)s DATA --prefix PREFIX [options]'
    parser = options.Parser(EXAMPLES, prog=prog, usage=usage, description=ABOUT, epilog=EPILOG)
    parser.add_argument('data', nargs='?', metavar='DATA', help='labelled pictures')
    add = parser.add_argument_group('network').add_argument
    source.add_options(add)
    add = parser.add_argument_group('pictures').add_argument
    add('--data-dir', help='the same as DATA')
    add(
        '--domains',
        nargs='+',
        action='extend',
        metavar='NAME=DATA',
        help='several sets in place of DATA: a row for each, mean and worst',
    )
    options.add_image_size(
        add,
        '--crop-size',
        text='size of the crop, such as 320 or 256x128; unset: as in training',
    )
    add('--resize', type=int, help='short side before the crop; unset: 256/224 of the crop, of records none')
    add(
        '--crops',
        type=int,
        default=1,
        help='1: the centre; 10: also corners and mirrors, averaged',
    )
    add('--batch-size', type=int, default=100, help='pictures at a time; it changes the speed')
    add('--threads', type=int, help='threads of the reader, processes of --shift; unset: one for each core')
    add('--max-bad-records', type=int, default=0, help='skip up to so many damaged pictures')
    options.add_labels(add)
    options.add_exif(add)
    add('--every', type=int, default=1, metavar='K', help='use only each K-th picture')
    add = parser.add_argument_group('shifted pictures').add_argument
    add('--shift', metavar='SHIFTS', action='append', help='also measure errors on shifted pictures')
    add('--seed', type=int, help='seed of --shift; unset: 0')
    add('--baseline', metavar='PREFIX', help='checkpoint to compare with: mCE and relative mCE, or by domain')
    source.add_epoch(add, 'epoch of --baseline', '--baseline-epoch', 'the value of --epoch')
    add = parser.add_argument_group('run').add_argument
    add('--gpu', '--gpus', type=int, help='number of the GPU; unset: the CPU')
    add('--per-class', action='store_true', help='list every class, not only the best and worst')
    add('--confusion', metavar='FILE', help='draw which class is taken for which: .png, .svg, .pdf')
    add(
        '--sheet',
        metavar='FILE',
        help='draw pictures as the network sees them: .png, .jpg',
    )
    add('--json', action='store_true', help='print one JSON object')
    return parser


def warn(text):
    options.tell(visible(text))


def check_options(args):
    """Raise ValueError if an option has an impossible value, or contradicts another option."""
    for option, value, least in (
        ('--batch-size', args.batch_size, 1),
        ('--threads', args.threads, 1),
        ('--max-bad-records', args.max_bad_records, 0),
        ('--every', args.every, 1),
        ('--seed', args.seed, 0),
    ):
        if value is not None and value < least:
            raise ValueError(f'{option} {value} must be at least {least}')
    if args.threads is not None and args.threads > MOST_THREADS:
        raise ValueError(f'--threads {args.threads} must be at most {MOST_THREADS}')
    options.check_labels(args.label_width, args.label_column)
    if args.domains:
        for option in ('shift', 'sheet', 'confusion', 'per_class'):
            if getattr(args, option):
                raise ValueError(f'{options.option_name(option)} is for one DATA: run it for each of --domains')
    if args.seed is not None and args.shift is None:
        raise ValueError(f'--seed {args.seed} is the seed of --shift: add --shift')
    if args.shift is not None and args.crops != 1:
        raise ValueError(f'--crops {args.crops}: --shift uses the centre only; leave --crops out')
    if args.baseline is not None and args.shift is None and not args.domains:
        raise ValueError(f'--baseline {args.baseline} needs --shift or --domains')
    check_files(args)


def check_files(args):
    """Raise ValueError if a drawing cannot be written, has an unknown suffix, or would overwrite an input."""
    from ibnnet_mx.recordio.inspection import sheet
    from ibnnet_mx.report import figures

    if args.sheet is not None:
        if os.path.splitext(args.sheet)[1].lower() not in sheet.SUFFIXES:
            raise ValueError(f'--sheet {args.sheet}: the name must end in {", ".join(sheet.SUFFIXES)}')
        outputs.check_writable('sheet', args.sheet)
    if args.confusion is not None:
        figures.check_figure('confusion', args.confusion)
        if args.sheet is not None and os.path.abspath(args.sheet) == os.path.abspath(args.confusion):
            raise ValueError(f'--sheet {args.sheet} is the file of --confusion too: name another')
    given = [path for path in (args.data, args.data_dir) if path is not None]
    outputs.spare_inputs(given, {'sheet': args.sheet, 'confusion': args.confusion})


def place_of(args):
    """Return DATA. Raises ValueError unless exactly one place of pictures was given."""
    given = [path for path in (args.data, args.data_dir) if path is not None] + ['--domains'] * bool(args.domains)
    if len(given) != 1:
        raise ValueError(f'DATA: name one place of pictures; {" and ".join(given) or "none"} given')
    return given[0]


def open_networks(args, context):
    """Return the network, and the baseline if there is one."""
    from ibnnet_mx.inference import opening
    from ibnnet_mx.shift import LEAST

    baseline = source.open_other(args, context, 'baseline')
    networks = [source.open_source(args, context), *([baseline] if baseline else [])]
    for network in networks:
        opening.need_classes(network, 'ibnnet predict --features FILE.npz writes its numbers')
        options.check_image_size(network, args.image_size)
        if args.shift is not None and min(Size.of(network.size)) < LEAST:
            raise ValueError(
                f'--shift {args.shift}: pictures need at least {LEAST} pixels to be shifted; these have {network.size}'
            )
    shifted = args.shift is not None
    if len({(network.classes, network.size if shifted else 0) for network in networks}) > 1:
        both = ' and '.join(f'{network.classes} classes of {network.size} pixels' for network in networks)
        raise ValueError(f'--baseline {args.baseline}: the networks are for {both} and cannot be compared')
    ours, theirs = (one.names if shifted else sorted(one.names) for one in (networks[0], networks[-1]))
    if ours and theirs and ours != theirs:
        one, other = next((pair for pair in zip(ours, theirs) if pair[0] != pair[1]), (ours[-1], theirs[-1]))
        raise ValueError(f'--baseline {args.baseline}: its classes differ, such as {other!r} instead of {one!r}')
    for note in [note for network in networks for note in network.notes]:
        warn(dashed(note, options.option_name))
    return networks


def open_raw(args, network, path, reading):
    """Return a context with the data.Evaluation of the same pictures as raw pixels, so that they can be shifted."""
    from ibnnet_mx.inference import evaluation
    from ibnnet_mx.recordio.reading.options import unsaid

    quiet = reading._replace(report=unsaid)  # skipped pictures were reported before
    pictures, _ = evaluation.open_pictures(
        network, path, network.input, args.batch_size, args.resize, 1, quiet, raw=True
    )
    return contextlib.closing(pictures)


def as_typed(report):
    """Change a report's remarks so that they name options as a user types them, and return it."""
    report['remarks'] = [dashed(line, options.option_name) for line in report['remarks']]
    return report


def over_domains(networks, named, rest):
    """Return the report of --domains, its text and its remarks."""
    from ibnnet_mx.inference import domains, evaluation

    reports, remarks = [], []
    for network in networks:
        reports.append({key: as_typed(evaluation.report_of(network, data, *rest)) for key, data in named.items()})
        prefix = 'the baseline on ' if len(reports) > 1 else ''
        remarks += [f'{prefix}{key}: {line}' for key, one in reports[-1].items() for line in one['remarks']]
    report = domains.report_of(*reports)
    return report, list(domains.lines(report)), list(dict.fromkeys(remarks))


def draw(args, network, result, keys, seen):
    """Draw --confusion and --sheet. seen: (path, reader's options, shifts, their seed) of the measurement."""
    from ibnnet_mx.recordio.inspection import letters
    from ibnnet_mx.report import confusion, sheets

    path, reading, wanted, seed = seen
    if args.confusion:
        confusion.draw_confusion(args.confusion, result, keys)
        warn(f'--confusion {args.confusion} is written')
    if args.sheet:
        with open_raw(args, network, path, reading) as pictures:
            shown = sheets.draw_sheet(args.sheet, pictures, network, keys, wanted, seed)
        warn(f'--sheet {args.sheet} is written: {shown}')
    options.tell_missing(letters.missing(keys))


def evaluate(args):
    """Carry out the options of the command."""
    from ibnnet_mx import _limits, shift
    from ibnnet_mx.distributed.cluster import connect
    from ibnnet_mx.inference import corruption, domains, evaluation
    from ibnnet_mx.recordio.reading.options import Options

    # The options
    args.shift = ','.join(args.shift) if args.shift is not None else None
    check_options(args)
    path, wanted = place_of(args), shift.chosen(args.shift) if args.shift is not None else []
    named, seed = domains.read_domains(args.domains) if args.domains else {}, args.seed or 0
    # The networks
    cluster = connect('local', '' if args.gpu is None else str(args.gpu))
    networks = open_networks(args, cluster.contexts[0])
    reading = Options(
        threads=args.threads,
        max_bad=args.max_bad_records,
        every=args.every,
        report=warn,
        label_width=args.label_width or 1,
        label_column=args.label_column,
        exif=args.exif,
    )
    rest = (args.image_size, args.resize, args.crops, args.batch_size, reading)
    # The numbers
    if named:
        report, text, remarks = over_domains(networks, named, rest)
    else:
        report, result, keys = evaluation.measure(networks[0], path, *rest)
        as_typed(report)
        text, remarks = list(evaluation.lines(report, args.per_class)), report['remarks']
        if wanted:
            count = args.threads or _limits.usable_cores()
            with open_raw(args, networks[0], path, reading) as pictures, shift.Workers(count) as workers:
                measured = corruption.measure(networks, pictures, wanted, workers, seed)
            report['shift'] = corruption.report_of(measured, [network.label for network in networks], seed)
            text += corruption.lines(report['shift'])
    print(json.dumps(report, allow_nan=False) if args.json else '\n'.join(text), flush=True)
    for line in remarks:
        warn(line)
    if args.confusion or args.sheet:
        draw(args, networks[0], result, keys, (path, reading, wanted, seed))


def main(argv=None, prog='evaluate'):
    names = {'gpus': '--gpu', 'size': '--crop-size', 'max_bad': '--max-bad-records'}
    return options.run(evaluate, make_parser(prog), argv, names=names)
