"""Epochs of NDArrays over a reader: for training, and for the evaluation of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, Sequence

import mxnet as mx
import numpy as np

from ibnnet_mx.data.files import count_classes
from ibnnet_mx.recordio import lists
from ibnnet_mx.recordio.reading.extent import usual_size
from ibnnet_mx.recordio.reading.folder import FolderRecords
from ibnnet_mx.recordio.reading.reader import Reader
from ibnnet_mx.size import Size


class Iterator:
    """Epochs of (data (n, 3, H, W) float32, label (n,), real) as NDArrays that alias the reader's buffers.

    readers: {level: Reader}. levels: epoch -> its level of augmentation.
    """

    def __init__(self, readers: Mapping[Any, Reader], levels: Callable[[int], Any]) -> None:
        self._readers, self._levels = readers, levels

    def _reader(self, epoch: int) -> Reader:
        return self._readers[self._levels(epoch)]

    def count(self, epoch: int = 0) -> int:
        """Return the pictures of an epoch, over all workers."""
        return self._reader(epoch).count

    def steps(self, epoch: int = 0) -> int:
        """Return the batches of an epoch, the same for every worker."""
        return self._reader(epoch).steps

    def record_size(self, exif: str) -> Size | None:
        """Return the usual height and width of the pictures in the records; None if they do not say it."""
        return usual_size(self._reader(0).records, exif)

    def labels(self) -> dict[str, np.ndarray]:
        """Return {path: float32 (n,)}, the first label of every record of each file."""
        return {reader.records.path: reader.labels() for reader in self._readers.values()}

    def class_labels(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return {path: (numbers of records, their labels)} of the records that can be pictures."""
        return {reader.records.path: reader.class_labels() for reader in self._readers.values()}

    def epoch(self, epoch: int = 0) -> Iterable[list[Any]]:
        """Yield (data, label, real) of the batches that have pictures."""
        return (batch for _, *batch in self.numbered(epoch) if batch[0] is not None)

    def numbered(self, epoch: int = 0, start: int = 0) -> Iterable[tuple[int, Any, Any, int]]:
        """Yield (step, data, label, real) from a step on; None, None, 0 for a step without a picture that can be
        read.
        """
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

    def close(self) -> None:
        """End the threads and close the files."""
        for reader in self._readers.values():
            reader.close()


class Evaluation:
    """Labelled pictures in their order, on which a network is tested.

    names (may be empty) and classes: of the labels. view: recordio's View, which says how a picture is cut. notes:
    lines about pictures whose size is far from the network's.
    """

    def __init__(self, reader: Reader, path: Any, notes: Sequence[str] = ()) -> None:
        self.notes = notes
        records, self._reader, self.path, self.view = reader.records, reader, str(path), reader.view
        self.names: Sequence[str] = (
            records.classes if isinstance(records, FolderRecords) else lists.read_synset(Path(path).parent)
        )
        self._order: np.ndarray | None = None
        self.classes = count_classes(self, self, self.names)
        self.count, self.steps = reader.count, reader.steps

    def class_labels(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return {path: (numbers of records, their labels float32 (n,))} of the records that can be pictures."""
        numbers, labels = self._reader.class_labels()
        return {self.path: (numbers, self._classes_of(labels))}

    def follow(self, order: Sequence[int], names: Sequence[str]) -> None:
        """Make labels classes of a network that has these names. order: (classes,), the network's class of each
        label.
        """
        self._order, self.names, self.classes = np.array(order, np.float32), names, len(names)

    def _classes_of(self, labels: np.ndarray) -> np.ndarray:
        return labels if self._order is None else self._order[labels.astype(np.int64)]

    def epoch(self) -> Iterable[tuple[Any, np.ndarray, int]]:
        """Yield (data NDArray (n x crops, 3, H, W), label float32 (n,), real). Rows beyond real are padding."""
        for batch in self._reader.epoch():
            yield mx.nd.from_numpy(batch.data, zero_copy=True), self._classes_of(batch.label), batch.real

    def raw(self) -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield (pictures uint8 (n, H, W, 3), positions (n,), labels int64 (n,)) without padding, for raw pixels.

        positions: of the pictures in the file, even if only some of its pictures are read.
        """
        for batch, positions in self._reader.placed():
            if batch.real:
                pictures = np.ascontiguousarray(batch.data[: batch.real].transpose(0, 2, 3, 1))
                yield pictures, positions, self._classes_of(batch.label[: batch.real]).astype(np.int64)

    def close(self) -> None:
        """End the threads and close the files."""
        self._reader.close()
