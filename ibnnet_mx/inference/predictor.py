"""The Predictor: load pictures, name their most probable classes, and explain these."""

from __future__ import annotations

import difflib
import io
from typing import Any, NamedTuple

import numpy as np

from ibnnet_mx import convert, data
from ibnnet_mx.errors import OptionError
from ibnnet_mx.files import atomic, outputs
from ibnnet_mx.inference import gradcam, opening
from ibnnet_mx.inference.opening import Opening
from ibnnet_mx.recordio.pixels.exif import APPLY, check_exif


class Result(NamedTuple):
    """The answer of one network about one picture.

    network: the network's label, title: its short name. crop: the pixels that it saw, uint8 (H, W, 3), RGB. top: rows
    of (label, name, probability), the most probable first. heat: heat map of the class `explained`, float32
    (h, w), or None.
    """

    network: str
    crop: np.ndarray
    top: list
    heat: Any = None
    explained: str = ''
    title: str = ''


class Predictor:
    """A network ready to answer.

        predictor = Predictor.open('model/net', epoch=10)
        for result in predictor(['cat.jpg', 'dog.jpg'], top=3):
            print(result.top)

    network: opening.Opening. crop: 'center', or 'resize' to squeeze the whole picture; None: as in training if known,
    else 'resize'. exif: 'apply' turns picture files upright, 'ignore' takes the pixels as stored. names: of the
    classes; 'class 3' if there are none.
    """

    def __init__(self, network: Opening, crop: str | None = None, exif: str = APPLY) -> None:
        check_exif(exif)
        self.network, self.exif = network, exif
        self.crop = crop or ('center' if network.centred else 'resize')
        self.names = network.names or [f'class {number}' for number in range(network.classes)]
        self.features: Features | None = None
        self._explainer: gradcam.GradCam | None = None
        self._label: int | None = None

    @classmethod
    def open(cls, prefix: str, epoch: int = 0, context: Any = None, crop: str | None = None) -> Predictor:
        """Return the Predictor of a checkpoint. context: mxnet's device; if not given, the CPU."""
        return cls(opening.open_checkpoint(prefix, epoch, context), crop)

    @classmethod
    def open_weights(cls, path: str, model: str | None = None, context: Any = None) -> Predictor:
        """Return the Predictor of a file of weights. model: name of the network; None: the one that the arrays fit."""
        return cls(opening.open_weights(path, model, context=context))

    @classmethod
    def open_onnx(cls, path: str, pixels: str | None = None) -> Predictor:
        """Return the Predictor of an .onnx file. pixels: 'raw' or 'imagenet', if the file has no normalisation."""
        return cls(opening.open_onnx(path, pixels))

    def __call__(self, pictures: list, top: int = 5) -> list[Result]:
        """Return a Result for each picture: a file's path, or uint8 (H, W, 3) in RGB.

        Raises ValueError, which names the file, for a picture that cannot be read.
        """
        if not pictures:
            return []
        return self.look([str(picture) for picture in pictures], np.stack([self.load(p) for p in pictures]), top)

    def explain(self, wanted: str | None = None) -> None:
        """Make look() explain pictures, for their top class or for the wanted one.

        Raises OptionError for explain or explain_class if that cannot be done.
        """
        network = self.network
        if network.net is None:
            raise OptionError(
                'explain',
                None,
                f': {network.label} gives no gradients, which Grad-CAM needs; open the checkpoint or weights that '
                'it was made from, by `prefix` or `weights`',
            )
        self._label = None if wanted is None else number_of(wanted, self.names, network.label)
        try:
            self._explainer = gradcam.GradCam(network.net, network.size)
        except ValueError as error:
            raise OptionError('explain', None, f': {network.label}: {error}') from None

    def load(self, picture: Any) -> np.ndarray:
        """Return the pixels that the network sees, uint8 (h, w, 3) in RGB, of a file or of RGB pixels (H, W, 3)."""
        if isinstance(picture, np.ndarray):
            return data.crop_of(picture, self.network.size, self.crop)
        return data.load_crop(picture, self.network.size, self.crop, self.exif)

    def look(self, files: list, crops: np.ndarray, top: int, explained: int = 0) -> list[Result]:
        """Return the Results of crops, uint8 (n, H, W, 3): `top` classes each; the first `explained` get a heat map."""
        x = data.normalise(crops, self.network.input)
        logits = self.features.logits(files, x) if self.features else self.network.predict(x)
        rows = probabilities(logits)
        orders = [row.argsort()[::-1][:top] for row in rows]
        labels = [int(order[0]) if self._label is None else self._label for order in orders]
        heats = [None] * len(crops)
        if self._explainer and explained:
            heats[:explained] = self._explainer(x[:explained].as_in_context(self.network.context), labels[:explained])
        return [
            Result(
                self.network.label,
                crop,
                [(int(i), self.names[i], float(row[i])) for i in order],
                heat,
                self.names[label],
                self.network.title,
            )
            for crop, row, order, heat, label in zip(crops, rows, orders, heats, labels)
        ]


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the softmax of each row, float64 (n, classes)."""
    values = logits.astype(np.float64)
    with np.errstate(invalid='ignore'):  # logits may be infinite; the caller reports NaN
        values = np.exp(values - values.max(axis=1, keepdims=True))
        return values / values.sum(axis=1, keepdims=True)


def number_of(text: str, names: list, network: str) -> int:
    """Return the number of the class that a text means: the only one with that name, else that number.

    Raises OptionError for explain_class.
    """
    if names.count(text) == 1:
        return names.index(text)
    if text in names:
        count = names.count(text)
        raise OptionError('explain_class', text, f': {count} classes of {network} have that name: give the number')
    if text in map(str, range(len(names))):
        return int(text)
    near = difflib.get_close_matches(text, names, 3)
    hint = f'did you mean {" or ".join(near)}?' if near else f'use a name, or a number from 0 to {len(names) - 1}'
    raise OptionError('explain_class', text, f': {network} has no such class; {hint}')


class Features:
    """Collects the embeddings for --features, one of every picture that could be read.

    path: an .npz file. network: opening.Opening. Raises OptionError for features.
    """

    def __init__(self, path: str, network: Opening) -> None:
        if not path.endswith('.npz'):
            raise OptionError('features', path, ': the name must end in .npz')
        if network.net is None:
            raise OptionError('features', None, f': {network.label} gives only logits; use `prefix` or `weights`')
        outputs.check_writable('features', path)
        self._path, self._model, self._context = path, network.model, network.context
        self._net = network.net if network.embeds else convert.with_embedding(network.net)
        self._files: list[str] = []
        self._rows: list[np.ndarray] = []
        self._net.hybridize()

    def collect(self, files: list, crops: np.ndarray, network_input: data.Input) -> None:
        """Keep the embeddings of crops, uint8 (n, H, W, 3), by a network that gives nothing else."""
        rows = self._net(data.normalise(crops, network_input).as_in_context(self._context))
        self._files += files
        self._rows.append(rows.asnumpy())

    def logits(self, files: list, x: Any) -> np.ndarray:
        """Return the logits (n, classes) of an NDArray (n, 3, H, W), and keep the embeddings."""
        logits, rows = self._net(x.as_in_context(self._context))
        self._files += files
        self._rows.append(rows.asnumpy())
        return logits.asnumpy()

    def write(self) -> None:
        """Write embedding float32 (n, C), files (n,) and model."""
        content = io.BytesIO()
        rows = np.concatenate(self._rows) if self._rows else np.zeros((0, 0), np.float32)
        np.savez(content, embedding=rows, files=np.array(self._files), model=self._model)
        atomic.write_file(self._path, content.getvalue())
