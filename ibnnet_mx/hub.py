"""Networks with weights: get_model() builds one by models.create() and puts published or given weights into it.

Published weights are downloaded, checked and converted once, then read from a folder of this machine: root, else $MXNET_HOME/models, else ~/.mxnet/models, where GluonCV keeps its own. It gets
NAME-HASH.params (ibnnet_mx.files.params_file, our names) and, last, NAME-HASH.json with size, sum and source.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
from pathlib import Path

from ibnnet_mx import convert, models
from ibnnet_mx.convert import identify
from ibnnet_mx.files import atomic, download, params_file
from ibnnet_mx.models import published

REPO_VARIABLE = 'IBNNET_MX_REPO'  # in the place of published.RELEASE: a URL or a folder with files of the same names


def get_model(name, classes=None, depth=None, features=None, pretrained=False, root=None, **options):
    """Return a network: (N, 3, H, W) pixels as models.find(name).pixels says -> logits (N, classes).

    name, classes, depth, features, options: as in models.create(). The names of the original's hub constructors work.
    pretrained: True loads the weights that models/published.py lists, a path or URL those of a .pth; see load().
    root: the folder for downloaded weights, ~/.mxnet/models if it is not given.
    The network is uninitialised unless pretrained is given; net.initialize() draws the weights as the original does.
    Raises ValueError for an unknown name, depth, option or value, and for weights that cannot be had.
    """
    model = models.find(name, depth)
    if pretrained is True and not features and classes not in (None, model.classes):
        file = published.file_name(model.name)
        raise ValueError(
            f'the published {model.name} has {model.classes} classes, not {classes}: build it with classes={classes} '
            f'and without pretrained, then convert.load(net, {file!r}, new_head=True), or train_resnet.py --pretrained'
        )
    if pretrained is True:
        published.file_name(model.name)  # raises before anything is built or downloaded
    net = models.create(name, classes, depth, features, **options)
    if pretrained:
        load(net, model.name, pretrained, root)
    return net


def load(net, model, source=True, root=None, new_head=False):
    """Weights into net; what convert.load() returns.

    model: full name. source: True for what is published, else the path or URL of a .pth; a name that ends in
    -d9d0bb7b.pth, as published ones do, is held against the file's SHA-256. Files of this machine are read and not
    kept. root: where the others are. new_head: the classifier stays as it is drawn.
    ValueError names the URL or file, the reason and the way out; net is then untouched.
    """
    if source is True:
        file = published.file_name(model)
        url = os.path.expanduser(os.environ.get(REPO_VARIABLE) or published.RELEASE).rstrip('/') + '/' + file
        way_out = (
            f'without a network, put {file} into a folder and set {REPO_VARIABLE} to it, or pass its path: '
            f"pretrained='/path/{file}' in Python, --weights or --init /path/{file} on the command line"
        )
        return convert.load_mxnet(net, _kept(model, url, way_out, root), new_head)
    url = os.path.expanduser(os.fspath(source))
    if url.startswith(('http://', 'https://')):
        way_out = "without a network, pass the path of the file: pretrained='/path/FILE.pth'"
        return convert.load_mxnet(net, _kept(model, url, way_out, root), new_head)
    way_out = 'pretrained takes the path or URL of a .pth; if what its name ends in is no sum, rename it'
    path = download.fetch(url, '', _check(url), way_out)  # which writes nothing here
    return convert.load(net, path, new_head)


def folder(root=None):
    """Where converted weights are kept."""
    home = os.environ.get('MXNET_HOME') or os.path.join('~', '.mxnet')
    return Path(root or os.path.join(home, 'models')).expanduser()


def _check(url):
    """The sum that the name of a file promises; None where it promises none."""
    found = re.search(r'-([0-9a-f]{8})\.pth$', url)
    return download.Check('sha256', found[1]) if found else None


def _kept(model, url, way_out, root):
    """{our name: array} of the .pth at url, from the folder where they were converted before."""
    root, check = folder(root), _check(url)
    key = check.digits if check else hashlib.sha256(url.encode()).hexdigest()[:8]
    path = root / f'{model}-{key}.params'
    if _fault(path) is None:  # without the lock: the folder may be one that others write
        return params_file.read(path)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with download.locked(path):
            fault = _fault(path)  # another process may have written it meanwhile
            if fault:
                print(f'{path} {fault}: it is fetched anew', file=sys.stderr)
            if fault is not None:
                _convert(model, url, path, way_out)
    except OSError as error:
        raise ValueError(
            f'{root} cannot be written ({error.strerror}): set MXNET_HOME to another folder, or pass root=FOLDER'
        ) from None
    return params_file.read(path)


def _fault(path):
    """What is wrong with converted weights: '' where there are none, None where they are whole."""
    try:
        facts = json.loads(path.with_suffix('.json').read_text())
        whole = path.stat().st_size == facts['bytes'] and download.digest(path, 'sha256') == facts['sha256']
    except FileNotFoundError:
        return ''
    except (OSError, ValueError, KeyError, TypeError):
        whole = False
    return None if whole else 'is damaged'


def _convert(model, url, path, way_out):
    """The .pth at url -> path and the .json beside it; what was downloaded is deleted."""
    loaded = path.with_suffix('.pth.tmp')
    file = download.fetch(url, str(loaded), _check(url), way_out)
    try:
        arrays = convert.read(file)
        net = models.create(model, **identify.options(arrays))
        convert.load_torch(net, arrays)
    except ValueError as error:
        raise ValueError(f'{url}: {error}') from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            loaded.unlink()
    data = params_file.encode({name: param.data().asnumpy() for name, param in net.collect_params().items()})
    facts = dict(model=model, source=url, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    atomic.write_file(path, data)
    atomic.write_file(path.with_suffix('.json'), (json.dumps(facts, indent=1) + '\n').encode())
