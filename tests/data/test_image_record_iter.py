"""mxnet's ImageRecordIter with another import: its batches, a Module that trains on it, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from tests.record_sets import jpeg, scene, write


@pytest.fixture(scope='module')
def photographs(tmp_path_factory):
    payloads = [jpeg(scene(i, 70 + i, 90), 3) for i in range(11)]
    return write(tmp_path_factory.mktemp('photographs') / 'a.rec', payloads)


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
    assert sum(1 for _ in train) == 3
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
        (dict(data_shape=(1, 48, 48)), r'data_shape=\(1, 48, 48\) must be \(3, height, width\)'),
        (dict(random_resized_crop=True), 'needs min_aspect_ratio and max_aspect_ratio'),
        (dict(resize=64, rand_mirror=True), 'resize=64 together with random changes'),
        (dict(resize=40), 'resize=40 is less than a side'),
        (dict(dtype='uint8', mean_r=1.0), 'holds neither mean'),
        (dict(batch_size=0), 'batch_size 0: a whole number'),
        (dict(data_shape=48), r'data_shape=\(48,\) must be'),
        (dict(num_parts=2, part_index=2), 'part_index 2: a whole number from 0 to 1'),
        (dict(scale=0), 'scale=0 leaves nothing'),
        (dict(path_imgidx='elsewhere.idx'), "path_imgidx='elsewhere.idx': only the index beside"),
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
