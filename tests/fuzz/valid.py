"""Whole files of every format, made by the package's own commands from a tiny data set: what cases damage."""

from __future__ import annotations

import functools
import json
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import TINY_CLASSES, make_tiny
from tests.fuzz.place import Place
from tests.record_sets import jpeg, png, scene

MODEL = 'cifar_resnet8_ibn_a'
TRAIN = ('--recipe', 'cifar10', '--model', 'resnet_ibn_a', '--depth', 8, '--batch-size', 16, '--threads', 1)
SUFFIXES = ('jpg', 'png', 'bmp', 'gif', 'webp', 'tif', 'ppm')
KINDS = ('params', 'pth', 'safetensors', 'onnx')


class Valid:
    """Files in a folder, and what the commands make of them.

    data: the tiny data set. prefix: a checkpoint of two epochs. weights: {suffix: path}. epoch 1 is what they hold.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.data = make_tiny(self.folder / 'data')
        self.prefix, self.log = str(self.folder / 'net'), str(self.folder / 'net.log')
        self.place = Place(self.folder / 'first', self)
        self.place.clear()
        for words in (('--epochs', 1), ('--epochs', 2, '--retrain')):
            where = ('--data-dir', self.data, '--model-prefix', self.prefix, '--log-file', self.log)
            self.done('train', *TRAIN, *where, *words)
        self.weights = {}
        for kind in KINDS[1:]:
            self.weights[kind] = f'{self.prefix}-weights.{kind}'
            self.done('convert', f'{self.prefix}-0001.params', self.weights[kind])
        self._pictures()
        self._own()

    def done(self, name, *words):
        ran = self.place.run(name, *words)
        if ran.code:
            raise RuntimeError(f'{ran.words}: {ran.code}: {ran.err}')
        return ran

    def _pictures(self):
        picture = Image.fromarray(scene(3, 60, 80))
        for suffix in SUFFIXES:
            picture.save(self.folder / f'picture.{suffix}')
        self.pictures = {suffix: str(self.folder / f'picture.{suffix}') for suffix in SUFFIXES}
        self.jpegs = [jpeg(scene(n, 40 + 3 * n, 50), n % 3, progressive=int(n == 4)) for n in range(6)]
        self.pngs = [png(scene(n, 32, 32)) for n in range(3)]

    def _own(self):
        """The arrays under their names here, and the files that begin with them."""
        from ibnnet_mx.convert import names
        from ibnnet_mx.files import params_file
        from tests.torch_files import legacy_bytes

        held = params_file.read_params(f'{self.prefix}-0001.params')
        self.arrays = {name.split(':')[1]: np.array(array) for name, array in held.items()}
        self.keys = names.torch_keys(list(self.arrays))
        self.weights['params'] = self._put('weights.params', params_file.encode_params(self.arrays))
        legacy = legacy_bytes({'state_dict': {self.keys[name]: array for name, array in self.arrays.items()}})
        self.weights['legacy'] = self._put('legacy.pth', legacy)
        rows = [f'{n}\t{n % 4}\t{name}/{n}.jpg' for n, name in enumerate(TINY_CLASSES * 5)]
        self.lst = ('\n'.join(rows) + '\n').encode()
        self.synset = ('\n'.join(TINY_CLASSES) + '\n').encode()

    def _put(self, name, data):
        (self.folder / name).write_bytes(data)
        return str(self.folder / name)

    @functools.lru_cache(maxsize=None)  # noqa: B019  (one object lives as long as the process)
    def read(self, path):
        return Path(path).read_bytes()

    @functools.lru_cache(maxsize=None)  # noqa: B019
    def usual(self, *words):
        """What a command prints for whole files."""
        return self.done(*words).out

    def other(self, random):
        """Bytes of a file of any format."""
        names = sorted(path.name for path in self.folder.iterdir() if path.is_file())
        return self.read(str(self.folder / names[random.randint(len(names))]))

    def facts(self):
        return json.loads(self.read(f'{self.prefix}-0001.json'))

    def sum(self):
        """Of all files that are damaged: they must stay as they are."""
        return {path.name: zlib.crc32(path.read_bytes()) for path in self.folder.iterdir() if path.is_file()}
