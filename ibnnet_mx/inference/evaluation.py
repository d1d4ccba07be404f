"""Evaluate a network on labelled pictures: a report as a dict for --json, its text, and remarks on likely mistakes."""

from __future__ import annotations

from collections import Counter

import mxnet as mx
import numpy as np
from tqdm import tqdm

from ibnnet_mx import data, models
from ibnnet_mx.inference.opening import PIXELS as CONVENTIONS
from ibnnet_mx.metrics import classification, diagnosis
from ibnnet_mx.size import Size

SAMPLE = 100  # pictures that are tried with other normalisations if the network fails
EXTREMES = 5  # so many best and so many worst classes are in the text


def convention(source):
    """Return the name of an Input's normalisation in --pixels, or 'other'."""
    pixels = models.Pixels(tuple(source.mean), tuple(source.std))
    return next((name for name, known in CONVENTIONS.items() if known == pixels), 'other')


class Sample:
    """Keeps a sample of the pictures that pass, evenly spread, because data sorted by class begin with one class."""

    def __init__(self, pictures):
        self._each = -(-SAMPLE // max(pictures.steps, 1))
        self._every = max(pictures.steps // SAMPLE, 1)
        self._crops = pictures.view.crops
        self.data, self.labels, self.rows = [], [], 1

    def passing(self, batches):
        """Yield the batches, and keep the sample."""
        for number, (pictures, label, real) in enumerate(batches):
            if real and number % self._every == 0:
                rows = np.unique(np.linspace(0, real - 1, self._each).astype(int))
                centre = 4 if self._crops > 1 else 0  # the centre's number among the ten crops
                self.data.append(pictures.asnumpy()[rows * self._crops + centre])
                self.labels.append(label[rows])
                self.rows = max(self.rows, pictures.shape[0])
            yield pictures, label, real

    def measure(self, model, source):
        """Return a diagnosis.Measure: function (normalisation, planes are BGR) -> (count of right answers, count)."""

        def planes(values):
            return np.array(values, np.float32).reshape(1, 3, 1, 1)

        def run(name, swapped):
            pixels, labels = CONVENTIONS.get(name, source), np.concatenate(self.labels)
            raw = np.concatenate(self.data) * planes(source.std) + planes(source.mean)
            seen = (raw[:, :: -1 if swapped else 1] - planes(pixels.mean)) / planes(pixels.std)
            parts = [seen[i : i + self.rows] for i in range(0, len(seen), self.rows)]
            answers = np.concatenate([classification.predictions(model.predict(mx.nd.array(part))) for part in parts])
            return int((answers == labels).sum()), len(labels)

        return run


def finite(value):
    """Return the value, or None if it is infinite or NaN, for which JSON has no number."""
    return value if np.isfinite(value) else None


def class_keys(count, names):
    """Return a key for each class: its name, with its number if other classes have the same name or it has none."""
    counts = Counter(names)
    return [
        names[i] if i < len(names) and counts[names[i]] == 1 else ' '.join([str(i), *names[i : i + 1]])
        for i in range(count)
    ]


def open_pictures(model, path, source, batch_size, resize=None, crops=1, options=None, raw=False):
    """Return a data.Evaluation whose labels are classes of the network, and remarks. Names decide if both have them."""
    pictures = data.evaluation_iter(path, source, batch_size, resize, crops, options, raw)
    names = diagnosis.Names(pictures.names if pictures.classes == len(pictures.names) else (), model.names)
    try:
        diagnosis.refuse_names(names, model.label, pictures.path)
    except ValueError:
        pictures.close()
        raise
    order = diagnosis.match_names(names)
    if order is not None:
        pictures.follow(order, model.names)
    return pictures, list(filter(None, [*pictures.notes, diagnosis.describe_matching(names)]))


def report_of(*args, **rest):
    """Return the report of measure() alone."""
    return measure(*args, **rest)[0]


def measure(model, path, crop_size=None, resize=None, crops=1, batch_size=100, options=None):
    """Measure a network on the pictures of a path. Return the report (for --json), the Result and the class names.

    model: has predict(NDArray (n, 3, H, W)) -> logits (n, classes), input (data.Input), names (or []), classes, and
    label (the user's name for it). path: as in data.evaluation_iter. crop_size: model.input's if not given. options:
    the reader's Options. Raises ValueError for an option, and for labels without a class of the network.
    """
    source = model.input if crop_size is None else model.input._replace(size=crop_size)
    pictures, remarks = open_pictures(model, path, source, batch_size, resize, crops, options)
    try:
        labels = np.concatenate([labels for _, labels in pictures.class_labels().values()])
        diagnosis.refuse_labels(labels, model.classes, model.label, pictures.path)
        sample = Sample(pictures)
        batches = tqdm(sample.passing(pictures.epoch()), total=pictures.steps, unit=' batches', disable=None)
        result = classification.evaluate(model.predict, batches, classification.Tally(), crops).result()
        names = diagnosis.Names(pictures.names, model.names)
        measure, used = sample.measure(model, source), convention(source)
        remarks += diagnosis.diagnose(result, pictures.classes, names, measure, used, ' '.join(pictures.notes))
    finally:
        pictures.close()
    complete = len(pictures.names) == model.classes
    keys = class_keys(model.classes, pictures.names if complete else model.names or pictures.names)
    report = dict(
        model=model.label,
        data=pictures.path,
        count=result.count,
        every=options.every if options else 1,
        top1=result.top1,
        top5=result.top5,
        cross_entropy=finite(result.cross_entropy),
        calibration_error=finite(result.calibration_error()),
        crop_size=Size.of(source.size).plain,
        resize=pictures.view.resized,
        crops=crops,
        pixels=used if used != 'other' else dict(mean=list(source.mean), std=list(source.std)),
        per_class={keys[label]: right / count for label, count, right in result.per_class()},
        remarks=remarks,
    )
    return report, result, keys


def lines(report, per_class=False):
    """Yield the text of a report: a table, then the best and worst classes, or all of them in the order of labels."""
    brought = report['resize']
    way = 'whole pictures at' if isinstance(brought, Size) else 'short side'
    short = f', {way} {brought}' if brought else ''
    yield f'{report["model"]} on {report["data"]}'
    every = f', only 1 of {report["every"]}' if report['every'] > 1 else ''
    yield f'  {report["count"]} pictures{every}, crop {report["crop_size"]}{short}, crops {report["crops"]}'
    yield f'  top-1          {100 * report["top1"]:.2f} %'
    if report['top5'] is not None:
        yield f'  top-5          {100 * report["top5"]:.2f} %'
    for title, value, form in (
        ('cross entropy', report['cross_entropy'], '{:.4f}'),
        ('calibration', report['calibration_error'], '{:.2%} (expected error, ECE)'),
    ):
        yield f'  {title:<13}  {"not finite" if value is None else form.format(value).replace("%", " %")}'
    rows = list(report['per_class'].items())
    if not per_class and len(rows) > 2 * EXTREMES:
        ranked = sorted(rows, key=lambda row: -row[1])
        rows = [*ranked[:EXTREMES], ('...', None), *ranked[-EXTREMES:]]
    yield '  classes'
    for name, share in rows:
        yield f'    {name}' if share is None else f'    {100 * share:6.2f} %  {name}'
