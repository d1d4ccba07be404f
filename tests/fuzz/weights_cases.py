"""Cases of weights, checkpoints, symbols and ONNX files: each damages one file, runs commands on it and gives one of
place.OUTCOMES. Finding: a command did what it must not, or believed what is wrong."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from io import BytesIO

import numpy as np

from tests.fuzz import damage, plain
from tests.fuzz.mutate import pick
from tests.fuzz.place import EQUAL, REFUSED, UNKNOWN, WRITTEN, Finding
from tests.fuzz.valid import MODEL, TRAIN


def _held(name, key, arrays):
    """The array that is called by its name here or by PyTorch's, which may have a prefix."""
    plain_names = {held.split(':')[-1].replace('_moving_', '_running_'): held for held in arrays}
    for known in (name, key):
        if known in plain_names:
            return np.asarray(arrays[plain_names[known]])
    found = [held for held in arrays if held.endswith(f'.{key}')]
    if len(found) != 1:
        raise Finding(f'{name} is loaded, and the file has {found or "no such name"}')
    return np.asarray(arrays[found[0]])


def _loaded(place, path, changed):
    """EQUAL or WRITTEN for weights that convert made of `changed`; Finding where they are others."""
    out = plain.safetensors((place.folder / path).read_bytes())
    try:
        held = plain.weights(changed)
    except Exception as error:  # of any kind: it is no such file
        raise Finding(f'is loaded, and a plain reader says {error!r}') from None
    keys, whole = place.whole.keys, place.whole.arrays
    if len(out) != sum(not name.endswith('num_batches_tracked') for name in held):
        raise Finding(f'loads {len(out)} arrays of {len(held)}')
    same = set(out) == set(whole)
    for name, array in out.items():
        theirs = _held(name, keys.get(name, name), held)
        if theirs.shape != array.shape or not np.array_equal(theirs.astype(np.float32), array, equal_nan=True):
            raise Finding(f'{name} is loaded as {array.shape}, and is another in the file, {theirs.shape}')
        same = same and np.array_equal(array, whole[name])
    return EQUAL if same else WRITTEN


def weights(random, place, kind, changed):
    whole = place.whole
    path = place.write(f'case.{"pth" if kind == "legacy" else kind}', changed)
    model = ('--model', MODEL) if random.randint(2) else ()
    ran = place.run('convert', path, 'out.safetensors', '--own-names', *model)
    if random.randint(8) == 0:
        place.run('train', *TRAIN, '--data-dir', whole.data, '--init', path, '--dry-run', '--num-classes', 4)
    if random.randint(4) == 0:
        other = place.run('predict', '--img', whole.pictures['png'], '--weights', path, *model)
        if bool(other.code == 2) != bool(ran.code == 2):
            raise Finding(f'predict ends with {other.code}, convert with {ran.code}: {other.err} {ran.err}')
    if ran.code:
        return REFUSED
    return _loaded(place, 'out.safetensors', changed)


def params(random, place):
    """A .params without anything that says what is in it."""
    from ibnnet_mx.files import params_file

    whole = place.whole
    if random.randint(3) == 0:
        return weights(random, place, 'params', params_file.encode_params(damage.arrays(random, whole.arrays)))
    before = whole.read(whole.weights['params'])
    return weights(random, place, 'params', damage.damaged(random, before, whole.other(random)))


def _torch_arrays(random, whole):
    return {whole.keys.get(name, name): array for name, array in damage.arrays(random, whole.arrays).items()}


def pth(random, place):
    """A zip file of PyTorch: its bytes, its pickle with the sum put right, or its arrays."""
    from tests.torch_files import zip_bytes

    whole, what = place.whole, random.randint(3)
    before = whole.read(whole.weights['pth'])
    if what == 0:
        return weights(random, place, 'pth', zip_bytes({'state_dict': _torch_arrays(random, whole)}))
    if what == 1:
        return weights(random, place, 'pth', damage.damaged(random, before, whole.other(random)))
    file = BytesIO()
    with zipfile.ZipFile(BytesIO(before)) as old, zipfile.ZipFile(file, 'w') as new:
        chosen = pick(random, ('archive/data.pkl', *old.namelist()))
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, damage.damaged(random, data, whole.other(random)) if name == chosen else data)
    return weights(random, place, 'pth', file.getvalue())


def legacy(random, place):
    """A file of torch before 1.6."""
    from tests.torch_files import legacy_bytes

    whole = place.whole
    if random.randint(3) == 0:
        return weights(random, place, 'legacy', legacy_bytes({'state_dict': _torch_arrays(random, whole)}))
    before = whole.read(whole.weights['legacy'])
    return weights(random, place, 'legacy', damage.damaged(random, before, whole.other(random)))


def safetensors(random, place):
    """Its bytes, its header as JSON, or its arrays."""
    from safetensors.numpy import save

    whole, what = place.whole, random.randint(3)
    before = whole.read(whole.weights['safetensors'])
    if what == 0:
        held = {name: np.array(array) for name, array in _torch_arrays(random, whole).items()}
        changed = save(held)
    elif what == 1:
        size = int.from_bytes(before[:8], 'little')
        head = damage.json_bytes(random, before[8 : 8 + size])
        changed = len(head).to_bytes(8, 'little') + head + before[8 + size :]
    else:
        changed = damage.damaged(random, before, whole.other(random))
    return weights(random, place, 'safetensors', changed)


def copied(place, epoch=1):
    """Copies of a checkpoint's files; the prefix."""
    for kind in (f'{epoch:04d}.params', f'{epoch:04d}.states', f'{epoch:04d}.json', 'symbol.json'):
        shutil.copy(f'{place.whole.prefix}-{kind}', place.folder / f'net-{kind}')
    return str(place.folder / 'net')


def uses(random, place, prefix):
    """Words of a command that reads a checkpoint, for the whole one and for another."""
    picture, data = place.whole.pictures['png'], str(place.whole.data / 'cifar10_val.rec')
    retrain = ('--retrain', '--model-load-epoch', 1, '--epochs', 3, '--dry-run')
    ways = (
        lambda of: ('predict', '--img', picture, '--json', '--top', 4, '--prefix', of, '--epoch', 1),
        lambda of: ('evaluate', data, '--json', '--threads', 1, '--prefix', of, '--epoch', 1),
        lambda of: ('convert', f'{of}-0001.params', 'out.pth'),
        lambda of: ('train', '--data-dir', place.whole.data, '--model-prefix', of, *retrain),
        lambda of: ('train', *TRAIN, '--init', f'{of}-0001.params', '--num-classes', 4, '--dry-run'),
    )
    return pick(random, ways)


def same_as_whole(place, ran, way):
    """Whether a command said of the case what it says of the whole checkpoint; convert: whether it wrote the same."""
    usual = place.whole.usual(*way(place.whole.prefix))
    if ran.words[0] == 'convert':
        return (place.folder / 'out.pth').read_bytes() == place.whole.read(place.whole.weights['pth'])
    return ran.out.replace(str(place.folder / 'net'), '') == usual.replace(place.whole.prefix, '')


def checkpoint(random, place):
    """A .params or .states that is not the one whose sum the .json has: whoever reads it refuses it."""
    kind = pick(random, ('params', 'states'))
    prefix, way = copied(place), uses(random, place, place.whole.prefix)
    before = place.whole.read(f'{place.whole.prefix}-0001.{kind}')
    place.write(f'net-0001.{kind}', damage.damaged(random, before, place.whole.other(random)))
    ran = place.run(*way(prefix))
    if ran.code:
        return REFUSED
    if kind == 'params' or '--retrain' in ran.words or not same_as_whole(place, ran, way):
        raise Finding(f'a damaged .{kind} is used')
    return EQUAL


def _sealed(place, kind, data):
    """A file of the copied checkpoint, and its right sum in the .json."""
    place.write(f'net-0001.{kind}', data)
    facts = place.whole.facts()
    facts['files'][f'net-0001.{kind}'] = {'bytes': len(data), 'sha256': hashlib.sha256(data).hexdigest()}
    place.write('net-0001.json', json.dumps(facts).encode())


def sealed(random, place):
    """Wrong arrays or other bytes under a right sum: only what fits the network is taken, and as it is written."""
    from ibnnet_mx.files import params_file

    kind, whole = pick(random, ('params', 'states')), place.whole
    prefix, before = copied(place), whole.read(f'{whole.prefix}-0001.{kind}')
    if random.randint(3):
        changed = params_file.encode_params(damage.arrays(random, plain.params(before)))
    else:
        changed = damage.damaged(random, before, whole.other(random))
    _sealed(place, kind, changed)
    if kind == 'params' and random.randint(3):
        ran = place.run('convert', f'{prefix}-0001.params', 'out.safetensors', '--own-names')
        return REFUSED if ran.code else _loaded(place, 'out.safetensors', changed)
    words = ('--data-dir', whole.data, '--model-prefix', prefix, '--log-file', 'log', '--threads', 1)
    ran = place.run('train', *words, '--retrain', '--epochs', 2)
    if ran.code:
        return REFUSED
    held, usual = plain.params(changed), plain.params(before)
    strange = [name for name in held if name not in usual or held[name].shape != usual[name].shape]
    if strange or (kind == 'params' and len(held) != len(usual)):
        raise Finding(f'a run goes on from a .{kind} with other names or shapes')
    return WRITTEN


def facts(random, place):
    """The .json of a checkpoint, which has no sum of its own: what is used must be of the kind that it should be."""
    prefix, way = copied(place), uses(random, place, place.whole.prefix)
    whole = place.whole
    changed = damage.json_bytes(random, whole.read(f'{whole.prefix}-0001.json'), whole.other(random))
    place.write('net-0001.json', changed)
    ran = place.run(*way(prefix))
    if ran.code:
        return REFUSED
    if same_as_whole(place, ran, way):
        return EQUAL
    try:
        found = json.loads(changed)
        sums = {name.rpartition('.')[2]: entry for name, entry in found['files'].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Finding(f'is used, and is no JSON of a checkpoint: {error!r}') from None
    if sums['params'] != whole.facts()['files']['net-0001.params']:
        raise Finding('the sum of the weights is another, and they are used')
    if ran.words[0] in ('predict', 'evaluate') and 'NaN' in ran.out:
        raise Finding('gives NaN')
    return UNKNOWN


def onnx(random, place):
    """An .onnx file, which has no sums: what onnxruntime takes is used as it is."""
    whole = place.whole
    before = whole.read(whole.weights['onnx'])
    path = place.write('case.onnx', damage.damaged(random, before, whole.other(random)))
    words = ('predict', '--img', whole.pictures['png'], '--json', '--top', 4, '--onnx')
    ran = place.run(*words, path)
    if ran.code == 2:
        return REFUSED
    usual = json.loads(whole.usual(*words, whole.weights['onnx']))['top']
    found = json.loads(ran.out)['top']
    if ran.code == 1 and 'NaN' not in ran.err:
        raise Finding(f'ends with 1 and says {ran.err}')
    return REFUSED if ran.code else EQUAL if found == usual else UNKNOWN
