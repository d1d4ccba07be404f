"""The options of ibnnet train."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any, Callable

from ibnnet_mx.cli import recipe_lines
from ibnnet_mx.cli.options import Parser, add_exif, add_image_size, add_labels, arguments
from ibnnet_mx.cli.source import add_key
from ibnnet_mx.models import NORMS, SMALL
from ibnnet_mx.models.tables import DROPOUT
from ibnnet_mx.norm.table import WORKSPACE
from ibnnet_mx.recipe import AUGMENT, RECIPES, SCHEDULES, Recipe

DATA = './data'
RECIPE = {each.name for each in fields(Recipe)}  # options whose defaults are a recipe's


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(',') if part.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} must be numbers with commas, such as 30,60,90') from None


def _stages(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(',') if part.strip())
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} must be stages with commas, such as 1,2') from None


def _level(text: str) -> int | str:
    levels = {str(level): level for level in AUGMENT}
    if text not in levels:
        raise argparse.ArgumentTypeError(f'{text!r} is not a level: use one of {", ".join(levels)}')
    return levels[text]


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(',') if part.strip())


def _factors(text: str) -> tuple[tuple[str, float], ...]:
    try:
        pairs = [part.split('=') for part in text.split(',') if part]
        return tuple((name, float(factor)) for name, factor in pairs)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} must be parts and factors, such as body=0.1,head=1') from None


def _memory(text: str) -> int | str:
    if text in ('auto', 'least'):
        return text
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text!r} is not an amount of memory: use auto, or megabytes such as 1500')
    return int(text)


def _chunks(text: str) -> int | str:
    if text != 'auto' and not text.lstrip('-').isdecimal():
        raise argparse.ArgumentTypeError(f'{text!r} is no count of chunks: use auto, or a number such as 8')
    return text if text == 'auto' else int(text)


def _network(add: Callable[..., Any]) -> None:
    add('--model', help='family such as resnet_v2 or resnext_ibn_a, or full name; see ibnnet models')
    add(
        '--depth',
        type=int,
        help='18, 34, 50, 101 ...; cifar10: 6n+2 below 164, 9n+2 from 164',
    )
    add('--norm', choices=NORMS, help='norm: bn, in, ln, gn, mabn, brn (renormalising) or, on GPUs, syncbn')
    add(
        '--norm-args',
        type=arguments,
        metavar='NAME=VALUE',
        help='arguments of --norm: B=2,real_B=32 for mabn, r_max=3 for brn',
    )
    add(
        '--norm-batch-size',
        type=int,
        help=f'pictures normalised together, for {", ".join(SMALL)}; unset: a whole batch',
    )
    add('--bn-mom', type=float, help='momentum of the running statistics, in every BatchNorm')
    add('--num-classes', type=int, help='count of classes; unset: as in the data')
    add('--workspace', type=int, default=WORKSPACE, help='convolution workspace in MB (GPU)')
    add('--zero-gamma', action='store_true', default=None, help="start the last norm's gamma of each unit at 0 (v1)")
    add(
        '--w-d',
        action='store_true',
        default=None,
        help=f'three 3x3 in the stem, 3x3 strided shortcuts, dropout of {DROPOUT}',
    )
    add(
        '--ibn-stages',
        type=_stages,
        metavar='1,2',
        help='stages with IBN; unset: all but the last, for IBN-b the first two',
    )
    add('--ibn-ratio', type=float, help="InstanceNorm's share of the channels in IBN-a; unset: 0.5, DenseNet 0.4")


def _start(add: Callable[..., Any]) -> None:
    add(
        '--pretrained',
        metavar='NAME',
        help='start from published weights (resnet50_ibn_a ...); --model can be left out',
    )
    add(
        '--init',
        metavar='FILE',
        help='start from weights: .pth, .th, .safetensors, .params',
    )
    add_key(add)
    add(
        '--new-head',
        action='store_true',
        help='start with a new classifier, as happens anyway if the count of classes differs',
    )
    add('--init-from-plain', action='store_true', help='--init is the plain network, and its IBN network is trained')
    add(
        '--freeze',
        type=_names,
        metavar='PARTS',
        help='parts that do not learn: stem,stage1,... head; body is all but the head',
    )
    add(
        '--lr-mult',
        type=_factors,
        metavar='PART=FACTOR',
        help='factors of the learning rate, by part: body=0.1,stage4=0.5',
    )


def _data(add: Callable[..., Any]) -> None:
    add('--data-dir', help=f'folder with the records of ibnnet pack; unset: {DATA}')
    add_image_size(add, text='size of the pictures, such as 96 or 256x128; unset: 224, or 32 for cifar10')
    add(
        '--data-type',
        choices=('imagenet', 'cifar10'),
        help='kind of records: imagenet, cifar10; unset: as in the recipe',
    )
    add('--list-dir', help='folder with .lst files to compare with the records (count, ids, labels)')
    add(
        '--aug-level',
        type=_level,
        help='1: crop; 2: and scale, colour; 3: and rotation; rrc, cifar, digits',
    )
    add('--no-aug-epochs', type=int, help='the last N epochs crop and mirror only')
    add_labels(add)
    add_exif(add, default=None)
    add('--num-examples', type=int, help='pictures of an epoch; unset: all of the data')
    add('--max-bad-records', type=int, default=0, help='skip up to so many damaged pictures, then stop')


def _optimisation(add: Callable[..., Any]) -> None:
    add(
        '--recipe',
        choices=RECIPES,
        help='set of hyper-parameters, listed below; unset: by --data-type, else imagenet',
    )
    add('--optimizer', choices=('sgd', 'nag'), help='plain momentum (sgd) or Nesterov (nag)')
    add(
        '--lr',
        type=float,
        help='learning rate; with --retrain a new one holds from that epoch on',
    )
    add(
        '--lr-batch', type=int, metavar='B', help='batch size that --lr is meant for; the rate is --lr x batch size / B'
    )
    add('--mom', type=float, help='momentum')
    add('--wd', type=float, help='weight decay')
    add('--batch-size', type=int, help='pictures of a step, divided over all devices of all workers')
    add('--epochs', type=int, help='epochs in total, including those before --retrain')
    add('--early-stop', type=int, metavar='N', help='end after N epochs without a better validation; 0: never')
    add(
        '--schedule',
        choices=SCHEDULES,
        help='learning rate: step (a tenth at --lr-steps), cosine or linear (to 0)',
    )
    add('--lr-steps', type=_numbers, help='epochs at which the rate falls to a tenth, such as 30,60,90')
    add('--warmup-epochs', type=float, help='epochs in which the rate rises linearly from 0')
    add('--label-smoothing', type=float, help='share of the target that is spread evenly over all classes')
    add('--mixup', type=float, metavar='ALPHA', help='mix pairs of pictures, with shares drawn from Beta(ALPHA, ALPHA)')
    add('--clip-gradient', type=float, metavar='NORM', help='largest L2 norm of all gradients together')
    add(
        '--no-decay', type=_names, metavar='ENDINGS', help='endings of parameters without weight decay: gamma,beta,bias'
    )
    add('--seed', type=int, help='seed of weights, order and augmentation')


def _run(add: Callable[..., Any]) -> None:
    add('--model-prefix', help='prefix of the checkpoints; unset: model/NAME')
    add(
        '--retrain',
        nargs='?',
        const='yes',
        choices=('yes', 'auto'),
        help='go on from the last checkpoint; auto: begin anew if there is none',
    )
    add('--model-load-epoch', type=int, help='epoch of the checkpoint to go on from; unset: the newest undamaged one')
    add('--checkpoint-batches', type=int, metavar='N', help='also save every N batches within an epoch; unset: never')
    add(
        '--on-save-error',
        choices=('stop', 'go-on'),
        default='stop',
        metavar='DO',
        help='if a checkpoint cannot be written: stop, or go-on without it',
    )
    add(
        '--nan',
        choices=('stop', 'skip', 'rollback'),
        default='stop',
        metavar='DO',
        help='a batch that is not finite: stop, skip its update, or rollback to the last checkpoint',
    )
    add(
        '--stall-timeout',
        type=float,
        metavar='SECONDS',
        help='end a run in which nothing happens for so long; unset: never',
    )
    add('--keep', type=int, help='keep so many of the newest checkpoints, and the best; unset: all')
    add('--frequent', type=int, default=50, help='batches between two log lines')
    add(
        '--log-file',
        help='log file; unset: log/NAME.log, NAME as in --model-prefix',
    )
    add(
        '--log-style',
        choices=('auto', 'epoch', 'lines'),
        default='auto',
        metavar='STYLE',
        help='stderr: a line an epoch, lines as in the log, or auto: by the terminal',
    )
    add('--tensorboard', metavar='DIR', help='folder for TensorBoard scalars')
    add(
        '--profile', metavar='FILE', help='measure a few steps, write where their time goes as .json or .png, then stop'
    )
    add('--dry-run', action='store_true', help='print the resolved recipe and the network, then stop')


def _files(add: Callable[..., Any]) -> None:
    add('--run-dir', metavar='DIR', help='folder in which each run has its own, such as runs')
    add('--config', metavar='FILE', help='take options from a TOML file; those of the command line win')
    add('--write-config', metavar='FILE', help='write the recipe and the options as a TOML file')


def make_parser(prog: str = 'train_resnet') -> Parser:
    """Return the parser of the command. None means that the recipe's or checkpoint's value holds."""
    parser = Parser(recipe_lines.EXAMPLES, prog=prog, description=recipe_lines.ABOUT, epilog=recipe_lines.listed())
    _network(parser.add_argument_group('network').add_argument)
    _start(parser.add_argument_group('fine-tuning').add_argument)

    _data(parser.add_argument_group('data').add_argument)
    _optimisation(parser.add_argument_group('optimisation').add_argument)

    add = parser.add_argument_group('machine').add_argument
    add('--gpus', '--gpu', default='', help='numbers of GPUs, such as 0,1; unset: the CPU')
    add('--cpus', type=int, default=1, help='count of CPU devices, to try several devices without a GPU')
    add(
        '--dtype',
        choices=('float32', 'bfloat16'),
        help='float32, or on the CPU bfloat16: type of most layers in training',
    )
    add(
        '--kv-store',
        default='local',
        help='local, device, horovod; with ibnnet launch: dist_sync, dist_device_sync',
    )
    add('--threads', type=int, help='threads of the reader; unset: one for each core')
    add(
        '--accumulate',
        type=_chunks,
        metavar='auto|K',
        help="K: compute a device's share in K chunks; auto: in the fewest that fit",
    )
    add(
        '--memonger',
        type=_memory,
        nargs='?',
        const='least',
        metavar='auto|MB',
        help='recompute activations: if need be, or to MB; alone: all',
    )
    add('--no-memory-check', action='store_true', help='begin even if the memory seems too small')

    add = parser.add_argument_group('run').add_argument
    _run(add)
    _files(add)
    parser.tell_default(RECIPE, 'by the recipe')
    return parser
