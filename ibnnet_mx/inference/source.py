"""Where evaluate.py and predict.py have their network from: a checkpoint, a model and weights, or an .onnx file."""

from __future__ import annotations

import json
import os

from ibnnet_mx import models
from ibnnet_mx.cli import options

PIXELS = {'raw': models.RAW, 'imagenet': models.IMAGENET}
OPTIONS = {'prefix': '--prefix', 'weights': '--weights', 'onnx': '--onnx'}


def add_norm(add):
    add(
        '--norm',
        choices=models.NORMS,
        help='of weights that do not tell it: the arrays of in, ln and gn are the same',
    )
    add('--norm-args', type=options.arguments, metavar='NAME=VALUE', help='of --norm, such as groups=8')


def add_options(add):
    add('--prefix', help='a checkpoint: PREFIX-symbol.json, PREFIX-0000.params')
    add('--epoch', type=int, help='of the checkpoint; unset: 0')
    add('--weights', metavar='FILE', help="weights of --model: .pth, .safetensors, .params; or the word 'published'")
    add('--model', metavar='NAME', help='the network of --weights, such as resnet50_ibn_a; unset: what the file fits')
    add('--classes', type=int, help='of --model; unset: as many as the weights have')
    add_norm(add)
    add('--onnx', metavar='FILE', help='an .onnx file, run by onnxruntime')
    add('--pixels', choices=PIXELS, help="what the network is fed; unset: the checkpoint's or the model's own")


class Source:
    """A network ready to classify, and what is known about it.

    input: data.Input. names: of the classes, [] unknown. centred: its pictures are cropped, not squeezed, as far as is
    known. label: what the user called it. net: the HybridBlock, None for an .onnx file. notes: what was not copied.
    """

    def __init__(self, call, net, ctx, label, classes):
        self._call, self.net, self.ctx, self.label, self.classes = call, net, ctx, label, classes
        self.model, self.names, self.centred, self.notes = '', [], True, []
        self.fixed = False  # whether it takes pictures of its size alone
        self.size, self.pixels = 224, models.RAW

    @property
    def input(self):
        from ibnnet_mx import data

        return data.Input(self.size, tuple(self.pixels.mean), tuple(self.pixels.std))

    def predict(self, x):
        """NDArray (n, 3, S, S) float32 -> logits, numpy (n, classes)."""
        return self._call(x)

    def _of_model(self, model):
        self.model, self.size, self.pixels = model.name, model.size, model.pixels
        self.centred = model.size > 32


def open_source(args, ctx):
    """The network that the options name. ValueError: none or two of them, or why it cannot be had."""
    given = [option for key, option in OPTIONS.items() if getattr(args, key) is not None]
    if len(given) != 1:
        what = ' and '.join(given) or 'no network'
        raise ValueError(f'{what} given: name one, by --prefix and --epoch, by --model and --weights, or by --onnx')
    if args.epoch is not None and args.prefix is None:
        raise ValueError(f'--epoch {args.epoch} belongs to --prefix: {given[0]} has no epochs')
    if args.weights is None:
        for option, value in (('--model', args.model), ('--classes', args.classes), ('--norm', args.norm)):
            if value is not None:
                raise ValueError(f'{option} {value} belongs to --weights: {given[0]} says what it is itself')
    if args.norm_args and args.norm is None:
        told = ','.join(f'{key}={value}' for key, value in args.norm_args)
        raise ValueError(f'--norm-args {told} belongs to --norm: name that too')
    if args.norm is not None and args.weights == 'published':
        raise ValueError(f'--norm {args.norm}: the published networks have their own, leave it out')
    make = {'--prefix': _checkpoint, '--weights': _weights, '--onnx': _onnx}[given[0]]
    source = make(args, ctx)
    if args.pixels:
        source.pixels = PIXELS[args.pixels]
    return source


def open_other(args, ctx, name):
    """The checkpoint of --NAME and --NAME-epoch ('compare', 'baseline'), None where it is not given.

    Its pixels are its own, whatever --pixels says. ValueError names the option.
    """
    prefix, epoch, option = getattr(args, name), getattr(args, f'{name}_epoch'), f'--{name}'
    if prefix is None:
        if epoch is not None:
            raise ValueError(f'{option}-epoch {epoch} belongs to {option}: name a checkpoint by that')
        return None
    epoch = args.epoch or 0 if epoch is None else epoch
    try:
        return open_checkpoint(prefix, epoch, ctx, (option, f'{option}-epoch'))
    except ValueError as error:
        told = str(error)
        raise ValueError(told if told.startswith(option) else f'{option} {prefix}: {told}') from None


def _gluon(net, ctx, label, classes):
    import mxnet as mx

    if isinstance(net, mx.gluon.SymbolBlock):
        net.hybridize()

        def compute(x):
            try:
                return net(x.as_in_context(ctx)).asnumpy()
            except mx.base.MXNetError:  # of many lines, about mxnet's own sources
                raise ValueError(f'{label}: mxnet cannot compute this network for pictures {x.shape}') from None

        return Source(compute, net, ctx, label, classes)
    fast = net.inference_form()
    fast.hybridize(static_alloc=True)
    return Source(lambda x: fast(x.as_in_context(ctx)).asnumpy(), net, ctx, label, classes)


def _checkpoint(args, ctx):
    return open_checkpoint(args.prefix, args.epoch or 0, ctx)


def open_checkpoint(prefix, epoch, ctx, options=('--prefix', '--epoch')):
    """The network of a checkpoint, which the user named by these options.

    Without a .json: RGB, raw 0..255, plain resize to 224, or to 32 where the stem is a CIFAR net's 3x3.
    """
    from ibnnet_mx import checkpoint, convert

    store = checkpoint.Store(prefix)
    label = f'{options[0]} {prefix} {options[1]} {epoch}'
    if not store.path(epoch, 'params').is_file():
        there = ', '.join(map(str, store.epochs()))
        hint = f'; there are epochs {there}: use {options[1]}' if there else ''
        raise ValueError(f'{label}: {store.path(epoch, "params")} does not exist{hint}')
    facts = {}
    if store.path(epoch, 'json').is_file():
        facts = store.facts(epoch)
        fault = store.fault(epoch, kinds=('params',))
        if fault:
            raise ValueError(f'{label}: {fault}')
    net = convert.load_symbol(prefix, epoch, ctx)
    source = _gluon(net, ctx, label, 0)
    model, params = getattr(net, 'model', None), net.collect_params()
    if model is not None:
        source._of_model(model)
    elif 'conv0_weight' in params and params['conv0_weight'].shape[2] == 3 and 'bn0_gamma' not in params:
        source.size = 32
    source.centred = bool(facts) and source.size > 32
    source.classes = _classes(net, facts.get('size', source.size), label)
    if facts:
        other = store.fault(epoch, kinds=('symbol',))
        if other and not _computes(net, facts):
            raise ValueError(f'{label}: {other}')
        source.model, source.size = facts['model'], facts.get('size', source.size)
        source.names = facts.get('class_names') or []
        source.centred = source.size > 32
        if 'pixels' in facts:
            source.pixels = models.Pixels(tuple(facts['pixels']['mean']), tuple(facts['pixels']['std']))
    return source


def _computes(net, facts):
    """Whether a symbol that a later save has written, with other names or momenta, is still that of the checkpoint."""
    model = getattr(net, 'model', None)
    return model is not None and (model.name, net.norm_options['norm']) == (facts['model'], facts.get('norm'))


def _classes(net, size, label):
    import mxnet as mx

    shapes = {name: param.shape for name, param in net.collect_params().items()}
    try:
        shape = net(mx.sym.var('data')).infer_shape(data=(1, 3, size, size), **shapes)[1][0]
    except mx.base.MXNetError:
        raise ValueError(f'{label}: the network does not take pictures of {size}x{size}') from None
    if len(shape) != 2:
        raise ValueError(f'{label}: logits (N, classes) are needed, the network gives {shape}')
    return shape[1]


def _weights(args, ctx):
    from ibnnet_mx import convert
    from ibnnet_mx.convert import identify

    if args.weights == 'published':
        if args.model is None:
            raise ValueError('--weights published needs --model, such as --model resnet50_ibn_a')
        from ibnnet_mx import hub

        net = models.create(args.model, args.classes)
        notes = hub.load(net, net.model.name, new_head=getattr(args, 'new_head', False))
    else:
        arrays = convert.read(args.weights)
        found = identify.model_of(arrays)
        if args.model is None and found is None:
            raise ValueError(f'--weights {args.weights} fits no network of the registry as it is: name one by --model')
        name, given = (found[0].name, found[1]) if args.model is None else (args.model, identify.options(arrays))
        if args.classes is not None:
            given['classes'] = args.classes
        if args.norm is not None:
            given.update(norm=args.norm, norm_args=dict(args.norm_args or ()))
        net = models.create(name, **given)
        try:
            notes = convert.load(net, arrays, getattr(args, 'new_head', False), getattr(args, 'init_from_plain', False))
        except ValueError as error:
            fits = f' fits {found[0].name}, not {name}' if found and found[0].name != name else ''
            raise ValueError(f'--weights {args.weights}{fits}: {error}') from None
    if ctx is not None:
        net.collect_params().reset_ctx(ctx)
    label = f'--weights {args.weights} ({net.model.name})'
    source = _gluon(net, ctx, label, net.collect_params()['fc1_bias'].shape[0])
    source._of_model(net.model)
    source.notes = notes
    return source


def _onnx(args, ctx):
    from ibnnet_mx import _env, convert

    net = convert.OnnxNet(args.onnx, _env.usable_cores())
    label = f'--onnx {args.onnx}'
    size = net.shape[2] if isinstance(net.shape[2], int) else int(net.facts.get('size', 224))
    classes = net.classes(size)
    source = Source(lambda x: net(x.asnumpy()), None, ctx, label, classes)
    source.model, source.size, source.centred = net.facts.get('model', os.path.basename(args.onnx)), size, size > 32
    source.fixed = isinstance(net.shape[2], int) or isinstance(net.shape[3], int)
    try:
        pixels, names = json.loads(net.facts.get('pixels', '{}')), json.loads(net.facts.get('class_names', '[]'))
        if pixels:
            mean, std = (tuple(float(value) for value in pixels[key]) for key in ('mean', 'std'))
            source.pixels = models.Pixels(mean, std)
            if not len(mean) == len(std) == 3 or min(std) <= 0:
                raise ValueError
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        told = {key: net.facts[key][:200] for key in ('pixels', 'class_names') if key in net.facts}
        raise ValueError(f'{label}: its metadata are not those that this project writes: {told}') from None
    source.names = names
    if not pixels and not args.pixels:
        raise ValueError(f'{label} does not say what pixels it is fed: add --pixels raw or --pixels imagenet')
    return source
