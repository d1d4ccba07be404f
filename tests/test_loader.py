"""The reader for others: numpy batches for any framework, and mxnet's iterator with another import."""

from __future__ import annotations

import numpy as np
import pytest

from ibnnet_mx.recipe import AUGMENT
from ibnnet_mx.recordio import Augment, Loader, RecordError
from ibnnet_mx.recordio.loader import Place
from tests.record_sets import jpeg, marked, png, scene, write

COUNT = 22
LEVEL2 = Augment(**AUGMENT[2])


@pytest.fixture(scope='module')
def shards(tmp_path_factory):
    """Three files of 22 records that say which they are."""
    folder, payloads = tmp_path_factory.mktemp('shards'), [png(marked(i)) for i in range(COUNT)]
    for number, (start, stop) in enumerate([(0, 9), (9, 10), (10, COUNT)]):
        write(folder / f's_{number}.rec', payloads[start:stop], range(start, stop))
    return folder


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    payloads = [jpeg(scene(i, 70 + i, 90), 3) for i in range(11)]
    return write(tmp_path_factory.mktemp('photographs') / 'a.rec', payloads)


def seen(batches):
    numbers = []
    for images, labels in batches:
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(images[:, 0, 0, 0], labels)
        numbers += labels.tolist()
    return numbers


def test_shards_are_one_file(shards):
    for path in (sorted(shards.glob('*.rec')), str(shards / 's_*.rec')):
        with Loader(path, 5, 8) as loader:
            assert len(loader) == 5
            assert seen(loader) == list(range(COUNT))
    with Loader(sorted(shards.glob('*.rec')), 5, 8, shuffle=True) as loader:
        first, second = seen(loader), seen(loader)
        assert first != second
        assert sorted(first) == sorted(second) == list(range(COUNT))
    with pytest.raises(RecordError, match=r'x_\*\.rec: no file is named so'):
        Loader(str(shards / 'x_*.rec'), 5, 8)
    with pytest.raises(RecordError, match='no record files'):
        Loader([], 5, 8)


def test_a_damaged_shard_is_named_with_its_own_record(shards, tmp_path):
    damaged = write(tmp_path / 'd.rec', [png(marked(i)) for i in (0, 1)] + [b'nothing'], [0, 1, 2])
    with pytest.raises(RecordError, match=r'd\.rec: record 2 \(id 2, byte \d+\) cannot be decoded'):
        list(Loader([shards / 's_0.rec', damaged], 4, 8))
    wide = write(tmp_path / 'w.rec', [png(marked(0))], [[1, 2]])
    with pytest.raises(RecordError, match=r'w\.rec: its records have 2 labels, .*s_0\.rec has 1'):
        Loader([shards / 's_0.rec', wide], 4, 8)


def test_a_loader_goes_on_where_it_stood(photographs):
    def batches(loader, count):
        return [images.copy() for images, _ in (pair for _, pair in zip(range(count), endless(loader)))]

    def endless(loader):
        while True:
            yield from loader

    with Loader(photographs, 3, 48, LEVEL2, seed=5) as loader:
        whole = batches(loader, 10)
    with Loader(photographs, 3, 48, LEVEL2, seed=5) as loader:
        start = batches(loader, 6)
        place = loader.place
    assert place == Place(1, 2)
    with Loader(photographs, 3, 48, LEVEL2, seed=5) as loader:
        loader.place = place
        for a, b in zip(whole, start + batches(loader, 4)):
            np.testing.assert_array_equal(a, b)


def test_parts_share_an_epoch(shards):
    numbers = [seen(Loader(str(shards / 's_*.rec'), 6, 8, shuffle=True, part=(rank, 3))) for rank in range(3)]
    assert sorted(sum(numbers, [])) == list(range(COUNT))


def test_arguments_are_checked(photographs):
    for options, text in (
        (dict(dtype='float16'), "dtype 'float16' must be"),
        (dict(dtype='uint8', normalise=((0,) * 3, (1,) * 3)), 'uint8 cannot hold'),
        (dict(batchsize=3), 'no such option: batchsize'),
        (dict(label_width=2), r'label_width 2: .*a\.rec holds 1 a record'),
        (dict(resize=20), 'resize 20: a whole number from 48 to'),
        (dict(resize=50, augment=LEVEL2), 'resize 50 is for augment=None'),
        (dict(batch_size=0), 'batch_size 0: a whole number from 1'),
        (dict(batch_size=2.5), r'batch_size 2\.5: a whole number'),
        (dict(batch_size=True), 'batch_size True: a whole number'),
        (dict(size=(48, 48)), r'size \(48, 48\): a whole number'),
        (dict(augment=2), 'augment 2 is no Augment: use None, or Augment'),
        (dict(augment=Augment(pad=-300)), r'Augment\.pad -300: a whole number from 0'),
        (dict(augment=Augment(scale=(1, 0.5))), r'Augment\.scale \(1, 0\.5\): the first'),
        (dict(augment=Augment(scale=1)), r'Augment\.scale 1: two numbers'),
        (dict(augment=Augment(aspect=float('nan'))), r'Augment\.aspect nan: a number from 0 to 0\.99'),
        (dict(augment=Augment(hls=(1, 2))), r'Augment\.hls \(1, 2\): three numbers'),
        (dict(augment=Augment(area=(0.1, 1), pad=2)), r'Augment\.area .* leave scale, aspect and pad out'),
        (dict(augment=Augment(aspect=0.1, pad=2)), r'Augment\.pad 2 has no place'),
        (dict(augment=Augment(fill=256)), r'Augment\.fill 256'),
        (dict(normalise=((1, 2, 3), (0, 1, 1))), 'normalise: std 0 is no divisor'),
        (dict(normalise=((1, 2, 3),)), 'mean and std are needed'),
        (dict(part=(2, 2)), 'part: rank 2: a whole number from 0 to 1'),
        (dict(part=3), 'part 3: a pair is needed'),
        (dict(seed=-1), 'seed -1: a whole number'),
        (dict(threads=0), 'threads 0: a whole number from 1'),
        (dict(limit=12), 'limit 12: a whole number from 1 to 11'),
        (dict(shuffle='a'), "shuffle 'a' must be None, True or False"),
        (dict(max_bad=-1), 'max_bad -1'),
        (dict(report=3), 'report 3 must be a function'),
    ):
        with pytest.raises(ValueError, match=text):
            Loader(photographs, **{**dict(batch_size=4, size=48), **options})
    with Loader(photographs, 4, 48) as loader:
        loader.place = (0, 99)
        with pytest.raises(ValueError, match='place: step 99: a whole number from 0 to 3'):
            list(loader)
    with pytest.raises(ValueError, match='its reader is closed'):
        list(loader.epoch(0))


def _count(loader, queue):
    queue.put([len(images) for images, _ in loader])


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_another_process_reads_on(photographs, method):
    """A fork has none of its parent's threads; a new process opens the files anew."""
    import multiprocessing

    context = multiprocessing.get_context(method)
    with Loader(photographs, 4, 48, LEVEL2) as loader:
        next(loader.epoch(0))
        loader.place = Place(0, 1)
        queue = context.Queue()
        process = context.Process(target=_count, args=(loader, queue))
        process.start()
        assert queue.get(timeout=120) == [4, 3]
        process.join()


def test_a_loader_that_is_dropped_leaves_no_file_open(photographs):
    import gc
    import os

    before = len(os.listdir('/proc/self/fd'))
    for _ in range(10):
        next(Loader(photographs, 4, 48).epoch(0))
    gc.collect()
    assert len(os.listdir('/proc/self/fd')) <= before


def test_skipped_records_are_said(tmp_path):
    path = write(tmp_path / 'a.rec', [png(marked(0)), b'nothing', png(marked(2))])
    with pytest.warns(UserWarning, match=r'a\.rec: record 1 .*: skipped'):
        list(Loader(path, 3, 8, max_bad=1))


def test_labels_that_are_no_classes_come_as_they_are(tmp_path):
    wide = write(tmp_path / 'w.rec', [png(marked(i)) for i in range(3)], [[i, 0.5] for i in range(3)])
    ((_, labels),) = Loader(wide, 4, 8, label_width=2)
    np.testing.assert_array_equal(labels, np.array([[0, 0.5], [1, 0.5], [2, 0.5]], np.float32))
    half = write(tmp_path / 'h.rec', [png(marked(i)) for i in range(2)], [0.5, 1])
    ((_, labels),) = Loader(half, 4, 8)
    assert labels.dtype == np.float32


def test_torch_trains_from_a_rec(photographs):
    torch = pytest.importorskip('torch')
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 5, 4), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(484, 11)
    )
    optimiser, losses = torch.optim.SGD(net.parameters(), 0.05), []
    for _ in range(12):
        for images, labels in Loader(photographs, 4, 48, Augment(mirror=False), ((127.0,) * 3, (60.0,) * 3)):
            loss = torch.nn.functional.cross_entropy(net(torch.from_numpy(images)), torch.from_numpy(labels))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_a_picture_in_the_middle(photographs):
    """Changes of colour alone leave the central crop where it is."""
    for side in (47, 48):
        (plain,) = (images for images, _ in Loader(photographs, 11, side))
        changes = Augment(mirror=False, centre=True)
        (same,) = (images for images, _ in Loader(photographs, 11, side, changes, shuffle=False))
        np.testing.assert_array_equal(plain, same)


def iterators(path, **options):
    import mxnet as mx

    from ibnnet_mx.record_iter import ImageRecordIter

    common = dict(path_imgrec=str(path), data_shape=(3, 48, 48), batch_size=4, **options)
    return ImageRecordIter(**common), mx.io.ImageRecordIter(preprocess_threads=1, verbose=False, **common)


def test_the_iterator_gives_mxnets_validation(photographs):
    ours, theirs = iterators(photographs, mean_r=123.68, std_g=2.0, scale=0.5)
    assert [d.name for d in ours.provide_data + ours.provide_label] == ['data', 'softmax_label']
    assert ours.provide_data[0].shape == theirs.provide_data[0].shape
    assert ours.provide_label[0].shape == theirs.provide_label[0].shape
    for epoch in range(2):
        ours.reset()
        pads = []
        for number, batch in enumerate(ours):
            pads.append(batch.pad)
            if epoch == 0 and number < 2:
                other = theirs.next()
                np.testing.assert_array_equal(batch.label[0].asnumpy(), other.label[0].asnumpy())
                assert np.abs(batch.data[0].asnumpy() - other.data[0].asnumpy()).max() < 1e-4
        assert pads == [0, 0, 1]
    ours.close()


def test_the_iterator_trains_a_module(photographs):
    import mxnet as mx

    from ibnnet_mx.record_iter import ImageRecordIter

    train = ImageRecordIter(
        str(photographs), (3, 48, 48), 4, shuffle=True, rand_crop=True, rand_mirror=True, random_h=10, mean_r=120.0
    )
    net = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(mx.sym.Variable('data'), num_hidden=11), name='softmax')
    module = mx.mod.Module(net, context=mx.cpu())
    module.fit(train, num_epoch=2, eval_metric='acc', optimizer_params={'learning_rate': 1e-6})
    assert sum(1 for _ in train) in (0, 3)
    train.reset()
    first = [batch.data[0].asnumpy() for batch in train]
    train.reset()
    second = [batch.data[0].asnumpy() for batch in train]
    assert not all(np.array_equal(a, b) for a, b in zip(first, second))  # each epoch draws anew
    train.close()


def test_an_ndarray_is_not_written_to_while_it_lives(photographs):
    from ibnnet_mx.record_iter import ImageRecordIter

    iterator = ImageRecordIter(str(photographs), (3, 48, 48), 4, shuffle=True, rand_crop=True, preprocess_threads=2)
    kept = []
    for epoch in range(8):
        iterator.reset()
        for number, batch in enumerate(iterator):
            array = batch.data[0] if epoch == 0 and number == 1 else batch.data[0] * 1  # pending work reads it, too
            kept.append((array, batch.data[0].asnumpy().copy()))
    assert all(np.array_equal(array.asnumpy(), copy) for array, copy in kept)
    iterator.close()


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (dict(pca_noise=0.1), 'pca_noise=0.1 is not supported by this reader, only 0, which does nothing'),
        (dict(random_crop=True), 'ImageRecordIter has no option random_crop'),
        (dict(dtype='float16'), "dtype='float16' is not supported"),
        (dict(data_shape=(1, 48, 48)), r'data_shape=\(1, 48, 48\) must be \(3, side, side\)'),
        (dict(random_resized_crop=True), 'needs min_aspect_ratio and max_aspect_ratio'),
        (dict(resize=64, rand_mirror=True), 'resize=64 together with random changes'),
        (dict(resize=40), 'resize=40 is less than the side'),
        (dict(dtype='uint8', mean_r=1.0), 'holds neither mean'),
        (dict(batch_size=0), 'batch_size 0: a whole number'),
        (dict(data_shape=48), r'data_shape=\(48,\) must be'),
        (dict(num_parts=2, part_index=2), 'part_index 2: a whole number from 0 to 1'),
        (dict(scale=0), 'scale=0 leaves nothing'),
        (dict(pad=-3, rand_crop=True), r'Augment\.pad -3'),
    ],
)
def test_the_iterator_refuses_what_it_does_not_do(photographs, options, text):
    from ibnnet_mx.record_iter import ImageRecordIter

    with pytest.raises(ValueError, match=text):
        ImageRecordIter(**{**dict(path_imgrec=str(photographs), data_shape=(3, 48, 48), batch_size=4), **options})


@pytest.mark.parametrize('options', [dict(pad=4), dict(min_random_scale=0.6, max_aspect_ratio=0.2)])
def test_the_iterator_fills_with_mxnets_value(tmp_path, options):
    from ibnnet_mx.record_iter import ImageRecordIter

    path = write(tmp_path / 'a.rec', [jpeg(np.zeros((50, 50, 3), np.uint8))] * 8)
    most = {}
    for fill in (200, 255):
        iterator = ImageRecordIter(str(path), (3, 48, 48), 8, rand_crop=True, fill_value=fill, **options)
        most[fill] = max(batch.data[0].asnumpy().max() for _ in range(3) for batch in (iterator.reset(), *iterator)[1:])
        iterator.close()
    assert most[255] == 255 if 'pad' in options else most[255] > most[200]
