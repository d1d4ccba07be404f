"""predict.py --img FILE... --prefix P --epoch N: the classes of pictures, by a checkpoint or other weights."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ibnnet_mx.cli import options, source
from ibnnet_mx.recordio.pictures import SUFFIXES

BATCH = 16


def make_parser():
    parser = options.Parser(prog='predict', description=__doc__)
    add = parser.add_argument
    add('--img', nargs='+', required=True, metavar='FILE', help='pictures, or folders of pictures')
    source.add_options(add)
    add('--gpu', type=int, help='number of the GPU; the CPU where it is not given or there is none')
    add('--synset', metavar='FILE', help='class names, one a line; unset: those of the checkpoint')
    add('--top', type=int, default=5, help='classes that are named (5)')
    add('--json', action='store_true', help='one JSON line a picture')
    add('--crop', choices=('center', 'resize'), help='centre of the picture, or all of it; unset: as in training')
    add('--features', metavar='FILE', help='write what the classifier is fed, a row a picture, into this .npz')
    add('--plot', metavar='FILE', help='draw the pictures and their probabilities: .png, .svg or .pdf')
    return parser


class Classifier:
    """A network ready to classify picture files.

    crop: 'center', or 'resize' for all of the picture; unset: as in training, resize where that is not known.
    """

    def __init__(self, found, crop=None):
        self.found, self.crop = found, crop or ('center' if found.centred else 'resize')
        self.names, self.classes = found.names, found.classes

    def load(self, path):
        """float32 (3, size, size) of a picture file."""
        from ibnnet_mx import data

        return data.load_image(path, self.found.input, self.crop)

    def logits(self, pictures):
        """numpy (n, classes)."""
        import mxnet as mx
        import numpy as np

        return self.found.predict(mx.nd.array(np.stack(pictures)))


def probabilities(logits):
    """float64 (n, classes)."""
    import numpy as np

    values = logits.astype(np.float64)
    with np.errstate(invalid='ignore'):  # logits may be infinite; NaN is told later
        values = np.exp(values - values.max(axis=1, keepdims=True))
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
    if given is not None:
        names = _lines(given, complain)
        if names is not None and len(names) == model.classes:
            return names
        if names is not None:
            complain(f'--synset {given} has {len(names)} names, the network {model.classes} classes')
    for names in (model.names, _lines(default, None) if default and os.path.isfile(default) else None):
        if names is not None and len(names) == model.classes:
            return names
    return [f'class {i}' for i in range(model.classes)]


def _lines(path, complain):
    """The lines of a file; None where it cannot be read. Only what ends a line in a text editor does."""
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
        return text[: -1 if text.endswith('\n') else None].split('\n') if text else []
    except (OSError, UnicodeDecodeError) as error:
        if complain:
            complain(f'--synset {path} cannot be read: {getattr(error, "strerror", None) or "it is no text"}')
        return None


def tell(path, top, as_json):
    """One picture's result on stdout; top: rows of (label, name, probability)."""
    if as_json:
        rows = [{'label': label, 'name': name, 'probability': None if p != p else p} for label, name, p in top]
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


class Features:
    """What --features collects: the embedding of every picture that could be read."""

    def __init__(self, path, found):
        from ibnnet_mx import convert

        if not path.endswith('.npz'):
            raise ValueError(f'--features {path}: the name must end in .npz')
        if found.net is None:
            raise ValueError(f'--features: {found.label} gives logits alone; use --prefix or --weights')
        folder = os.path.dirname(os.path.abspath(path))
        if not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
            raise ValueError(f'--features {path}: {folder} is no folder that can be written')
        self._path, self._model, self._ctx = path, found.model, found.ctx
        self._net, self._files, self._rows = convert.with_embedding(found.net), [], []
        self._net.hybridize()

    def logits(self, files, pictures):
        import mxnet as mx
        import numpy as np

        logits, rows = self._net(mx.nd.array(np.stack(pictures), ctx=self._ctx))
        self._files += files
        self._rows.append(rows.asnumpy())
        return logits.asnumpy()

    def write(self):
        """embedding float32 (n, C), files (n,), model."""
        import io

        import numpy as np

        from ibnnet_mx import ndfile

        data = io.BytesIO()
        rows = np.concatenate(self._rows) if self._rows else np.zeros((0, 0), np.float32)
        np.savez(data, embedding=rows, files=np.array(self._files), model=self._model)
        ndfile.write(self._path, data.getvalue())


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
    model = Classifier(source.open_source(args, _device(args.gpu)), args.crop)
    features = Features(args.features, model.found) if args.features else None
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
        paths, pictures = map(list, zip(*loaded))
        logits = features.logits(paths, pictures) if features else model.logits(pictures)
        for path, row in zip(paths, probabilities(logits)):
            if (row != row).any():
                complain(f'--img {path}: the network gives no numbers (NaN): its weights are damaged or diverged')
            order = row.argsort()[::-1][: args.top]
            results.append((path, [(int(i), names[i], float(row[i])) for i in order]))
            tell(*results[-1], args.json)
    if features:
        features.write()
    if args.plot and results:
        bars.draw(results, args.plot)
    return 1 if complaints else 0


def main(argv=None, default_names=None):
    return options.run(lambda args: predict(args, default_names), make_parser(), argv)
