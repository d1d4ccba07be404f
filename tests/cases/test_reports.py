"""Troubles of public reports, tried with tiny inputs; README.md beside this file names the reports."""

from __future__ import annotations

import gc
import json
import math
import os
import re
import threading
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from ibnnet_mx import convert, get_model, logs
from ibnnet_mx.convert import names
from ibnnet_mx.errors import OptionError
from ibnnet_mx.record_iter import ImageRecordIter
from ibnnet_mx.recordio import Loader
from tests.convert.networks import arrays_of, filled, write_checkpoint
from tests.record_sets import marked, png, write
from tests.torch_files import zip_bytes

MODEL = 'cifar_resnet8_ibn_a'


@pytest.fixture(scope='module')
def source():
    """{our name: array} and {key of PyTorch: array} of one network."""
    arrays = arrays_of(filled(MODEL, classes=4))
    keys = names.torch_keys(list(arrays))
    return arrays, {keys[name]: array for name, array in arrays.items()}


def loaded(path, content, **options):
    """Return the arrays that a .pth gives a network."""
    path.write_bytes(zip_bytes(content))
    net = get_model(MODEL, 4)
    convert.load_torch(net, path, **options)
    return arrays_of(net)


def equal(one, other):
    return all(np.array_equal(one[name], other[name]) for name in other)


def iterator(path, **options):
    return ImageRecordIter(path_imgrec=str(path), data_shape=(3, 8, 8), **{'batch_size': 8, **options})


@pytest.fixture
def records(tmp_path):
    """18 records of labels 0, 1, 2, ..."""
    return write(tmp_path / 'a.rec', [png(marked(i)) for i in range(18)])


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', '_orig_mod.module.', 'module._orig_mod.'])
def test_prefixes_of_wrappers_are_no_part_of_the_names(tmp_path, source, prefix):
    arrays, keys = source
    content = {'epoch': 3, 'state_dict': {prefix + key: array for key, array in keys.items()}}
    assert equal(loaded(tmp_path / 'a.pth.tar', content), arrays)


def test_weights_of_half_precision_become_the_float32_of_the_same_value(tmp_path, source):
    arrays, keys = source
    halves = {key: array.astype(np.float16) for key, array in keys.items()}
    expected = {name: array.astype(np.float16).astype(np.float32) for name, array in arrays.items()}
    assert equal(loaded(tmp_path / 'a.pth', halves), expected)


@pytest.mark.parametrize('new_head', [False, True])
def test_blocks_that_the_network_does_not_have_are_named(tmp_path, source, new_head):
    content = {f'backbone.{key}': array for key, array in source[1].items()}
    content['backbone.NL_2.0.g.weight'] = np.ones(3, np.float32)
    with pytest.raises(OptionError, match=r'1 faults: backbone\.NL_2\.0\.g\.weight has no place in the network'):
        loaded(tmp_path / 'a.pth', content, new_head=new_head)


def test_weights_for_grey_pictures_are_refused_by_their_shape(tmp_path, source):
    content = {**source[1], 'conv1.weight': source[1]['conv1.weight'][:, :1]}
    with pytest.raises(OptionError, match=r'conv1.weight has shape \(16, 1, 3, 3\), the network needs \(16, 3, 3, 3\)'):
        loaded(tmp_path / 'a.pth', content)


@pytest.mark.parametrize(('attribute', 'value'), [('eps', '0.001'), ('fix_gamma', 'True')])
def test_norms_of_another_epsilon_or_a_fixed_gamma_compute_as_their_symbol_says(tmp_path, attribute, value):
    net = filled('cifar_resnet8_v2', classes=4)
    arrays = {name: array * 1e-3 if name.endswith('var') else array for name, array in arrays_of(net).items()}
    document = json.loads(net.symbol().tojson())
    for node in document['nodes']:
        if node['op'] == 'BatchNorm':
            node['attrs'][attribute] = value
    symbol = mx.sym.load_json(json.dumps(document))
    pictures = mx.nd.array(np.random.RandomState(0).uniform(0, 255, (2, 3, 32, 32)))
    given = {name: mx.nd.array(array) for name, array in arrays.items()}
    states = {name: given.pop(name) for name in symbol.list_auxiliary_states()}
    expected = symbol.bind(mx.cpu(), {**given, 'data': pictures}, aux_states=states).forward()[0].asnumpy()
    found = convert.load_symbol(write_checkpoint(tmp_path, symbol, arrays))(pictures).asnumpy()
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_a_label_of_another_name_is_cut_with_the_softmax(tmp_path):
    net = filled('cifar_resnet8_v2', classes=4)
    prefix = write_checkpoint(tmp_path, net.symbol(), arrays_of(net))
    mx.sym.SoftmaxOutput(net.symbol(), mx.sym.var('layer21_label'), name='layer21').save(f'{prefix}-symbol.json')
    pictures = mx.nd.array(np.random.RandomState(0).uniform(0, 255, (2, 3, 32, 32)))
    np.testing.assert_array_equal(convert.load_symbol(prefix)(pictures).asnumpy(), net(pictures).asnumpy())


@pytest.mark.parametrize('content', [b'', b'<!DOCTYPE html><html>404</html>', b'version https://git-lfs.github.com/'])
def test_a_download_that_is_no_params_file_is_named(tmp_path, content):
    net = filled('cifar_resnet8_v2', classes=4)
    prefix = write_checkpoint(tmp_path, net.symbol(), arrays_of(net))
    (tmp_path / 'net-0000.params').write_bytes(content)
    with pytest.raises(ValueError, match=r'net-0000\.params is no \.params file of mxnet'):
        convert.load_symbol(prefix)


def test_mxnet_finds_the_label_of_a_record_by_its_id(records):
    reader = mx.recordio.MXIndexedRecordIO(str(records.with_suffix('.idx')), str(records), 'r')
    assert [mx.recordio.unpack(reader.read_idx(key))[0].label for key in reader.keys] == list(range(18))


def test_a_list_of_one_label_is_a_label(tmp_path):
    path = tmp_path / 'a.rec'
    writer = mx.recordio.MXRecordIO(str(path), 'w')
    for number in range(6):
        header = mx.recordio.IRHeader(0, [float(number % 3)], number, 0)
        writer.write(mx.recordio.pack(header, png(marked(number))))
    writer.close()
    ((_, labels),) = Loader(path, 6, 8, augment=None)
    assert labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_pixels_without_a_format_are_named(tmp_path):
    path = write(tmp_path / 'a.rec', [marked(0).tobytes()], [0])
    with pytest.raises(ValueError, match='record 0 .*cannot be decoded .it is no picture of a known format'):
        list(Loader(path, 1, 8, augment=None))


def test_a_batch_of_more_than_all_records_repeats_them_and_says_how_many(records):
    (batch,) = iterator(records, batch_size=64)
    assert (batch.pad, batch.data[0].shape) == (46, (64, 3, 8, 8))
    assert batch.label[0].asnumpy()[:36].tolist() == [*range(18), *range(18)]


def test_every_epoch_has_as_many_batches_after_one_reset(records):
    batches = iterator(records, shuffle=True)
    for _ in range(3):
        seen = [batches.next() for _ in range(3)]
        labels = np.concatenate([each.label[0].asnumpy()[: 8 - each.pad] for each in seen])
        assert sorted(labels) == list(range(18))
        batches.reset()
    batches.next()
    batches.reset()  # within an epoch
    assert len(list(batches)) == 3


def test_a_shuffle_is_of_all_records_and_not_of_pieces(tmp_path):
    path = write(tmp_path / 'a.rec', [png(marked(i)) for i in range(400)], np.arange(400) // 100)
    first = next(iterator(path, batch_size=100, shuffle=True)).label[0].asnumpy()
    assert np.bincount(first.astype(int), minlength=4).min() >= 10


def test_iterators_that_are_dropped_leave_no_threads_and_no_open_files(records):
    """20 dropped iterators leave less than 20 would hold; others of this process may come and go meanwhile."""
    iterator(records).next()
    gc.collect()
    before = threading.active_count(), len(os.listdir('/proc/self/fd'))
    for _ in range(20):
        iterator(records).next()
    gc.collect()
    assert threading.active_count() < before[0] + 10
    assert len(os.listdir('/proc/self/fd')) < before[1] + 10


def test_a_loss_that_is_not_a_number_is_read_as_that(tmp_path):
    path = tmp_path / 'a.log'
    path.write_text('Epoch[0] Validation-accuracy=0.008000\nEpoch[0] Validation-top_k_accuracy_5=nan\n')
    curves = logs.read_log(path).validation
    assert curves['accuracy'] == {0: 0.008}
    assert math.isnan(curves['top5'][0])


def test_the_page_of_reports_names_tests_that_there_are():
    folder = Path(__file__).parent
    rows = [line for line in (folder / 'README.md').read_text().splitlines() if re.match(r'\| \d+b? \|', line)]
    assert len(rows) == 66 + 51
    cells = ' '.join(row.rstrip(' |').rpartition('|')[2] for row in rows)
    files = set(re.findall(r'(?:\w+/)?test_\w+\.py', cells))
    assert [name for name in files if not (folder.parent / name).is_file()] == []
    sources = ''.join(path.read_text() for path in folder.parent.glob('**/test_*.py'))
    wanted = set(re.findall(r'\btest_\w+\b(?!\.py)', cells))
    assert [name for name in wanted if f'def {name}(' not in sources] == []
