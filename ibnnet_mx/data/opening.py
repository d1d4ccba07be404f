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
from ibnnet_mx.recordio.reading.options import Options
from ibnnet_mx.recordio.reading.reader import Reader
from ibnnet_mx.recordio.sources import SourceError


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
        path = find_records(data_dir, recipe.data_type, 'crop') if level == 1 else None
        path = path or require_records(data_dir, recipe.data_type, 'train')
        reader = Reader(path, net_input.size, recipe.batch_size, Augment(**AUGMENT[level]), normalisation, options)
        train[level] = reader
        for note in getattr(reader.records, 'notes', ()):
            options.report(note)
        count = len(reader.records)
        if options.limit is not None and not 0 < options.limit <= count:
            raise OptionError('limit', options.limit, f': {path} holds {count} pictures, use 1 to {count}')
    return Iterator(train, lambda epoch: aug_at(recipe, epoch)), val


def val_iter(data_dir: Any, data_type: str, batch_size: int, net_input: Input, options: Options) -> Iterator:
    """Return the Iterator over the validation records of data_dir: all of them, for any options.limit."""
    path = require_records(data_dir, data_type, 'val')
    normalisation = (net_input.mean, net_input.std)
    reader = _open_whole(path, net_input.size, batch_size, normalisation, options._replace(limit=None))
    return Iterator({None: reader}, lambda epoch: None)


def _open_whole(path: Any, size: int, batch_size: int, normalisation: Any, options: Options, *view: Any) -> Reader:
    """Return a Reader of all pictures. A batch is padded to its size, so it is no larger than all pictures together."""
    reader = Reader(path, size, batch_size, None, normalisation, options, *view)
    if reader.count >= batch_size:
        return reader
    reader.close()
    return Reader(path, size, max(reader.count, 1), None, normalisation, options, *view)


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
    options, small = (options or Options())._replace(limit=None, keep=raw), net_input.size <= view.SMALL
    kinds = ('cifar10', 'imagenet') if small else ('imagenet',)
    records = (find_records(path, kind, 'val') for kind in kinds if Path(path).is_dir())
    path = next((rec for rec in records if rec), path)
    chosen = view.choose_view(net_input.size, resize, crops, not Path(path).is_dir())
    normalisation, pictures = None if raw else (net_input.mean, net_input.std), -(-batch_size // crops)
    try:
        reader = _open_whole(path, net_input.size, pictures, normalisation, options, chosen)
    except SourceError as error:
        looked_for = ' or '.join(FILES[kind, 'val'][0] for kind in kinds)
        raise ValueError(f'{error}; and no validation records ({looked_for})') from None
    for note in getattr(reader.records, 'notes', ()):
        options.report(note if note.startswith(str(path)) else f'{path}: {note}')
    return Evaluation(reader, path)
