"""ibnnet quickstart FOLDER: from a folder of pictures to a trained network, in minutes."""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
import time
from typing import Any

from ibnnet_mx.cli import options, pack_options, proposal, story
from ibnnet_mx.errors import OptionError, Stopped, dashed, visible

ABOUT = """Look at FOLDER, propose a network and a recipe, and after a question pack, train, evaluate, explain three
pictures and draw the curve. Each command is printed before it runs, so that one can go on by hand. FOLDER has a folder
for each class, or train/ and val/ with these. Nothing is written into it."""
EXAMPLES = (
    'ibnnet quickstart PICTURES',
    'ibnnet quickstart PICTURES --yes --minutes 3',
    'ibnnet quickstart PICTURES --domain photo --out runs/photo',
)
RUNS = 'runs'
EXPLAINED = 3  # pictures


def make_parser(prog='ibnnet quickstart'):
    usage = '%(prog)s FOLDER [options]'
    parser = options.Parser(EXAMPLES, prog=prog, usage=usage, description=ABOUT)
    parser.add_argument('folder', metavar='FOLDER', help='pictures, in a folder for each class')
    add = parser.add_argument_group('quickstart').add_argument
    add('--yes', '-y', action='store_true', help='begin without a question')
    add('--minutes', type=float, default=5, metavar='N', help='time that it may take')
    add('--out', metavar='DIR', help=f'new folder for all that is written; unset: {RUNS}/NAME')
    pack_options.add_domain(add)
    add('--from-scratch', action='store_true', help='leave out the CIFAR-10 weights that come along')
    return parser


def check_options(args):
    """Raise OptionError or ValueError for wrong options, before a picture is read."""
    if not os.path.isdir(args.folder):
        raise OptionError('FOLDER', args.folder, 'is no folder: name one that has a folder of pictures for each class')
    if not args.minutes > 0:
        raise OptionError('minutes', args.minutes, 'must be above 0')
    if args.out is not None and os.path.exists(args.out) and not (os.path.isdir(args.out) and not os.listdir(args.out)):
        raise OptionError('out', args.out, 'is there already: name a new folder')
    inside, folder = os.path.realpath(args.out or RUNS), os.path.realpath(args.folder)
    if inside == folder or inside.startswith(folder + os.sep):
        where = f'`out` {args.out}' if args.out else f'the usual folder {RUNS}'
        raise OptionError(
            'FOLDER', args.folder, f': {where} lies in it; name one outside by `out`, since nothing is written here'
        )
    if not args.yes and not sys.stdin.isatty():
        raise ValueError('there is no terminal to ask on: add --yes')


def new_folder(args):
    """Make and return the folder for all that is written."""
    if args.out is not None:
        os.makedirs(args.out, exist_ok=True)
        return args.out
    name = os.path.basename(os.path.realpath(args.folder))
    number = 1
    while True:
        path = os.path.join(RUNS, name if number == 1 else f'{name}-{number}')
        try:
            os.makedirs(path)
        except FileExistsError:
            number += 1
        else:
            return path


def measured(size, rows):
    """Return the seconds of a training step for a picture."""
    from ibnnet_mx import models
    from ibnnet_mx.training import speed

    return speed.seconds_of_picture(models.create(proposal.PRETRAINED), size, rows)


def agreed():
    """Return True if the user says yes. The end of the input, as by Ctrl-D, is a no."""
    print('begin? [Y/n] ', end='', flush=True)
    answer = sys.stdin.readline()
    return answer.strip().lower() in ('', 'y', 'yes') and answer.endswith('\n')


def run(name, *words):
    """Run a sub-command in a process of its own, printed as one would type it. Raises Stopped if it fails."""
    print(f'\n$ {story.typed(options.running(), name)} {shlex.join(words)}', flush=True)
    # The lines of the command name the program as it was called here.
    program = [sys.argv[0]] if os.path.basename(sys.argv[0]) == 'ibnnet' else ['-m', 'ibnnet_mx']
    code = subprocess.call([sys.executable, *program, name, *words])
    if code:
        code = 128 - code if code < 0 else code
        raise Stopped(code, f'ibnnet {name} ended with exit code {code}; what was written before stays')


def three_of(data_dir, folder, size):
    """Return paths of validation pictures of different classes."""
    from ibnnet_mx.recordio import lists

    samples = lists.read_list(os.path.join(data_dir, f'val_{size}.lst'))
    first: dict[float, Any] = {}
    for sample in samples:
        first.setdefault(sample.labels[0], sample)
    chosen = list(first.values())
    step = max(len(chosen) // EXPLAINED, 1)
    return [os.path.join(folder, sample.name) for sample in chosen[::step][:EXPLAINED]]


def best_line(prefix):
    """Return the line about the best epoch of a prefix."""
    from ibnnet_mx import checkpoint
    from ibnnet_mx.checkpoint import best

    return best.best_epoch(checkpoint.Store(prefix)).line()


def command(args):
    """Carry out the options of the command."""
    from ibnnet_mx.recordio.packing.open_source import open_source

    check_options(args)
    begin = time.monotonic()
    # Look and propose
    domain = ','.join(args.domain) if args.domain else None
    survey = proposal.survey_of(open_source(args.folder, None, domain))
    if len(survey.classes) < 2:
        raise OptionError('FOLDER', args.folder, 'has fewer than two classes: give each class a folder of pictures')
    for line in survey.lines(args.folder):
        print(visible(dashed(line, options.option_name)))
    chosen = proposal.propose(survey, measured, args.minutes, args.from_scratch)
    print('\n'.join(chosen.lines()), flush=True)
    if not args.yes and not agreed():
        print('nothing was written')
        return
    # Pack, train, evaluate
    out = new_folder(args)
    data, prefix, log = os.path.join(out, 'data'), os.path.join(out, 'model', 'net'), os.path.join(out, 'train.log')
    taken = ['--domain', domain] if domain else []
    run('pack', args.folder, data, '--image-size', str(chosen.size), *taken)
    run('train', '--data-dir', data, *chosen.options(), '--model-prefix', prefix, '--log-file', log, '--keep', '2')
    drawing = importlib.util.find_spec('matplotlib') is not None
    pictures = {name: os.path.join(out, f'{name}.png') for name in ('confusion', 'why', 'curve')}
    run('evaluate', data, '--prefix', prefix, *(('--confusion', pictures['confusion']) if drawing else ()))
    # Explain three pictures, and draw the curve
    three = three_of(data, args.folder, chosen.size)
    run('predict', '--img', *three, '--prefix', prefix, *(('--explain', pictures['why']) if drawing else ()))
    if drawing:
        run('plot', '--logs', log, '--out', pictures['curve'])
    print(f'\ndone in {proposal.duration(time.monotonic() - begin)}: {best_line(prefix)}')
    listed = ', '.join(pictures.values()) if drawing else 'no pictures, because matplotlib is missing: pip install it'
    print(f'files: {prefix}-NNNN.params, {log}, {listed}')
    typed = story.typed(options.running(), 'predict')
    print(f'next: {typed} --prefix {shlex.quote(prefix)} --img PICTURE')


def main(argv=None, prog='ibnnet quickstart'):
    return options.run(command, make_parser(prog), argv, 'interrupted; what was written before stays')
