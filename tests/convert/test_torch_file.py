"""PyTorch's files: both formats are read as torch reads them, and what is written torch reads."""

import io
import os
import re
import struct
import time
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from ibnnet_mx.convert import choose, torch_file
from tests.torch_files import (
    Parameter,
    Pickler,
    Raw,
    call,
    every_kind,
    halves,
    legacy_pickles,
    named,
    same,
)


def test_every_kind_and_every_view_is_read(read, encode):
    same(read(encode(every_kind())), every_kind())


def test_a_part_does_not_keep_or_change_the_others(read, encode):
    found = read(encode(every_kind()))
    found['whole'][:] = 0
    assert found['part'][0] == 5


def test_bfloat16_becomes_float32_exactly(read, encode):
    wanted = np.array([[1.5, -0.0078125, np.inf], [3e38, -1e-40, 0]], np.float32)
    wanted = (wanted.view(np.uint32) >> 16 << 16).view(np.float32)
    same(read(encode({'w': halves(wanted), 'b': halves(wanted[0])})), {'w': wanted, 'b': wanted[0]})


def test_parameters_are_their_tensors(read, encode):
    same(read(encode({'w': Parameter(np.ones((2, 3), np.float32))})), {'w': np.ones((2, 3), np.float32)})


@pytest.mark.parametrize('name', [*sorted(choose.WRAPPERS), 'state_dict_ema', 'algorithm'])
def test_what_is_wrapped_is_found(read, encode, name):
    """Beside it: the state of an optimiser, a tensor, numpy's scalar, a device, a dtype."""
    weights = {'module.w': np.ones((2, 3), np.float32), 'n': 3, 'none': None}
    kind = Raw(call('numpy dtype', 'f8', False, True) + Pickler().value((3, '<', None)) + b'b')
    beside = {
        'epoch': 3,
        'arch': 'resnet50',
        'best_prec1': 91.25,
        'best_acc1': np.ones(1, np.float64),
        'best': call('numpy.core.multiarray scalar', kind, call('_codecs encode', 'abc', 'latin1')),
        'optimizer': {
            'state': {0: {'momentum': np.ones(4, np.float32)}},
            'param_groups': [{'lr': 0.1, 'nesterov': True}],
        },
        'scheduler': {'milestones': call('collections Counter', {30: 1, 60: 1})},
        'where': call('torch device', 'cpu'),
        'type': named('torch float32'),
        'size': call('torch Size', [1, 2]),
    }
    same(read(encode({**beside, name: weights})), {'module.w': weights['module.w']})


@pytest.mark.parametrize(
    ('content', 'text'),
    [
        ({'arch': 'resnet50', 'epoch': 3}, "under its names ('arch', 'epoch'): save the weights alone with torch.save"),
        ({}, 'under its names (none)'),
        ([np.ones(1)], 'holds a list, not a state_dict'),
        (np.ones(1), 'holds a Tensor, not a state_dict'),
    ],
)
def test_a_file_without_weights_says_what_it_has(read, encode, content, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        read(encode(content))


def test_protocol_4_is_read(read):
    """Frames, memoised strings and globals off the stack, as torch.save(..., pickle_protocol=4) writes them."""
    _, raw = legacy_pickles({'w': np.ones(2, np.float32)})
    stored = b'(\x8c\x07storage\x94\x8c\x05torch\x8c\x0cFloatStorage\x93\x8c\x010\x8c\x03cpuK\x02NtQ'
    tensor = b'\x8c\x0ctorch._utils\x94\x8c\x12_rebuild_tensor_v2\x94\x93(' + stored + b'K\x00K\x02\x85K\x01\x85\x89NtR'
    content = b'\x80\x04\x95' + struct.pack('<Q', 100) + b'}\x94\x8c\x01w\x94' + tensor + b's.'
    heads = legacy_pickles({'w': np.ones(2, np.float32)})[0]
    same(read(b''.join([*heads[:3], content, heads[4], raw])), {'w': np.ones(2, np.float32)})


# ---------------------------------------------------------------- what is written


def test_what_is_written_is_read(tmp_path):
    torch_file.write_torch(tmp_path / 'a.pth', every_kind())
    same(torch_file.read_torch(tmp_path / 'a.pth', use_torch=False), every_kind())
    torch_file.write_torch(tmp_path / 'a.pth', {'w': np.arange(3, dtype='>f4')})
    same(torch_file.read_torch(tmp_path / 'a.pth', use_torch=False), {'w': np.arange(3, dtype=np.float32)})


def test_the_same_weights_are_the_same_bytes_and_records_lie_as_torch_has_them(tmp_path, monkeypatch):
    torch_file.write_torch(tmp_path / 'a.pth', every_kind())
    monkeypatch.setattr(time, 'time', lambda: 2e9)
    torch_file.write_torch(tmp_path / 'b.pth', every_kind())
    data = (tmp_path / 'a.pth').read_bytes()
    assert data == (tmp_path / 'b.pth').read_bytes()
    assert sorted(os.listdir(tmp_path)) == ['a.pth', 'b.pth']
    with zipfile.ZipFile(tmp_path / 'a.pth') as zipped:
        assert zipped.testzip() is None
        assert zipped.read('archive/version') == b'3\n'
        assert zipped.read('archive/byteorder') == b'little'
        for info in zipped.infolist():
            name, extra = struct.unpack_from('<HH', data, info.header_offset + 26)
            assert (info.header_offset + 30 + name + extra) % 64 == 0
            assert info.compress_type == zipfile.ZIP_STORED


def test_what_torch_has_no_type_for_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'a.pth: w is uint16, and torch has no storage of it: use float32 or int64'):
        torch_file.write_torch(tmp_path / 'a.pth', {'w': np.zeros(1, np.uint16)})
    assert not os.listdir(tmp_path)


# ---------------------------------------------------------------- against torch, and against real files


def test_torch_reads_what_is_written(tmp_path):
    torch = pytest.importorskip('torch')
    torch_file.write_torch(tmp_path / 'a.pth', every_kind())
    for options in ({'weights_only': True}, {'weights_only': False}, {'weights_only': True, 'mmap': True}):
        found = torch.load(tmp_path / 'a.pth', **options)
        assert type(found) is OrderedDict
        same({name: np.array(value.numpy()) for name, value in found.items()}, every_kind())


def made_by_torch(torch, legacy):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2, dtype=torch.bfloat16)
    )
    optimiser = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    net[1](net[0](torch.ones(1, 3, 8, 8))).sum().backward()
    optimiser.step()
    weights = net.state_dict()
    weights['half'] = torch.ones(3).half()
    weights['turned'] = weights['0.weight'].permute(3, 1, 0, 2)
    weights['parameter'] = torch.nn.Parameter(torch.ones(2))
    content = {
        'state_dict': weights,
        'optimizer': optimiser.state_dict(),
        'scheduler': torch.optim.lr_scheduler.MultiStepLR(optimiser, [3, 5]).state_dict(),
        'best_acc1': torch.tensor(3.0),
        'size': weights['0.weight'].shape,
        'device': torch.device('cpu'),
        'dtype': torch.float32,
    }
    file = io.BytesIO()
    return content, file, {'_use_new_zipfile_serialization': not legacy}


@pytest.mark.filterwarnings('ignore:Detected pickle protocol')
@pytest.mark.parametrize('protocol', [2, 3, 4])
@pytest.mark.parametrize('legacy', [False, True])
@pytest.mark.parametrize('scalar', [False, True])
def test_what_torch_writes_is_read_on_both_paths_alike(read, legacy, protocol, scalar):
    """weights_only refuses numpy's scalar and protocol 4; then the restricted reader has the word."""
    torch = pytest.importorskip('torch')
    content, file, options = made_by_torch(torch, legacy)
    if scalar:
        content.update(best=np.float64(91.2), means=np.ones(3))
    torch.save(content, file, pickle_protocol=protocol, **options)
    wanted = {
        name: t.detach().float() if t.dtype == torch.bfloat16 else t.detach()
        for name, t in content['state_dict'].items()
    }
    wanted = {name: value.numpy() for name, value in wanted.items()}
    assert (torch_file._by_torch(file.getvalue()) is None) == (scalar or protocol == 4)
    same(read(file.getvalue(), use_torch=False), wanted)
    same(read(file.getvalue(), use_torch=True), wanted)


def test_both_paths_read_alike_what_the_tests_write(read, encode):
    pytest.importorskip('torch')
    data = encode(every_kind())
    assert torch_file._by_torch(data) is not None
    same(read(data, use_torch=True), read(data, use_torch=False))


def test_a_whole_module_is_refused(read):
    torch = pytest.importorskip('torch')
    file = io.BytesIO()
    torch.save(torch.nn.Linear(2, 2), file)
    with pytest.raises(ValueError, match='^holds torch.nn.modules.linear.Linear, which is not a tensor'):
        read(file.getvalue())


@pytest.mark.parametrize('version', ['1.13.1', '2.5.1+cpu', '2.6.0', '2.13.0+cpu', '3.0', 'odd'])
def test_torch_before_weights_only_was_mended_is_not_used(monkeypatch, version):
    monkeypatch.setattr(torch_file.metadata, 'version', lambda name: version)
    assert torch_file._torch_is_safe() == (version not in ('1.13.1', '2.5.1+cpu', 'odd'))


@pytest.mark.parametrize(('name', 'count'), [('resnet20', 0.27), ('resnet56', 0.85)])
def test_published_weights_are_read(shared, name, count):
    found = torch_file.read_torch(shared / 'data' / 'weights' / f'{name}.th', use_torch=False)
    assert all(key.startswith('module.') for key in found)
    learnt = [array for key, array in found.items() if 'running' not in key and 'num_batches' not in key]
    assert sum(array.size for array in learnt) / 1e6 == pytest.approx(count, abs=0.01)
    assert found['module.conv1.weight'].shape == (16, 3, 3, 3)
    assert all(np.isfinite(array).all() for array in found.values())
    same(torch_file.read_torch(shared / 'data' / 'weights' / f'{name}.th'), found)
