"""The packer: lists of pictures -> record files, by several processes. Order and bytes do not depend on their number.

A file is written as .part and renamed when it is whole. Its entry in packed.json comes last. A killed run leaves .part
files and finished files, and the next run continues behind the finished ones.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, suppress
from itertools import islice
from typing import Any, Iterator, NamedTuple

from tqdm import tqdm

from ibnnet_mx.errors import OptionError, visible
from ibnnet_mx.files import ahead
from ibnnet_mx.files.atomic import AtomicFile
from ibnnet_mx.recordio import lists
from ibnnet_mx.recordio.format import write_index
from ibnnet_mx.recordio.opening import faces
from ibnnet_mx.recordio.packing import manifest, upright, worker
from ibnnet_mx.recordio.packing.worker import Output, Packed, Task
from ibnnet_mx.recordio.pixels import jpeg
from ibnnet_mx.recordio.pixels.exif import APPLY, check_exif
from ibnnet_mx.recordio.sources import Sample, Store

CHUNK = 16  # pictures a process is given at a time
AHEAD = 4  # chunks for each process that may wait, so that memory stays bounded


class PackError(OptionError):
    """An error that ends packing. The text says why, and the way out."""


class Result(NamedTuple):
    """The result for one record file."""

    path: str
    records: int
    skipped: int  # pictures that could not be read
    bytes: int
    fresh: bool  # False: was finished before


class _Writer:
    """NAME.rec.part while it grows. finish() makes NAME.lst, .idx and .rec of it; drop() deletes it."""

    def __init__(self, folder: str, name: str) -> None:
        self.base = os.path.join(folder, name)
        self.file = AtomicFile(f'{self.base}.rec')
        self.samples: list[Sample] = []
        self.ids: list[int] = []
        self.offsets: list[int] = []
        self.size = 0

    def add(self, number: int, sample: Sample, record: bytes) -> None:
        self.samples.append(sample)
        self.put(lists.record_id(number, sample), record)

    def put(self, record_id: int, record: bytes) -> None:
        """Append a record that is in no list."""
        self.file.write(record)
        self.ids.append(record_id)
        self.offsets.append(self.size)
        self.size += len(record)

    def finish(self) -> None:
        """Give the file its name, with its list and index.

        The old index goes before the old records do, because records without an index can be read, the reverse cannot.
        """
        self.file.seal()
        with suppress(FileNotFoundError):
            os.unlink(f'{self.base}.idx')
        if self.samples:
            lists.write_text(f'{self.base}.lst', map(lists.list_line, self.ids, self.samples))
        self.file.commit()
        write_index(f'{self.base}.idx', self.ids, self.offsets)

    def drop(self) -> None:
        self.file.drop()


class Packer:
    """A packer of the sides of one source into one folder. More than `max_bad` unreadable pictures in all are an error.

    After that error no record file of this run is left. exif: 'apply' packs pictures upright, without EXIF; 'ignore' as
    they are stored.
    """

    def __init__(self, folder: str, jobs: int, max_bad: int, exif: str = APPLY) -> None:
        check_exif(exif)
        self.folder, self.jobs, self.max_bad, self.exif = folder, jobs, max_bad, exif
        self.bad = self.missing = 0  # missing: files that are not where their names say
        self.results: list[Result] = []
        self.manifest = manifest.Manifest(folder)
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Packer:
        return self

    def __exit__(self, *_: Any) -> None:
        if self._executor is not None:
            self._executor.shutdown()

    def side(self, samples: list[Sample], store: Store, outputs: list[Output], split: str = '') -> None:
        """Write each output's .rec, .idx and .lst of `samples`, in their order, unless it is finished already.

        split: as manifest.split_id() gives it; packed.json keeps it.
        """
        largest = max(output.short for output in outputs)
        sources = {output: manifest.fingerprint(samples, store, (output.settings, largest)) for output in outputs}
        entries = {output: self.manifest.finished(output.name, sources[output]) for output in outputs}
        entries = upright.still_right(entries, samples, store, self.exif)
        for output, entry in entries.items():
            if entry is not None and {**entry, 'split': split} != self.manifest.entries[output.name]:
                self.manifest.put(output.name, {**entry, 'split': split})
        bad_before = [entry['skipped'] for entry in entries.values() if entry is not None]
        if bad_before and self.bad + max(bad_before) > self.max_bad:
            entries, bad_before = dict.fromkeys(outputs), []  # a stricter max_bad than then: name them again
        todo = [output for output in outputs if entries[output] is None]
        for output in outputs:
            entry = entries[output]
            if entry is not None:
                path = os.path.join(self.folder, f'{output.name}.rec')
                self.results.append(Result(path, entry['records'], entry['skipped'], entry['bytes'], False))
        if not todo:
            self.bad += max(bad_before)
            return
        writers = self._write_records(samples, store, todo, largest)
        try:
            for output, writer in zip(todo, writers):
                self._finish(output, writer, len(samples), dict(source=sources[output], split=split))
        except BaseException:
            for writer in writers:
                writer.drop()  # a full disk may show only when the last bytes are written
            raise

    def faces(self, samples: list[Sample], store: Store, output: Output) -> Result:
        """Write NAME.rec and .idx in insightface's layout; see opening/faces.py. A picture that cannot be read, or is
        not square, is an error.

        samples: each with the number of its identity. Pictures of an identity come together, in the order of numbers.
        """
        order = sorted(samples, key=lambda sample: sample.labels[0])
        order = [sample._replace(id=number) for number, sample in enumerate(order, 1)]
        ranges = faces.identity_ranges([int(sample.labels[0]) for sample in order])
        writer = _Writer(self.folder, output.name)
        try:
            writer.put(0, faces.table(0, len(order) + 1, len(order) + 1 + len(ranges)))
            with tqdm(total=len(order), desc=output.name, unit=' pictures', file=sys.stderr, disable=None) as bar:
                for sample, packed in zip(order, self._run(order, store, [output], output.short)):
                    bar.update()
                    if isinstance(packed, str):
                        raise PackError(None, None, f'{sample.name} {packed}: mend or remove it')
                    self._refuse_oblong(sample, packed[0])
                    writer.put(lists.record_id(0, sample), packed[0])
            for number, (first, last) in enumerate(ranges, len(order) + 1):
                writer.put(number, faces.table(number, first, last))
            writer.finish()
        except BaseException:
            writer.drop()
            raise
        return Result(f'{writer.base}.rec', len(order), 0, writer.size, True)

    @staticmethod
    def _refuse_oblong(sample: Sample, record: bytes) -> None:
        width, height = jpeg.declared(record[faces.HEADER_BYTES :]) or (0, 1)
        if width != height:
            raise PackError(
                None,
                None,
                f'{sample.name} becomes {width}x{height} pixels: faces must be square, align and cut them first',
            )

    def _finish(self, output: Output, writer: _Writer, count: int, origin: dict[str, str]) -> None:
        self.manifest.put(output.name, None)
        writer.finish()
        skipped = count - len(writer.ids)
        entry = dict(origin, records=len(writer.ids), skipped=skipped, bytes=writer.size, exif=self.exif)
        if output.size is not None:
            entry['size'] = str(output.size)
        self.manifest.put(output.name, entry)
        self.results.append(Result(f'{writer.base}.rec', len(writer.ids), skipped, writer.size, True))

    def _write_records(self, samples: list[Sample], store: Store, outputs: list[Output], largest: int) -> list[_Writer]:
        writers: list[_Writer] = []
        try:
            writers = [_Writer(self.folder, output.name) for output in outputs]
            title = ' '.join(output.name for output in outputs)
            with tqdm(total=len(samples), desc=title, unit=' pictures', file=sys.stderr, disable=None) as bar:
                for number, packed in enumerate(self._run(samples, store, outputs, largest)):
                    bar.update()
                    if isinstance(packed, str):
                        self._count_bad(samples[number], packed)
                        continue
                    for writer, record in zip(writers, packed):
                        writer.add(number, samples[number], record)
            if not writers[0].ids:
                hint = ': `root` names the folder that their paths start from' if self.missing >= len(samples) else ''
                raise PackError(None, None, f'none of the {len(samples)} pictures for {title} could be read{hint}')
            return writers
        except BaseException as error:
            for writer in writers:
                writer.drop()
            if isinstance(error, PackError):
                self._remove_results()
            raise

    def _count_bad(self, sample: Sample, reason: str) -> None:
        self.missing += reason.endswith(os.strerror(errno.ENOENT))
        self.bad += 1
        tqdm.write(visible(f'skipped: {sample.name} {reason}'), file=sys.stderr)
        if self.bad > self.max_bad:
            raise PackError(
                'max_bad',
                self.max_bad,
                f'pictures that cannot be read are allowed, {sample.name} is one more ({reason}): mend or remove them, '
                'or allow more',
            )

    def _remove_results(self) -> None:
        for result in self.results:
            if result.fresh:
                base = os.path.splitext(result.path)[0]
                self.manifest.put(os.path.basename(base), None)
                for suffix in ('.idx', '.lst', '.rec'):
                    with suppress(FileNotFoundError):
                        os.unlink(base + suffix)
        self.results = [result for result in self.results if not result.fresh]

    def _run(self, samples: list[Sample], store: Store, outputs: list[Output], largest: int) -> Iterator[Packed]:
        """Yield the records in the order of the samples. Each chunk is packed by any process that is free."""
        pool = self._pool()
        tasks = (
            Task(lists.record_id(number, sample), sample.labels, store.fetch(sample))
            for number, sample in enumerate(samples)
        )
        chunks = iter(lambda: list(islice(tasks, CHUNK)), [])
        killed = PackError(None, None, 'a packing process was killed (memory?): try fewer with `jobs`')

        def begin(chunk: list[Task]) -> ahead.Begun[None]:
            return None, [pool.submit(worker.pack_tasks, chunk, outputs, largest, self.exif)]

        with closing(ahead.in_order(chunks, begin, AHEAD * self.jobs, killed)) as packed:
            for _, (records,) in packed:
                yield from records

    def _pool(self) -> ProcessPoolExecutor:
        """Return the processes: new interpreters, no forks, because OpenCV's and mxnet's threads do not survive a
        fork.
        """
        if self._executor is None:
            context = multiprocessing.get_context('spawn')
            self._executor = ProcessPoolExecutor(self.jobs, mp_context=context, initializer=worker.prepare_process)
        return self._executor
