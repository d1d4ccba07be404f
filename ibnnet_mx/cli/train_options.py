"""The options of train_resnet.py."""

from __future__ import annotations

import argparse
from typing import Any, Callable

from ibnnet_mx.cli.options import Parser, arguments
from ibnnet_mx.models import NORMS, SMALL
from ibnnet_mx.models.tables import DROPOUT
from ibnnet_mx.norm.table import WORKSPACE
from ibnnet_mx.recipe import AUGMENT, RECIPES, SCHEDULES


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
        raise argparse.ArgumentTypeError(f'{text!r} is no level: use one of {", ".join(levels)}')
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
    if text == 'auto':
        return text
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text!r} is no amount of memory: use auto, or megabytes such as 1500')
    return int(text)


def _network(add: Callable[..., Any]) -> None:
    add('--model', help='resnet, resnext, se_resnet, densenet ..., then _v2 or _v1a, _ibn_a or _ibn_b; or a full name')
    add('--depth', type=int, help='18 34 50 101 152 200 269, of the family; cifar10: 6n+2 below 164, 9n+2 from 164 on')
    add('--norm', choices=NORMS, help='bn (BatchNorm), in, ln, gn, syncbn (GPUs), mabn or brn (Batch Renormalization)')
    add(
        '--norm-args', type=arguments, metavar='NAME=VALUE', help='of the norm: B=2,real_B=32 for mabn, r_max=3 for brn'
    )
    add('--norm-batch-size', type=int, help=f'pictures normalised together, with {", ".join(SMALL)}; unset: a batch')
    add('--bn-mom', type=float, help='momentum of the running statistics, in every BatchNorm')
    add('--num-classes', type=int, help='unset: what the data says')
    add('--workspace', type=int, default=WORKSPACE, help='convolution workspace in MB (GPU)')
    add('--zero-gamma', action='store_true', default=None, help="start the last norm's gamma of each unit at 0 (v1)")
    add(
        '--w-d',
        action='store_true',
        default=None,
        help=f'three 3x3 in the stem, 3x3 strided shortcuts, dropout of {DROPOUT}',
    )
    add(
        '--ibn-stages', type=_stages, metavar='1,2', help='which have IBN; unset: all but the last, IBN-b the first two'
    )
    add('--ibn-ratio', type=float, help="InstanceNorm's share of the channels in IBN-a; unset: 0.5, DenseNet 0.4")


def _start(add: Callable[..., Any]) -> None:
    add(
        '--pretrained',
        metavar='NAME',
        help='start from published weights (resnet50_ibn_a ...); --model can be left out',
    )
    add('--init', metavar='FILE', help='start from weights: .pth, .th, .safetensors, .params, a checkpoint of ours too')
    add('--new-head', action='store_true', help='the classifier starts anew, as it does where the classes differ')
    add('--init-from-plain', action='store_true', help='--init is the plain network of the IBN network to be trained')
    add('--freeze', type=_names, metavar='PARTS', help='do not change: stem,stage1,... head; body is all but the head')
    add('--lr-mult', type=_factors, metavar='PART=FACTOR', help='factors on the rate, by part: body=0.1,stage4=0.5')


def _optimisation(add: Callable[..., Any]) -> None:
    add('--recipe', choices=RECIPES, help='imagenet (default), ibn, cifar10, cifar10_fast, digits')
    add('--optimizer', choices=('sgd', 'nag'), help='momentum plain or after Nesterov')
    add('--lr', type=float, help='learning rate; a new one with --retrain: from that epoch on, steps still apply')
    add('--lr-batch', type=int, metavar='B', help='the batch size that --lr is for; the rate is --lr x batch size / B')
    add('--mom', type=float, help='momentum')
    add('--wd', type=float, help='weight decay')
    add('--batch-size', type=int, help='global, divided over all devices of all workers')
    add('--epochs', type=int, help='in total, those before a --retrain included')
    add('--schedule', choices=SCHEDULES, help='step (a tenth at each of --lr-steps), cosine or linear (down to 0)')
    add('--lr-steps', type=_numbers, help='epochs at which the rate falls to a tenth, such as 30,60,90')
    add('--warmup-epochs', type=float, help='epochs of a linear rise from 0')
    add('--label-smoothing', type=float)
    add('--mixup', type=float, metavar='ALPHA')
    add('--clip-gradient', type=float, metavar='NORM', help='largest L2 norm of the gradient')
    add('--no-decay', type=_names, metavar='ENDINGS', help='parameters without decay: gamma,beta,bias')
    add('--seed', type=int, help='of weights, order and augmentation')


def _run(add: Callable[..., Any]) -> None:
    add('--model-prefix', help='of the checkpoints; unset: model/NAME')
    add(
        '--retrain',
        nargs='?',
        const='yes',
        choices=('yes', 'auto'),
        help='go on from a checkpoint, as if the run had not been interrupted; auto: if there is one, else begin',
    )
    add('--model-load-epoch', type=int, help='the checkpoint to go on from; unset: the newest whole one')
    add('--checkpoint-batches', type=int, metavar='N', help='save every N batches within an epoch too; unset: do not')
    add(
        '--on-save-error',
        choices=('stop', 'go-on'),
        default='stop',
        help='where a checkpoint cannot be written: end the run, or go on without',
    )
    add(
        '--nan',
        choices=('stop', 'skip', 'rollback'),
        default='stop',
        help='a batch whose loss or gradient is not finite: end the run, do without its update, or go back to the last '
        'checkpoint and leave the batch out',
    )
    add(
        '--stall-timeout',
        type=float,
        metavar='SECONDS',
        help='end a run in which nothing happens for so long; unset: no',
    )
    add('--keep', type=int, help='how many of the newest checkpoints stay, beside the best; unset: all')
    add('--frequent', type=int, default=50, help='batches between two log lines')
    add('--log-file', help='unset: log/NAME.log, NAME as that of the checkpoints; worker 1 of several: log/NAME-1.log')
    add('--tensorboard', metavar='DIR', help='scalars for TensorBoard')
    add('--profile', metavar='FILE', help='.json or .png: measure a few steps, write where their time goes, then stop')
    add('--dry-run', action='store_true', help='print the resolved recipe and the network, then stop')


def make_parser() -> Parser:
    """Return the parser of train_resnet.py. An option that is not given is None: the recipe's or checkpoint's value."""
    parser = Parser(
        prog='train_resnet',
        description='Train ResNet and IBN-ResNet from RecordIO files.',
        epilog='Options that are not given take the value of the recipe, with --retrain that of the checkpoint.',
    )
    _network(parser.add_argument_group('network').add_argument)
    _start(parser.add_argument_group('fine-tuning').add_argument)

    add = parser.add_argument_group('data').add_argument
    add('--data-dir', default='./data', help='folder with the records of tools/im2rec_wrapper.py')
    add('--data-type', choices=('imagenet', 'cifar10'), help='names and sizes of the records; unset: the recipe says')
    add('--list-dir', help='folder with .lst files to hold against the records (count, ids, labels)')
    add('--aug-level', type=_level, help='1 crop and mirror, 2 and scale, aspect, colour, 3 and rotation, shear; rrc')
    add('--no-aug-epochs', type=int, help='the last N epochs crop and mirror only')
    add('--num-examples', type=int, help='pictures of an epoch; unset: what the data says')
    add('--max-bad-records', type=int, default=0, help='damaged pictures that are skipped before the run stops')

    _optimisation(parser.add_argument_group('optimisation').add_argument)

    add = parser.add_argument_group('machine').add_argument
    add('--gpus', default='', help='such as 0,1; empty: the CPU')
    add('--cpus', type=int, default=1, help='CPU contexts, to try several devices without a GPU')
    add('--dtype', choices=('float32', 'bfloat16'), help='of convolutions and dense layers in training (CPU)')
    add(
        '--kv-store',
        default='local',
        help='local or device: how the devices of this process add their gradients; dist_sync, dist_device_sync: and '
        'all workers of a job that ibnnet-launch starts; horovod: and those of horovodrun',
    )
    add('--threads', type=int, help='of the reader; unset: one for each core')
    add('--accumulate', type=int, metavar='K', help="compute a device's pictures in K parts, with a K-th of the memory")
    add(
        '--memonger',
        type=_memory,
        nargs='?',
        const='auto',
        metavar='auto|MB',
        help='recompute activations in the backward pass, with the same result: alone or with auto for the least '
        'memory, with a number so that what lies between the layers (activations and their gradients, not weights and '
        'theirs) takes so many MB on each device',
    )

    _run(parser.add_argument_group('run').add_argument)
    return parser
