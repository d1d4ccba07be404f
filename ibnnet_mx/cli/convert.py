"""ibnnet convert SRC DST: convert weights and networks into another format, which the suffix of DST names."""

from __future__ import annotations

import os
import tarfile
from argparse import Namespace
from pathlib import Path

from ibnnet_mx import __version__
from ibnnet_mx.cli import options, places, source
from ibnnet_mx.errors import dashed
from ibnnet_mx.files import outputs
from ibnnet_mx.size import Size

OPTIONS = ('norm', 'norm_args', 'w_d', 'ibn_ratio', 'ibn_stages', 'last_stride')  # of models.create()
LARGEST = 1e-4  # difference of logits that --check allows, relative to the largest logit
ABOUT = 'Convert weights and networks into another format, which the suffix of DST names.'
EPILOG = """SRC: a checkpoint PREFIX-0004.params beside PREFIX-symbol.json (of this project or the 2016 code), or its
PREFIX; a .pth, .pt, .th, .safetensors or .params; a .tar.gz of SageMaker or AutoGluon that holds these; or the word
published.

DST: PREFIX-0000.params (a checkpoint for evaluate, predict and --init), .pth and .safetensors with the original's
keys, or .onnx."""
EXAMPLES = (
    'ibnnet convert model/resnet50_v2 resnet50.onnx --with-preprocess --check',
    'ibnnet convert weights.pth model/start-0000.params',
    'ibnnet convert published ibn.safetensors --model resnet50_ibn_a',
)


def make_parser(prog='ibnnet convert'):
    usage = '%(prog)s SRC DST [options]'
    parser = options.Parser(EXAMPLES, prog=prog, usage=usage, description=ABOUT, epilog=EPILOG)
    add = parser.add_argument
    add('src', metavar='SRC', help='what is converted: a file, a PREFIX, or the word published')
    add('dst', metavar='DST', help='the file to write')
    add = parser.add_argument_group('source').add_argument
    source.add_epoch(add, 'epoch of SRC if it is a PREFIX')
    add('--model', help='the network of SRC, such as resnet50_ibn_a; unset: the one that its arrays fit')
    source.add_key(add)
    add('--classes', type=int, help='count of classes; unset: as many as SRC has')
    source.add_norm(add)
    add('--new-head', action='store_true', help='replace the classifier by one of --classes classes')
    add('--init-from-plain', action='store_true', help='SRC is the plain network of the IBN network --model')
    source.add_pixels(add)
    add = parser.add_argument_group('result').add_argument
    options.add_image_size(add, '--size', text='size for an .onnx file, such as 256x128; unset: as in training')
    add('--fixed-batch', action='store_true', help='the .onnx file takes one picture at a time')
    add('--with-preprocess', action='store_true', help='the .onnx file takes RGB of 0..255 as it is')
    add('--own-names', action='store_true', help='name the arrays in .safetensors as this project does')
    add('--check', action='store_true', help='run both on the same pictures and print the difference')
    return parser


def _checkpoint_of(name):
    """Return (prefix, epoch) of a name PREFIX-0000.params, else None."""
    parts = places.FILE.fullmatch(str(name))
    return (parts[1], int(parts[2])) if parts and str(name).endswith('.params') else None


def _resolve_source(args):
    """Make SRC the .params of a checkpoint, if it is a prefix or the name of another of its files."""
    prefix, epoch = places.agree('SRC', args.src, '--epoch', args.epoch)
    is_file = prefix == args.src and os.path.exists(args.src) or args.src.endswith('.params')
    if is_file or not os.path.isfile(f'{prefix}-symbol.json'):
        if args.epoch is not None and not is_file:
            raise ValueError(f'--epoch {args.epoch}: SRC {args.src} is no PREFIX, there is no {prefix}-symbol.json')
        if args.epoch is not None and prefix == args.src:
            raise ValueError(f'--epoch {args.epoch} is for a PREFIX: SRC {args.src} is a file, leave it out')
        return
    args.src = f'{prefix}-{places.choose_epoch("SRC", prefix, epoch):04d}.params'


def _open(args):
    """Return the Opening of SRC."""
    import mxnet as mx

    place = _checkpoint_of(args.src)
    for_weights = ('model', 'classes', 'norm', 'norm_args', 'new_head', 'init_from_plain', 'weights_key')
    is_checkpoint = (
        place and Path(f'{place[0]}-symbol.json').is_file() and not any(getattr(args, key) for key in for_weights)
    )
    source_args = Namespace(**{**vars(args), 'prefix': None, 'epoch': None, 'weights': None, 'onnx': None})
    if is_checkpoint:
        source_args.prefix, source_args.epoch = place
    else:
        source_args.weights = args.src
    return source.open_source(source_args, mx.cpu())


def _check_options(args):
    """Raise ValueError for an option without effect, and for an impossible DST."""

    kind = Path(args.dst).suffix
    options_of = {'.onnx': ('image_size', 'fixed_batch', 'with_preprocess'), '.safetensors': ('own_names',)}
    for suffix, keys in options_of.items():
        for key in keys:
            if getattr(args, key) not in (None, False) and kind != suffix:
                raise ValueError(f'--{key.replace("_", "-")} is for {suffix} files, but DST is {args.dst}')
    if args.pixels and kind not in ('.onnx', '.params'):
        raise ValueError(f'--pixels {args.pixels}: a {kind} file cannot hold the normalisation; leave the option out')
    if kind == '.params' and not _checkpoint_of(args.dst):
        raise ValueError(f'DST {args.dst} must end in an epoch of four digits, such as {args.dst[:-7]}-0000.params')
    if kind not in ('.pth', '.pt', '.safetensors', '.onnx', '.params'):
        raise ValueError(f'DST {args.dst} must end in .pth, .safetensors, .onnx or -0000.params')
    if args.new_head and args.classes is None:
        raise ValueError('--new-head needs --classes: the count of classes of the new classifier')
    if args.init_from_plain and (args.model is None or args.src == 'published'):
        raise ValueError(
            '--init-from-plain: SRC must be a file of the plain network, and --model must name the IBN network'
        )
    outputs.check_name('DST', args.dst)
    if Path(args.src).exists() and Path(args.dst).exists() and Path(args.src).samefile(args.dst):
        raise ValueError(f'DST {args.dst} is the same file as SRC: name another file')


def _facts(network, epoch):
    """Return the checkpoint.Facts of a converted network."""
    from ibnnet_mx.checkpoint import Facts

    model, built = getattr(network.net, 'model', None), getattr(network.net, 'options', {})
    options = {key: built[key] for key in OPTIONS if key in built}
    return Facts(
        version=__version__,
        model=network.model or 'unknown',
        depth=model.depth if model else None,
        norm=built.get('norm'),
        network=options if model else None,
        classes=network.classes,
        class_names=network.names,
        size=network.size,
        pixels={'order': 'RGB', 'mean': list(network.pixels.mean), 'std': list(network.pixels.std)},
        recipe={},
        files={},
        epoch=epoch,
    )


def _not_finite(network):
    """Yield a line if weights are NaN or infinite: they are converted as they are, and give no answers."""
    import numpy as np

    params = network.net.collect_params().items()
    bad = [name for name, param in params if not np.isfinite(param.data(param.list_ctx()[0]).asnumpy()).all()]
    if bad:
        more = f', and {len(bad) - 1} more do' if len(bad) > 1 else ''
        yield f'{network.label}: {bad[0]} holds values that are not finite{more}'


def _write(args, network):
    """Write DST in the format that its ending names."""
    from ibnnet_mx import checkpoint, convert

    if args.dst.endswith('.onnx'):
        size, dynamic = args.image_size or network.size, not args.fixed_batch
        convert.to_onnx(network.net, args.dst, size, dynamic, args.with_preprocess, network.pixels, network.names)
    elif args.dst.endswith('.params'):
        prefix, epoch = _checkpoint_of(args.dst)
        store = checkpoint.Store(prefix)
        if any(store.path(epoch, kind).exists() for kind in ('params', 'states', 'json')):
            raise ValueError(f'DST {args.dst}: this checkpoint exists already; name another prefix or epoch')
        if store.differs(network.net):
            raise ValueError(f'DST {args.dst}: {store.symbol_path} belongs to another network; name another prefix')
        store.prepare()
        store.write(network.net, _facts(network, epoch))
    elif args.own_names:
        convert.save_safetensors(network.net, args.dst)
    else:
        convert.to_torch(network.net, args.dst)


def _read_back(args, network):
    """Return a function: normalised pictures as numpy -> logits by the file DST."""
    import mxnet as mx
    import numpy as np

    from ibnnet_mx.inference import engines, opening

    if args.dst.endswith('.onnx'):
        engine = engines.OnnxEngine(args.dst)
        mean, std = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in network.pixels)
        return lambda x: engine(x * std + mean if args.with_preprocess else x)
    if args.dst.endswith('.params'):
        written = opening.open_checkpoint(*_checkpoint_of(args.dst))
    else:
        unset = dict.fromkeys(('prefix', 'epoch', 'onnx'))
        written = source.open_source(Namespace(**{**vars(args), **unset, 'weights': args.dst}))
    return lambda x: written.predict(mx.nd.array(x))


def _difference(args, network):
    """Return the largest difference between the logits of SRC and DST, relative to the largest logit."""
    import mxnet as mx
    import numpy as np

    size = Size.of(args.image_size or network.size)
    raw = np.random.RandomState(0).uniform(0, 255, (2, 3, *size))
    mean, std = (np.array(v).reshape(1, 3, 1, 1) for v in network.pixels)
    x = ((raw - mean) / std).astype(np.float32)
    ours, theirs = network.predict(mx.nd.array(x)), _read_back(args, network)(x)
    return float(np.abs(ours - theirs).max() / np.abs(ours).max())


def _interface(args):
    """Return the line about what goes into an .onnx file and what comes out."""
    import onnx

    graph = onnx.load(args.dst, load_external_data=False).graph
    (data,), (result,) = graph.input, graph.output
    pixels = 'RGB pixels 0..255' if args.with_preprocess else 'RGB pixels, normalised as the metadata `pixels` says'
    return f'  input {data.name}: {_shape(data)} float32, {pixels}; output {result.name}: {_shape(result)} logits'


def _shape(value):
    """Return the shape of an ONNX value in words, N for the count of pictures."""
    sides = [side.dim_value or 'N' for side in value.type.tensor_type.shape.dim]
    return f'({", ".join(map(str, sides))})'


def convert(args):
    """Carry out the options of ibnnet convert; return 1 if --check finds a difference."""
    _check_options(args)
    _resolve_source(args)
    from ibnnet_mx.convert import archive

    if not (args.src.lower().endswith(archive.SUFFIXES) and tarfile.is_tarfile(args.src)):
        return convert_file(args)
    shown = args.src
    with archive.unpacked(args.src) as args.src:
        try:
            return convert_file(args)
        except ValueError as error:
            raise ValueError(str(error).replace(os.path.dirname(args.src), shown)) from None


def convert_file(args):
    """Convert SRC, a file or the word published, into DST."""
    network = _open(args)
    for note in [*network.notes, *_not_finite(network)]:
        options.tell(dashed(note, options.option_name))
    _write(args, network)
    built = getattr(network.net, 'norm_options', {})
    if built.get('norm') in ('gn', 'ln') and Path(args.dst).suffix not in ('.onnx', '.params'):
        options.tell(f'{args.dst} does not say its norm; add --norm {built["norm"]} wherever you read it')
    numbers = f'an embedding of {network.classes} numbers' if network.embeds else f'{network.classes} classes'
    print(f'{args.dst}: {network.model or "a network that is not in the tables"}, {numbers}')
    if args.dst.endswith('.onnx'):
        print(_interface(args))
    if args.check:
        args.new_head, args.init_from_plain, args.weights_key = False, False, None
        args.norm, args.norm_args = built.get('norm'), tuple((built.get('norm_args') or {}).items())
        largest = _difference(args, network)
        print(f'check: the logits of {args.src} and {args.dst} differ by {largest:.1e} of the largest logit')
        return int(not largest <= LARGEST)
    return 0


def main(argv=None, prog='ibnnet convert'):
    return options.run(convert, make_parser(prog), argv)
