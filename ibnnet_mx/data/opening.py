"""Iterators over the records of a data set, opened and checked before the first batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ibnnet_mx.data.files import FILES, find_records, require_records
from ibnnet_mx.data.iterator import Evaluation, Iterator
from ibnnet_mx.data.pictures import Input
from ibnnet_mx.errors import OptionError
from ibnnet_mx.recipe import AUGMENT, Recipe, aug_at
from ibnnet_mx.recordio.pixels import view
from ibnnet_mx.recordio.pixels.augment import Augment
from ibnnet_mx.recordio.pixels.view import View
from ibnnet_mx.recordio.reading.extent import usual_size
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import Reader
from ibnnet_mx.recordio.sources import SourceError
from ibnnet_mx.size import Size


def record_iters(
    recipe: Recipe, data_dir: Any, cluster: Any, net_input: Input, options: Options | None = None
) -> tuple[Iterator, Iterator]:
    """Return (train, val), the Iterators over the records of data_dir.

    net_input: Input. options: recordio's Options for threads, limit, max_bad and report. Raises OptionError for
    data_dir if a file is missing, and RecordError, which names the file and the record, if one is damaged.
    """
    options = (options or Options())._replace(seed=recipe.seed, share=(cluster.rank, cluster.num_workers))
    val = val_iter(data_dir, recipe.data_type, recipe.batch_size, net_input, options)
    normalisation = (net_input.mean, net_input.std)
    train = {}
    for level in sorted({aug_at(recipe, epoch) for epoch in range(recipe.epochs)}, key=str):
        size = net_input.size
        path = find_records(data_dir, recipe.data_type, 'crop', size) if level == 1 else None
        path = path or require_records(data_dir, recipe.data_type, 'train', size)
        reader = Reader(path, size, recipe.batch_size, Augment(**AUGMENT[level]), normalisation, options)
        train[level] = reader
        for note in getattr(reader.records, 'notes', ()):
            options.report(note)
        for note in _describe_fit(usual_size(reader.records, options.exif), Size.of(size), level):
            options.report(f'{path}: {note}')
        count = len(reader.records)
        if options.limit is not None and not 0 < options.limit <= count:
            raise OptionError('limit', options.limit, f': {path} holds {count} pictures, use 1 to {count}')
    return Iterator(train, lambda epoch: aug_at(recipe, epoch)), val


def _describe_fit(pictures: Size | None, size: Size, level: Any) -> list[str]:
    """Return [] or a line about training pictures whose size is far from the crop's, or a level that needs more."""
    changes = Augment(**AUGMENT[level])
    if pictures is None:
        return []
    about = f'its pictures have about {pictures.sides} pixels'
    if view.far_smaller(pictures, size):
        way = f'; `image_size` {min(pictures)} takes them as they are'
        return [f'{about}: they are enlarged to {size.sides}, which the network sees{way}']
    if view.far_larger(pictures, size) and changes.area is None:
        return [f'{about}: a crop of {size.sides} shows a corner of them; pack them for {size}, or use `aug_level` rrc']
    room = all(side >= view.usual_short(other) for side, other in zip(pictures, size))
    if changes.scale[0] < 1 and not room:
        return [
            f'{about}, no more than the crop of {size.sides}: `aug_level` {level} shrinks them first, so that they are '
            'enlarged again; 1 and rrc do not'
        ]
    return []


def val_iter(data_dir: Any, data_type: str, batch_size: int, net_input: Input, options: Options) -> Iterator:
    """Return the Iterator over the validation records of data_dir: all of them, for any options.limit."""
    path = require_records(data_dir, data_type, 'val', net_input.size)
    fitting = Fitting(net_input.size, options.exif)
    normalisation = (net_input.mean, net_input.std)
    reader = _open_whole(path, net_input, batch_size, normalisation, options._replace(limit=None), fitting)
    for note in fitting.notes:
        options.report(f'{path}: {note}')
    return Iterator({None: reader}, lambda epoch: None)


class Fitting:
    """The view of records whose size is not known before they are opened: View = Fitting(size)(records).

    Pictures that are far larger than a crop of `size` are brought to size as files are; others stay as they are, and
    are cut. notes: [] or a line about pictures whose size is far from the crop's.
    """

    def __init__(self, size: Any, exif: str, crops: int = 1) -> None:
        self._size, self._exif, self._crops = Size.of(size, 'size'), exif, crops
        self.notes: list[str] = []

    def __call__(self, records: Any) -> View:
        size, pictures = self._size, usual_size(records, self._exif)
        self.notes, chosen = [], View(crops=self._crops)
        if pictures is None:
            return chosen
        about = f'its pictures have about {pictures.sides} pixels'
        if view.far_larger(pictures, size):
            chosen = view.usual_view(size, self._crops)
            way = f'whole to {chosen.whole.sides}' if chosen.whole else f'to a short side of {chosen.short}'
            self.notes = [
                f'{about}: they are brought {way}, because a crop of {size.sides} would show a corner of them'
            ]
        elif view.far_smaller(pictures, size):
            self.notes = [f'{about}: they are enlarged to {size.sides}, which the network sees']
        return chosen


def _open_whole(
    path: Any, net_input: Input, batch_size: int, normalisation: Any, options: Options, chosen: View | Fitting
) -> Reader:
    """Return a Reader of all pictures. A batch is padded to its size, so it is no larger than all pictures together."""
    reader = Reader(path, net_input.size, batch_size, None, normalisation, options, chosen)
    if reader.count >= batch_size:
        return reader
    reader.close()
    return Reader(path, net_input.size, max(reader.count, 1), None, normalisation, options, chosen)


def evaluation_iter(
    path: Any,
    net_input: Input,
    batch_size: int,
    resize: int | None = None,
    crops: int = 1,
    options: Options | None = None,
    raw: bool = False,
) -> Evaluation:
    """Return the Evaluation of a .rec, of the validation records in a folder, or of pictures in class folders.

    net_input: Input, with the crop's size. batch_size: rows of a batch; all crops of a picture are in one batch.
    resize, crops: as in recordio's choose_view(). raw: True gives uint8 pixels for Evaluation.raw(), which are changed
    before normalise().

    Raises OptionError, or ValueError with the folder and the files that it lacks, or RecordError with the picture.
    """
    if batch_size < 1:
        raise OptionError('batch_size', batch_size, 'must be at least 1')
    # Raw pictures are passed over once for each shift, others once.
    options, size = (options or Options())._replace(limit=None, keep=raw), Size.of(net_input.size, 'size')
    kinds = ('cifar10', 'imagenet') if size.small else ('imagenet',)
    records = (find_records(path, kind, 'val', size) for kind in kinds if Path(path).is_dir())
    path = next((rec for rec in records if rec), path)
    packed = not Path(path).is_dir()
    chosen: View | Fitting = view.choose_view(size, resize, crops, packed)
    fitting = Fitting(size, options.exif, crops)
    if packed and resize is None:
        chosen = fitting
    normalisation, pictures = None if raw else (net_input.mean, net_input.std), -(-batch_size // crops)
    try:
        reader = _open_whole(path, net_input, pictures, normalisation, options, chosen)
    except SourceError as error:
        looked_for = ' or '.join(FILES[kind, 'val'][0] for kind in kinds)
        raise ValueError(f'{error}; and no validation records ({looked_for})') from None
    for note in getattr(reader.records, 'notes', ()):
        options.report(note if note.startswith(str(path)) else f'{path}: {note}')
    return Evaluation(reader, path, [f'{path}: {note}' for note in fitting.notes])
