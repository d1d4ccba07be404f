"""What the commands share: how options are read and how a user's mistake is told."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from typing import Any, Callable, NoReturn, Sequence

from ibnnet_mx import _env
from ibnnet_mx.cli import streams
from ibnnet_mx.errors import OptionError, Stopped, dashed
from ibnnet_mx.models import NORMS, SMALL
from ibnnet_mx.models.tables import DROPOUT
from ibnnet_mx.norm.table import WORKSPACE
from ibnnet_mx.recipe import AUGMENT, RECIPES, SCHEDULES


class RawText(argparse.RawDescriptionHelpFormatter):
    """Help whose description keeps its line ends."""


class Parser(argparse.ArgumentParser):
    """Options by their whole names; a mistake is one line, without the usage text, and exit code 2."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{'allow_abbrev': False, **settings})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, rest = super().parse_known_args(args, namespace)
        for action in self._actions:  # argparse makes an empty list of --option=--
            if action.nargs is None and getattr(found, action.dest, None) == []:
                self.error(f'argument {"/".join(action.option_strings) or action.metavar}: expected one argument')
        return found, rest

    def error(self, message: str) -> NoReturn:
        self.exit(2, f'{self.prog}: {one_line(message)}\n')


def one_line(text: str) -> str:
    """A text in which names of files or words of libraries may end lines."""
    return ' '.join(part.strip() for part in text.splitlines() if part.strip())


def option_name(option: str) -> str:
    """Return an option as it is typed: '--zero-gamma' of 'zero_gamma'."""
    return option if option.isupper() else f'--{option.replace("_", "-")}'  # SHEET is an argument's place


def named(names: dict[str, str] | None) -> Callable[[str], str]:
    """Return option_name() with the exceptions that stand in names."""
    return lambda option: (names or {}).get(option) or option_name(option)


class _Terminated(KeyboardInterrupt):
    """As Ctrl-C, which no handler of errors keeps from ending what runs."""


def _terminated(*_: Any) -> NoReturn:
    raise _Terminated


def run(
    command: Callable[[argparse.Namespace], int | None],
    parser: Parser,
    argv: Sequence[str] | None = None,
    interrupted: str = 'interrupted',
    names: dict[str, str] | None = None,
) -> int:
    """Return the exit code of `command(options)`. A mistake, a file's trouble or a missing package is one line and 2.

    interrupted: the line after Ctrl-C. names: what the library's options are called here, if not by option_name().
    """
    name_of = named(names)
    streams.whole()
    options = parser.parse_args(argv)
    alone = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # which would leave processes that a command has begun
    if alone and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminated)
    try:
        code = command(options) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError as error:
        if streams.reader_gone():
            return 128 + signal.SIGPIPE  # as a shell says it of a program in C
        code, text = 2, str(error)
    except KeyboardInterrupt as error:
        code, text = (128 + signal.SIGTERM if isinstance(error, _Terminated) else 130), interrupted
    except Stopped as stopped:
        code, text = stopped.code, dashed(str(stopped), name_of)
    except OSError as error:
        code, text = 2, f'{error.filename}: {error.strerror}' if error.filename else str(error)
    except ModuleNotFoundError as error:
        code, text = 2, _env.describe_error(error)
    except OptionError as error:
        code, text = 2, error.told(name_of)
    except ValueError as error:
        code, text = 2, str(error)
    finally:
        if signal.getsignal(signal.SIGTERM) is _terminated:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    print(f'{parser.prog}: {one_line(text)}', file=sys.stderr)
    return code


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


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def arguments(text: str) -> tuple[tuple[str, int | float | str], ...]:
    pairs = [part.split('=') for part in text.split(',') if part]
    if any(len(pair) != 2 for pair in pairs):
        raise argparse.ArgumentTypeError(f'{text!r} must be names and values, such as B=2,real_B=32')
    return tuple((name, _value(value)) for name, value in pairs)


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


def training() -> Parser:
    """The options of train_resnet.py; unset (None) = the recipe's value, or with --retrain the checkpoint's."""
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
