"""The options of train_resnet.py."""

from __future__ import annotations

import argparse
from typing import Any, Callable

from ibnnet_mx.cli.options import Parser, add_exif, add_image_size, add_labels, arguments
from ibnnet_mx.cli.source import add_key
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
    if text == 'auto':
        return text
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text!r} is not an amount of memory: use auto, or megabytes such as 1500')
    return int(text)


def _network(add: Callable[..., Any]) -> None:
    add('--model', help='resnet, resnext, se_resnet, densenet ..., then _v2 or _v1a, _ibn_a or _ibn_b; or a full name')
    add(
        '--depth',
        type=int,
        help='18 34 50 101 152 200 269, as the family has them; cifar10: 6n+2 below 164, 9n+2 from 164',
    )
    add('--norm', choices=NORMS, help='bn (BatchNorm), in, ln, gn, syncbn (GPUs), mabn or brn (Batch Renormalization)')
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
        help='start from weights: .pth, .th, .safetensors, .params, or a checkpoint of this project',
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
    add('--data-dir', default='./data', help='folder with the records of tools/im2rec_wrapper.py')
    add('--data-type', choices=('imagenet', 'cifar10'), help='kind of records; unset: as in the recipe')
    add_image_size(
        add,
        text='size of the pictures that the network sees, such as 96 or 256x128 (height first); unset: 224, or 32 for '
        'cifar10. Records of that size (train_96.rec) are taken first',
    )
    add('--list-dir', help='folder with .lst files to compare with the records (count, ids, labels)')
    add(
        '--aug-level',
        type=_level,
        help='1: crop and mirror; 2: also scale, aspect and colour; 3: also rotation and shear; or rrc',
    )
    add('--no-aug-epochs', type=int, help='the last N epochs crop and mirror only')
    add_labels(add)
    add_exif(add)
    add('--num-examples', type=int, help='pictures of an epoch; unset: all of the data')
    add('--max-bad-records', type=int, default=0, help='skip up to so many damaged pictures, then stop')


def _optimisation(add: Callable[..., Any]) -> None:
    add(
        '--recipe',
        choices=RECIPES,
        help='set of hyper-parameters: imagenet (default), ibn, cifar10, cifar10_fast, digits',
    )
    add('--optimizer', choices=('sgd', 'nag'), help='plain momentum (sgd) or Nesterov (nag)')
    add(
        '--lr',
        type=float,
        help='learning rate; with --retrain a new one holds from that epoch on, and --lr-steps still apply',
    )
    add(
        '--lr-batch', type=int, metavar='B', help='batch size that --lr is meant for; the rate is --lr x batch size / B'
    )
    add('--mom', type=float, help='momentum')
    add('--wd', type=float, help='weight decay')
    add('--batch-size', type=int, help='pictures of a step, divided over all devices of all workers')
    add('--epochs', type=int, help='epochs in total, including those before --retrain')
    add(
        '--schedule',
        choices=SCHEDULES,
        help='schedule of the learning rate: step (a tenth at each of --lr-steps), cosine or linear (down to 0)',
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
        help='go on from a checkpoint, as if the run had not been interrupted; auto: begin anew if there is none',
    )
    add('--model-load-epoch', type=int, help='epoch of the checkpoint to go on from; unset: the newest undamaged one')
    add('--checkpoint-batches', type=int, metavar='N', help='also save every N batches within an epoch; unset: never')
    add(
        '--on-save-error',
        choices=('stop', 'go-on'),
        default='stop',
        help='if a checkpoint cannot be written: end the run, or go on without it',
    )
    add(
        '--nan',
        choices=('stop', 'skip', 'rollback'),
        default='stop',
        help='if the loss or gradient of a batch is not finite: end the run, skip the update, or go back to the last '
        'checkpoint and leave the batch out',
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
        help='log file; unset: log/NAME.log, NAME as in --model-prefix; worker 1 of several: log/NAME-1.log',
    )
    add('--tensorboard', metavar='DIR', help='folder for TensorBoard scalars')
    add(
        '--profile', metavar='FILE', help='measure a few steps, write where their time goes as .json or .png, then stop'
    )
    add('--dry-run', action='store_true', help='print the resolved recipe and the network, then stop')


def make_parser() -> Parser:
    """Return the parser of train_resnet.py. None means that the recipe's or checkpoint's value holds."""
    parser = Parser(
        prog='train_resnet',
        description='Train ResNet and IBN-ResNet from RecordIO files.',
        epilog='Options that are not given take the value of the recipe, or with --retrain of the checkpoint.',
    )
    _network(parser.add_argument_group('network').add_argument)
    _start(parser.add_argument_group('fine-tuning').add_argument)

    _data(parser.add_argument_group('data').add_argument)
    _optimisation(parser.add_argument_group('optimisation').add_argument)

    add = parser.add_argument_group('machine').add_argument
    add('--gpus', default='', help='numbers of GPUs, such as 0,1; empty: the CPU')
    add('--cpus', type=int, default=1, help='count of CPU devices, to try several devices without a GPU')
    add('--dtype', choices=('float32', 'bfloat16'), help='type of convolutions and dense layers in training (CPU)')
    add(
        '--kv-store',
        default='local',
        help='sum of gradients: local or device: over the devices of this process; dist_sync or dist_device_sync: also '
        'over the workers of ibnnet-launch; horovod: also over the workers of horovodrun',
    )
    add('--threads', type=int, help='threads of the reader; unset: one for each core')
    add('--accumulate', type=int, metavar='K', help="compute a device's share in K chunks, with a K-th of the memory")
    add(
        '--memonger',
        type=_memory,
        nargs='?',
        const='auto',
        metavar='auto|MB',
        help='recompute activations in the backward pass, with the same result. auto: with the least memory; MB: with '
        'at most so many megabytes on each device for activations and their gradients (weights and their gradients '
        'not counted)',
    )

    _run(parser.add_argument_group('run').add_argument)
    return parser
