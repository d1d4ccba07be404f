"""predict.py --img FILE... --prefix P --epoch N: the classes of pictures, by a checkpoint."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ibnnet_mx import registry
from ibnnet_mx.cli import options
from ibnnet_mx.recordio.pictures import SUFFIXES

BATCH = 16


def make_parser():
    parser = options.Parser(prog='predict', description=__doc__)
    add = parser.add_argument
    add('--img', nargs='+', required=True, metavar='FILE', help='pictures, or folders of pictures')
    add('--prefix', required=True, help='of the checkpoint: PREFIX-symbol.json, PREFIX-0000.params')
    add('--epoch', type=int, default=0)
    add('--gpu', type=int, help='number of the GPU; the CPU where it is not given or there is none')
    add('--synset', metavar='FILE', help='class names, one a line; unset: those of the checkpoint')
    add('--top', type=int, default=5, help='classes that are named (5)')
    add('--json', action='store_true', help='one JSON line a picture')
    add('--crop', choices=('center', 'resize'), help='centre of the picture, or all of it; unset: as in training')
    add('--plot', metavar='FILE', help='draw the pictures and their probabilities: .png, .svg or .pdf')
    return parser


class Classifier:
    """A checkpoint ready to classify: logits of picture files, and what its .json or the seed's convention says.

    Without a .json: RGB, raw 0..255, plain resize to 224, or to 32 where the stem is a CIFAR net's 3x3.
    """

    def __init__(self, prefix, epoch, ctx, crop=None):
        from ibnnet_mx import checkpoint, convert, data

        store = checkpoint.Store(prefix)
        if not store.path(epoch, 'params').is_file():
            there = ', '.join(map(str, store.epochs()))
            hint = f'; there are epochs {there}: use --epoch' if there else ''
            raise ValueError(f'--prefix {prefix} --epoch {epoch}: {store.path(epoch, "params")} does not exist{hint}')
        facts = {}
        if store.path(epoch, 'json').is_file():
            facts = store.facts(epoch)
            fault = store.fault(epoch, kinds=('params',))
            if fault:
                raise ValueError(f'--prefix {prefix} --epoch {epoch}: {fault}')
        self.ctx, self.net = ctx, convert.load_symbol(prefix, epoch, ctx)
        params = self.net.collect_params()
        small = 'conv0_weight' in params and params['conv0_weight'].shape[2] == 3 and 'bn0_gamma' not in params
        self.size = facts.get('size', 32 if small else 224)
        pixels = facts.get('pixels', {'mean': registry.RAW.mean, 'std': registry.RAW.std})
        self.input = data.Input(self.size, tuple(pixels['mean']), tuple(pixels['std']))
        self.crop = crop or ('center' if facts and self.size > 32 else 'resize')
        self.names = facts.get('class_names') or []
        self.classes = next(p.shape[0] for n, p in reversed(list(params.items())) if n.endswith('_bias'))

    def load(self, path):
        """float32 (3, size, size) of a picture file."""
        from ibnnet_mx import data

        return data.load_image(path, self.input, self.crop)

    def probabilities(self, pictures):
        """float64 (n, classes)."""
        import mxnet as mx
        import numpy as np

        logits = self.net(mx.nd.array(np.stack(pictures), ctx=self.ctx)).asnumpy().astype(np.float64)
        values = np.exp(logits - logits.max(axis=1, keepdims=True))
        return values / values.sum(axis=1, keepdims=True)


def files_of(names):
    """Picture files of names and folders. ValueError for a folder without any."""
    files = []
    for name in names:
        if os.path.isdir(name):
            found = sorted(str(p) for p in Path(name).iterdir() if p.suffix.lower() in SUFFIXES)
            if not found:
                raise ValueError(f'--img {name} holds no picture')
            files += found
        else:
            files.append(name)
    return files


def class_names(given, model, default, complain):
    """Names of the classes: --synset, else the checkpoint's, else the default file's where its length fits."""
    sources = [(given, _lines(given, complain))] if given else []
    sources += [('', model.names), ('', _lines(default, None) if default and os.path.isfile(default) else [])]
    for path, names in sources:
        if len(names) == model.classes:
            return names
        if path and names:
            complain(f'--synset {path} has {len(names)} names, the network {model.classes} classes')
    return [f'class {i}' for i in range(model.classes)]


def _lines(path, complain):
    try:
        return Path(path).read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        if complain:
            complain(f'--synset {path} cannot be read: {getattr(error, "strerror", None) or "it is no text"}')
        return []


def tell(path, top, as_json):
    """One picture's result on stdout; top: rows of (label, name, probability)."""
    if as_json:
        rows = [{'label': label, 'name': name, 'probability': p} for label, name, p in top]
        print(json.dumps({'image': path, 'top': rows}), flush=True)
        return
    print(path)
    print(f'Top1 result is: {top[0][1]} ({top[0][2]:.4f})')
    print(f'Top{len(top)} result is:')
    for _, name, probability in top:
        print(f'  {probability:.4f}  {name}', flush=True)


def _device(gpu):
    import mxnet as mx

    if gpu is None:
        return mx.cpu()
    if not (mx.runtime.Features().is_enabled('CUDA') and 0 <= gpu < mx.context.num_gpus()):
        print(f'predict: --gpu {gpu}: there is no such GPU, running on the CPU', file=sys.stderr)
        return mx.cpu()
    return mx.gpu(gpu)


def predict(args, default_names=None):
    """Classifies every picture that can be read; 1 where something could not be."""
    from ibnnet_mx.cli import bars

    if args.top < 1:
        raise ValueError(f'--top {args.top} must be at least 1')
    if args.plot:
        bars.check(args.plot)
    complaints = []

    def complain(text):
        complaints.append(text)
        print(f'predict: {text}', file=sys.stderr)

    files = files_of(args.img)
    model = Classifier(args.prefix, args.epoch, _device(args.gpu), args.crop)
    names = class_names(args.synset, model, default_names, complain)
    results = []
    for first in range(0, len(files), BATCH):
        loaded = []
        for path in files[first : first + BATCH]:
            try:
                loaded.append((path, model.load(path)))
            except ValueError as error:
                complain(f'--img {error}')
        if not loaded:
            continue
        for (path, _), row in zip(loaded, model.probabilities([picture for _, picture in loaded])):
            order = row.argsort()[::-1][: args.top]
            results.append((path, [(int(i), names[i], float(row[i])) for i in order]))
            tell(*results[-1], args.json)
    if args.plot and results:
        bars.draw(results, args.plot)
    return 1 if complaints else 0


def main(argv=None, default_names=None):
    return options.run(lambda args: predict(args, default_names), make_parser(), argv)
