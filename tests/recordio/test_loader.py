"""The reader for others: numpy batches for any framework, from any process, and arguments that are checked."""

from __future__ import annotations

import numpy as np
import pytest

from ibnnet_mx.recipe import AUGMENT
from ibnnet_mx.recordio import Augment, Loader, RecordError
from ibnnet_mx.recordio.reading.loader import Place
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
    numbers = [seen(Loader(str(shards / 's_*.rec'), 6, 8, shuffle=True, share=(rank, 3))) for rank in range(3)]
    assert sorted(sum(numbers, [])) == list(range(COUNT))


def test_arguments_are_checked(photographs):
    for options, text in (
        (dict(dtype='float16'), "dtype 'float16' must be"),
        (dict(dtype='uint8', normalise=((0,) * 3, (1,) * 3)), 'uint8 cannot hold'),
        (dict(batchsize=3), 'no such option: batchsize'),
        (dict(label_width=2), r'label_width=2: .*a\.rec holds 1 labels a record'),
        (dict(resize=20), 'resize 20: a whole number from 48 to'),
        (dict(resize=50, augment=LEVEL2), 'resize 50 is for augment=None'),
        (dict(batch_size=0), 'batch_size 0: a whole number from 1'),
        (dict(batch_size=2.5), r'batch_size 2\.5: a whole number'),
        (dict(batch_size=True), 'batch_size True: a whole number'),
        (dict(size=(48, 0)), r"size='48x0' must be a side, or height x width, of 1 to 16000 pixels"),
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
        (dict(share=(2, 2)), 'share: rank 2: a whole number from 0 to 1'),
        (dict(share=3), 'share 3: a pair is needed'),
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


def test_a_step_that_is_left_out_still_counts(tmp_path):
    """Else a run that goes on would see a batch twice."""
    path = write(tmp_path / 'a.rec', [png(marked(i)) if i not in (2, 3) else b'nothing' for i in range(6)])
    plain = dict(augment=Augment(mirror=False), shuffle=False, max_bad=2, report=str)
    with Loader(path, 2, 8, **plain) as loader:
        found = [(labels.tolist(), tuple(loader.place)) for _, labels in loader]
    assert found == [([0, 1], (0, 1)), ([4, 5], (0, 3))]
    with Loader(path, 2, 8, **plain) as loader:
        loader.place = (0, 1)
        assert [labels.tolist() for _, labels in loader] == [[4, 5]]


@pytest.mark.parametrize('options', [{}, {'resize': 60}])
def test_files_of_a_folder_are_brought_to_size_as_by_evaluate(tmp_path, options):
    data = pytest.importorskip('ibnnet_mx.data')
    for number, name in enumerate(['ant', 'bee']):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'a.png').write_bytes(png(scene(number, 90, 150)))
    source = data.Input(48, (0.0,) * 3, (1.0,) * 3)
    evaluation = data.evaluation_iter(tmp_path, source, 2, **options)
    ((wanted, labels, _),) = evaluation.epoch()
    ((images, own),) = Loader(tmp_path, 2, 48, **options)
    np.testing.assert_array_equal(images, wanted.asnumpy())
    np.testing.assert_array_equal(own, labels)
    evaluation.close()


def test_names_of_classes_come_from_the_folder_or_from_beside_the_records(tmp_path):
    for name in ('ant', 'bee'):
        (tmp_path / 'pictures' / name).mkdir(parents=True)
        (tmp_path / 'pictures' / name / 'a.png').write_bytes(png(marked(0)))
    with Loader(tmp_path / 'pictures', 2, 8) as loader:
        assert loader.classes == ['ant', 'bee']
    paths = [write(tmp_path / f'{part}.rec', [png(marked(0))], [part]) for part in (0, 1)]
    assert Loader(paths[0], 2, 8).classes == []
    (tmp_path / 'synset.txt').write_text('cat\ndog\n')
    for path in (paths[0], paths, str(tmp_path / '*.rec')):
        with Loader(path, 2, 8) as loader:
            assert loader.classes == ['cat', 'dog']


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
