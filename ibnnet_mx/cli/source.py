"""The options that name the network of evaluate and predict: a checkpoint, weights, or an .onnx file."""

from __future__ import annotations

import os

from ibnnet_mx.cli import options, places
from ibnnet_mx.errors import OptionError
from ibnnet_mx.models import NORMS

PIXELS = ('raw', 'imagenet')  # keys of inference.opening.PIXELS, whose import needs mxnet
OPTIONS = {'prefix': '--prefix', 'weights': '--weights', 'onnx': '--onnx'}


def add_norm(add):
    add('--norm', choices=NORMS, help='norm of weights that do not say it: bn, in, ln, gn ...; unset: as the arrays')
    add(
        '--norm-args',
        type=options.arguments,
        metavar='NAME=V',
        help='arguments of --norm, such as groups=8; unset: its own',
    )


def add_key(add):
    add(
        '--weights-key',
        metavar='KEY',
        help='weights in a file of several, such as state_dict; unset: averaged ones, else the largest',
    )


def add_pixels(add):
    add('--pixels', choices=PIXELS, help="normalisation of pixels; unset: the checkpoint's or the model's")


def add_options(add):
    add('--prefix', help='a checkpoint: the names of its files without -0004.params')
    add_epoch(add, 'epoch of --prefix')
    add('--weights', metavar='FILE', help="weights: .pth, .safetensors, .params; or the word 'published'")
    add(
        '--model',
        metavar='NAME',
        help='network of --weights, such as resnet50_ibn_a; unset: the one that fits',
    )
    add_key(add)
    add('--classes', type=int, help='count of classes; unset: as many as the weights have')
    add_norm(add)
    add('--onnx', metavar='FILE', help='an .onnx file, run by onnxruntime')
    add_pixels(add)


def add_epoch(add, text, option='--epoch', default='the best by validation, else the last'):
    """Add --epoch, or the epoch of another checkpoint. text: its help; default: of an unset one, for the help."""
    add(option, type=places.epoch, metavar='N', help=f'{text}, or best; unset: {default}')


def check_source(args):
    """Return the option that names the network. Raises ValueError unless it is exactly one, and for useless options."""
    given = [option for key, option in OPTIONS.items() if getattr(args, key) is not None]
    if len(given) != 1:
        listed = ' and '.join(given) or 'no network'
        raise ValueError(f'{listed} given: name one, by --prefix and --epoch, by --model and --weights, or by --onnx')
    if args.epoch is not None and args.prefix is None:
        raise ValueError(f'--epoch {args.epoch} belongs to --prefix: {given[0]} has no epochs')
    if args.weights is None:
        described = ('model', 'classes', 'norm', 'weights_key')
        for option, value in ((options.option_name(key), getattr(args, key)) for key in described):
            if value is not None:
                raise ValueError(f'{option} {value} belongs to --weights: {given[0]} describes its network itself')
    if args.norm_args and args.norm is None:
        listed = ','.join(f'{key}={value}' for key, value in args.norm_args)
        raise ValueError(f'--norm-args {listed} needs --norm: add it')
    if args.norm is not None and args.weights == 'published':
        raise ValueError(f'--norm {args.norm}: published networks have their own norm; leave it out')
    return given[0]


def open_source(args, context=None):
    """Return the inference.opening.Opening of the network that the options name. Raises ValueError."""
    from ibnnet_mx.inference import opening

    option = check_source(args)
    if option == '--onnx':
        return opening.open_onnx(args.onnx, args.pixels, f'--onnx {args.onnx}')
    if option == '--prefix':
        prefix, epoch = places.agree('--prefix', args.prefix, '--epoch', args.epoch)
        epoch = places.choose_epoch('--prefix', prefix, epoch)
        label = f'--prefix {prefix} --epoch {epoch}'
        network = _titled(opening.open_checkpoint(prefix, epoch, context, label), prefix, epoch)
    else:
        given = {} if args.classes is None else {'classes': args.classes}
        if args.norm is not None:
            given.update(norm=args.norm, norm_args=dict(args.norm_args or ()))
        network = opening.open_weights(
            args.weights,
            args.model,
            given,
            context,
            f'--weights {args.weights}',
            getattr(args, 'new_head', False),
            getattr(args, 'init_from_plain', False),
            args.weights_key,
        )
    if args.pixels:
        network.pixels = opening.PIXELS[args.pixels]
    return network


def _titled(network, prefix, epoch):
    """Return the network of a checkpoint, with a title for drawings."""
    network.title = ', '.join(filter(None, [network.model, f'{os.path.basename(prefix)} epoch {epoch}']))
    return network


def open_other(args, context, name):
    """Return the checkpoint of --NAME and --NAME-epoch ('compare', 'baseline'); None if it is not given.

    It keeps its normalisation, whatever --pixels says. Raises ValueError, which names the option.
    """
    from ibnnet_mx.inference import opening

    prefix, epoch, option = getattr(args, name), getattr(args, f'{name}_epoch'), f'--{name}'
    if prefix is None:
        if epoch is not None:
            raise ValueError(f'{option}-epoch {epoch} needs {option}: add {option} PREFIX')
        return None
    prefix, epoch = places.agree(option, prefix, f'{option}-epoch', epoch)
    epoch = places.choose_epoch(option, prefix, args.epoch if epoch is None else epoch)
    try:
        label = f'{option} {prefix} {option}-epoch {epoch}'
        return _titled(opening.open_checkpoint(prefix, epoch, context, label), prefix, epoch)
    except ValueError as error:
        names = {'epoch': f'{option}-epoch'}
        text = str(error)
        if isinstance(error, OptionError):
            text = error.told(lambda key: names.get(key) or options.option_name(key))
        raise ValueError(text if text.startswith(option) else f'{option} {prefix}: {text}') from None
