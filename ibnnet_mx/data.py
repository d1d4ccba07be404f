"""Joins the record reader to NDArrays: which files, which augmentation, and checks before the first batch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import cv2
import mxnet as mx
import numpy as np

from ibnnet_mx.recipe import AUGMENT, aug_at
from ibnnet_mx.recordio import lists
from ibnnet_mx.recordio.format import RecordFile
from ibnnet_mx.recordio.inspection import verify
from ibnnet_mx.recordio.pixels import opencv, view
from ibnnet_mx.recordio.pixels.augment import Augment
from ibnnet_mx.recordio.pixels.pictures import CIFAR_SIDE, PictureError, decode
from ibnnet_mx.recordio.pixels.region import Pixels
from ibnnet_mx.recordio.reading.folder import FolderRecords
from ibnnet_mx.recordio.reading.reader import Options, Reader
from ibnnet_mx.recordio.sources import SourceError

# The first that is there is read; the shorter names are those of the MXNet examples of 2016.
FILES = {
    ('cifar10', 'train'): ('cifar10_train.rec', 'train.rec'),
    ('cifar10', 'val'): ('cifar10_val.rec', 'val.rec', 'test.rec'),
    ('imagenet', 'train'): ('train_480_q90.rec', 'train_*_q*.rec', 'train.rec'),
    ('imagenet', 'crop'): ('train_256_q90.rec',),
    ('imagenet', 'val'): ('val_256_q90.rec', 'val_*_q*.rec', 'val.rec'),
}


MANY = 1 << 17  # classes that are not taken for granted: a network for them alone may fill the memory


class Input(NamedTuple):
    """What a network is fed: the side in pixels, and mean and std of each RGB plane in 0..255."""

    size: int
    mean: tuple
    std: tuple


class Iterator:
    """Epochs of (data (n, 3, H, W) float32, label (n,), real) as NDArrays that alias the reader's buffers."""

    def __init__(self, readers, levels):
        self._readers, self._levels = readers, levels

    def _reader(self, epoch):
        return self._readers[self._levels(epoch)]

    def count(self, epoch=0):
        """Pictures of an epoch, over all workers."""
        return self._reader(epoch).count

    def steps(self, epoch=0):
        return self._reader(epoch).steps

    def labels(self):
        """{path: float32 (n,)}, the first label of every record of each file."""
        return {reader.records.path: reader.labels() for reader in self._readers.values()}

    def epoch(self, epoch=0):
        return (batch for _, *batch in self.numbered(epoch) if batch[0] is not None)

    def numbered(self, epoch=0, start=0):
        """(step, data, label, real) from a step on; None, None, 0 where there is no picture that can be read."""
        expected = start
        for step, batch in self._reader(epoch).numbered(epoch, start):
            for empty in range(expected, step):
                yield empty, None, None, 0
            expected = step + 1
            if not len(batch.label):
                yield step, None, None, 0
                continue
            # Every batch has an array of its own, so that aliasing it is safe and costs no copy.
            yield step, mx.nd.from_numpy(batch.data, zero_copy=True), mx.nd.array(batch.label), batch.real
        for empty in range(expected, self.steps(epoch)):
            yield empty, None, None, 0

    def close(self):
        for reader in self._readers.values():
            reader.close()


class Evaluation:
    """Labelled pictures in their order, for a network to be tested on.

    names (may be empty) and classes: of the labels. view: recordio.view.View, how a picture is cut.
    """

    def __init__(self, reader, path):
        records, self._reader, self.path, self.view = reader.records, reader, str(path), reader.view
        self.names = records.classes if isinstance(records, FolderRecords) else lists.synset(Path(path).parent)
        self._order = None
        self.classes = count_classes(self, self, self.names)
        self.count, self.steps = reader.count, reader.steps

    def labels(self):
        """{path: float32 (n,)}."""
        return {self.path: self._own(self._reader.labels())}

    def follow(self, order, names):
        """From here on labels are classes of a network that has these names; order: (classes,), the class of each."""
        self._order, self.names, self.classes = np.array(order, np.float32), names, len(names)

    def _own(self, labels):
        return labels if self._order is None else self._order[labels.astype(np.int64)]

    def epoch(self):
        """(data NDArray (n x crops, 3, S, S), label float32 (n,), real): n beyond real are padding."""
        for batch in self._reader.epoch():
            yield mx.nd.from_numpy(batch.data, zero_copy=True), self._own(batch.label), batch.real

    def raw(self):
        """(pictures uint8 (n, S, S, 3), positions (n,), labels int64 (n,)) of an Evaluation of raw pixels, no padding.

        positions: those in the file, whichever pictures are read.
        """
        for batch, positions in self._reader.placed():
            if batch.real:
                pictures = np.ascontiguousarray(batch.data[: batch.real].transpose(0, 2, 3, 1))
                yield pictures, positions, self._own(batch.label[: batch.real]).astype(np.int64)

    def close(self):
        self._reader.close()


def find(data_dir, data_type, part):
    """The .rec of a part ('train', 'crop' or 'val'), None where there is none."""
    for pattern in FILES.get((data_type, part), ()):
        found = sorted(Path(data_dir).glob(pattern))
        if found:
            return found[-1]
    return None


def _required(data_dir, data_type, part):
    path = find(data_dir, data_type, part)
    if path is None:
        source = 'cifar-10-python.tar.gz' if data_type == 'cifar10' else 'PICTURES'
        raise ValueError(
            f'--data-dir {data_dir} holds no {FILES[data_type, part][0]}: pack your pictures first with '
            f'python tools/im2rec_wrapper.py {source} {data_dir} --data-type {data_type}'
        )
    return path


def val_iter(data_dir, data_type, batch_size, source, options):
    """The Iterator over the validation records of data_dir; all of them, whatever options.limit says."""
    path = _required(data_dir, data_type, 'val')
    reader = Reader(path, source.size, batch_size, None, (source.mean, source.std), options._replace(limit=None))
    return Iterator({None: reader}, lambda epoch: None)


def evaluation_iter(path, source, batch_size, resize=None, crops=1, options=None, raw=False):
    """The Evaluation of a .rec, of the validation records in a folder, or of pictures in class folders.

    raw: it is read by raw() alone, in uint8, to be changed before normalised() makes of it what a network is fed.

    source: Input, its size that of the crop. batch_size: rows of a batch, the crops of a picture in one. resize, crops:
    as in view.choose. ValueError names the option, or the folder and what was looked for, RecordError the picture.
    """
    if batch_size < 1:
        raise ValueError(f'--batch-size {batch_size} must be at least 1')
    options, small = (options or Options())._replace(limit=None), source.size <= view.SMALL
    kinds = ('cifar10', 'imagenet') if small else ('imagenet',)
    found = (find(path, kind, 'val') for kind in kinds if Path(path).is_dir())
    path = next((rec for rec in found if rec), path)
    chosen = view.choose(source.size, resize, crops, not Path(path).is_dir())
    pixels, pictures = None if raw else (source.mean, source.std), -(-batch_size // crops)
    try:
        reader = Reader(path, source.size, pictures, None, pixels, options, chosen)
        if reader.count < pictures:  # a batch is padded to its size, which may be all of the memory
            reader.close()
            reader = Reader(path, source.size, max(reader.count, 1), None, pixels, options, chosen)
    except SourceError as error:
        looked_for = ' or '.join(FILES[kind, 'val'][0] for kind in kinds)
        raise ValueError(f'{error}; and no validation records ({looked_for})') from None
    for note in getattr(reader.records, 'notes', ()):
        options.report(f'{path}: {note}')
    return Evaluation(reader, path)


def normalised(pictures, source):
    """NDArray float32 (n, 3, S, S), as a network of source (Input) is fed, of RGB pictures uint8 (n, S, S, 3)."""
    table = opencv.pixel_table(source.mean, source.std)
    planes = np.empty((len(pictures), 3, *pictures.shape[1:3]), np.float32)
    for plane in range(3):
        planes[:, plane] = table[plane][pictures[..., plane]]
    return mx.nd.from_numpy(planes, zero_copy=True)


def record_iters(recipe, data_dir, cluster, source, options=None):
    """(train, val) Iterators over the records of data_dir.

    source: Input. options: recordio.reader.Options for threads, limit, max_bad and report. ValueError names --data-dir
    and what is missing or damaged, RecordError the file and the record.
    """
    options = (options or Options())._replace(seed=recipe.seed, part=(cluster.rank, cluster.num_workers))
    val = val_iter(data_dir, recipe.data_type, recipe.batch_size, source, options)
    pixels = (source.mean, source.std)
    train = {}
    for level in sorted({aug_at(recipe, epoch) for epoch in range(recipe.epochs)}, key=str):
        path = find(data_dir, recipe.data_type, 'crop') if level == 1 else None
        path = path or _required(data_dir, recipe.data_type, 'train')
        reader = Reader(path, source.size, recipe.batch_size, Augment(**AUGMENT[level]), pixels, options)
        train[level] = reader
        held = len(reader.records)
        if options.limit is not None and not 0 < options.limit <= held:
            raise ValueError(f'--num-examples {options.limit}: {path} holds {held} pictures, use 1 to {held}')
    return Iterator(train, lambda epoch: aug_at(recipe, epoch)), val


def count_classes(train, val, names, given=None, option='--num-classes'):
    """Classes of a data set: --num-classes, else the names' count, else the largest label + 1.

    ValueError: a label that is no class number or lies outside of the classes, with its record's number.
    """
    labels = {**train.labels(), **val.labels()}
    for path, values in labels.items():
        for number in np.flatnonzero(lists.no_class(values))[:1]:
            raise ValueError(f'{path}: record {number} has label {values[number]:g}, no class number (0, 1, 2, ...)')
    top = int(max(values.max() for values in labels.values()))
    if given is None and top >= max(len(names), MANY):
        raise ValueError(f'the records hold label {top}, which damage may have made: else say {option} {top + 1}')
    classes = given if given is not None else max(len(names), top + 1)
    if top >= classes:
        raise ValueError(f'{option} {classes}: the records hold label {top}, use at least {top + 1}')
    return classes


def check_lists(list_dir, data_dir, data_type):
    """Holds the .lst files of list_dir against the records: ids, count, labels. Returns the files that were compared.

    ValueError names --list-dir, the file and the first difference.
    """
    compared = []
    for part in ('train', 'crop', 'val'):
        rec = find(data_dir, data_type, part)
        names = [rec.with_suffix('.lst').name, f'{"val" if part == "val" else "train"}.lst'] if rec else []
        path = next((Path(list_dir) / name for name in names if (Path(list_dir) / name).is_file()), None)
        if path is None:
            continue
        samples = lists.read_list(str(path))
        with RecordFile(rec) as records:
            labels, held = dict(zip(records.ids.tolist(), records.labels()[:, 0].tolist())), len(records)
        if len(samples) != held:
            raise ValueError(f'--list-dir {list_dir}: {path} lists {len(samples)} pictures, {rec} holds {held}')
        keys = (int(line.split()[0]) for line in path.read_text(errors='surrogateescape').split('\n') if line.strip())
        for key, sample in zip(keys, samples):
            if key not in labels or not math.isclose(labels[key], sample.labels[0], rel_tol=1e-6):
                raise ValueError(
                    f'--list-dir {list_dir}: {path} gives id {key} label {sample.labels[0]:g}, '
                    f'{rec} holds {labels.get(key, "no such id")}'
                )
        compared.append(path)
    if not compared:
        raise ValueError(f'--list-dir {list_dir} holds no .lst file of the records in {data_dir}')
    return compared


def load_image(path, source, crop='center'):
    """float32 (3, size, size) of a picture file, as the network of source (Input) is fed; of load_crop()."""
    return normalised(load_crop(path, source.size, crop)[None], source)[0].asnumpy()


def load_crop(path, size, crop='center'):
    """uint8 (size, size, 3), RGB: the pixels of a picture file that a network sees.

    crop 'center': the short side to 256/224 of the size, then the centre, as validation does; 'resize': all of the
    picture, whatever its aspect. ValueError names the file and why it cannot be read.
    """
    try:
        payload = Path(path).read_bytes()
        with verify.hushed() as (complaints, _):  # which tell of damage
            picture = decode(payload, complaints)
        if crop == 'center':
            cut = view.View(view.usual_short(size))
            (seen,) = opencv.windows(Pixels(picture), size, cut)
    except OSError as error:
        raise ValueError(f'{path} cannot be read: {error.strerror}') from None
    except PictureError as error:
        raise ValueError(f'{path} {error}') from None
    if crop != 'center':
        shrinks = min(picture.shape[:2]) > size
        method = cv2.INTER_AREA if size == CIFAR_SIDE and shrinks else cv2.INTER_LINEAR
        seen = cv2.resize(picture, (size, size), interpolation=method)
    return cv2.cvtColor(seen, cv2.COLOR_BGR2RGB)
