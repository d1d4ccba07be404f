"""A network that looks at picture files: the pixels it sees, its most probable classes, and where they lie."""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple

from ibnnet_mx.files import atomic, outputs


class Seen(NamedTuple):
    """What one network makes of a picture.

    network: what the user called it. crop: uint8 (S, S, 3), RGB, what it saw. top: rows of (label, name, probability),
    the most probable first. heat: float32 (h, w) of the class `why`, None where nothing is to be explained.
    """

    network: str
    crop: Any
    top: list
    heat: Any = None
    why: str = ''


class Classifier:
    """A network ready to classify picture files.

    found: source.Source. crop: 'center', or 'resize' for all of the picture; unset: as in training, resize where that
    is not known. names: of the classes.
    """

    def __init__(self, found, crop=None):
        self.found, self.crop = found, crop or ('center' if found.centred else 'resize')
        self.names, self.classes = found.names, found.classes
        self.features = None
        self._explainer, self._label = None, None

    def explain(self, wanted=None):
        """From now on pictures are explained, for their top class or a wanted one. ValueError: why they cannot be."""
        from ibnnet_mx.inference import gradcam

        found = self.found
        if found.net is None:
            raise ValueError(
                f'--explain: {found.label} gives logits alone, and no gradients, which weigh the maps; use what it was '
                'made from, by --prefix or --weights'
            )
        self._label = None if wanted is None else number_of(wanted, self.names, found.label)
        try:
            self._explainer = gradcam.GradCam(found.net, found.size)
        except ValueError as error:
            raise ValueError(f'--explain: {found.label}: {error}') from None

    def load(self, path):
        """uint8 (S, S, 3), RGB: what the network sees of a picture file."""
        from ibnnet_mx import data

        return data.load_crop(path, self.found.size, self.crop)

    def look(self, files, crops, top, explained=0):
        """[Seen] of crops, uint8 (n, S, S, 3): so many classes of each, and an explanation of so many of the first."""
        from ibnnet_mx import data

        x = data.normalised(crops, self.found.input)
        logits = self.features.logits(files, x) if self.features else self.found.predict(x)
        rows = probabilities(logits)
        orders = [row.argsort()[::-1][:top] for row in rows]
        classes = [int(order[0]) if self._label is None else self._label for order in orders]
        heats = [None] * len(crops)
        if self._explainer and explained:
            heats[:explained] = self._explainer(x[:explained].as_in_context(self.found.ctx), classes[:explained])
        return [
            Seen(
                self.found.label,
                crop,
                [(int(i), self.names[i], float(row[i])) for i in order],
                heat,
                self.names[label],
            )
            for crop, row, order, heat, label in zip(crops, rows, orders, heats, classes)
        ]


def probabilities(logits):
    """float64 (n, classes)."""
    import numpy as np

    values = logits.astype(np.float64)
    with np.errstate(invalid='ignore'):  # logits may be infinite; NaN is told later
        values = np.exp(values - values.max(axis=1, keepdims=True))
        return values / values.sum(axis=1, keepdims=True)


def number_of(text, names, network):
    """The class that --explain-class means: one that alone has that name, else that number."""
    if names.count(text) == 1:
        return names.index(text)
    if text in names:
        raise ValueError(
            f'--explain-class {text}: {names.count(text)} classes of {network} have that name: give a number'
        )
    if text in map(str, range(len(names))):
        return int(text)
    near = difflib.get_close_matches(text, names, 3)
    hint = f'did you mean {" or ".join(near)}?' if near else f'use a name, or a number from 0 to {len(names) - 1}'
    raise ValueError(f'--explain-class {text}: {network} has no such class; {hint}')


class Features:
    """What --features collects: the embedding of every picture that could be read."""

    def __init__(self, path, found):
        from ibnnet_mx import convert

        if not path.endswith('.npz'):
            raise ValueError(f'--features {path}: the name must end in .npz')
        if found.net is None:
            raise ValueError(f'--features: {found.label} gives logits alone; use --prefix or --weights')
        outputs.writable('--features', path)
        self._path, self._model, self._ctx = path, found.model, found.ctx
        self._net, self._files, self._rows = convert.with_embedding(found.net), [], []
        self._net.hybridize()

    def logits(self, files, x):
        """numpy (n, classes) of NDArray (n, 3, S, S)."""
        logits, rows = self._net(x.as_in_context(self._ctx))
        self._files += files
        self._rows.append(rows.asnumpy())
        return logits.asnumpy()

    def write(self):
        """embedding float32 (n, C), files (n,), model."""
        import io

        import numpy as np

        data = io.BytesIO()
        rows = np.concatenate(self._rows) if self._rows else np.zeros((0, 0), np.float32)
        np.savez(data, embedding=rows, files=np.array(self._files), model=self._model)
        atomic.write_file(self._path, data.getvalue())
