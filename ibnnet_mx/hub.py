"""Networks with weights: get_model() builds one by models.create() and puts published or given weights into it.

Published weights are downloaded, checked and converted once, then read from a folder of this machine: root, else
$MXNET_HOME/models, else ~/.mxnet/models, where GluonCV keeps its own. The folder gets NAME-HASH.params (our names) and,
written last, NAME-HASH.json with size, sum and source.
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
from ibnnet_mx.errors import OptionError, markup
from ibnnet_mx.files import atomic, download, params_file
from ibnnet_mx.files.state import State
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
        raise OptionError(
            None,
            None,
            f'the published {model.name} has {model.classes} classes, not {classes}: build it with classes={classes} '
            f'and without pretrained, then convert.load(net, {file!r}, new_head=True), or train_resnet.py '
            'with `pretrained`',
        )
    if pretrained is True:
        published.file_name(model.name)  # raises before anything is built or downloaded
    net = models.create(name, classes, depth, features, **options)
    if pretrained:
        load(net, model.name, pretrained, root)
    return net


def load(net, model, source=True, root=None, new_head=False):
    """Put published or given weights into net, and return convert.load()'s lines about what was not copied.

    model: full name. source: True for published weights, else the path or URL of a .pth. A name that ends in
    -d9d0bb7b.pth, as published ones do, is held against the file's SHA-256. Files of this machine are read and not
    kept. root: the folder for the others. new_head: leave the classifier as it is drawn.
    Raises ValueError, which names the URL or file, the reason and the way out; net is then untouched.
    """
    if source is True:
        file = published.file_name(model)
        url = os.path.expanduser(os.environ.get(REPO_VARIABLE) or published.RELEASE).rstrip('/') + '/' + file
        way_out = (
            f'without a network, put {file} into a folder and set {REPO_VARIABLE} to it, or pass its path: '
            f"pretrained='/path/{file}' in Python, `weights` or `init` /path/{file} on the command line"
        )
        return convert.load_mxnet(net, _kept(model, url, way_out, root), new_head)
    url = os.path.expanduser(os.fspath(source))
    if url.startswith(('http://', 'https://')):
        way_out = "without a network, pass the path of the file: pretrained='/path/FILE.pth'"
        return convert.load_mxnet(net, _kept(model, url, way_out, root), new_head)
    way_out = 'pretrained takes the path or URL of a .pth; if what its name ends in is no sum, rename it'
    path = download.fetch(url, '', _promised_sum(url), way_out)  # which writes nothing here
    return convert.load(net, path, new_head)


def folder(root=None):
    """Return the folder in which converted weights are kept."""
    home = os.environ.get('MXNET_HOME') or os.path.join('~', '.mxnet')
    return Path(root or os.path.join(home, 'models')).expanduser()


def _promised_sum(url):
    """Return the sum that the name of a file promises; None if it promises none."""
    digits = re.search(r'-([0-9a-f]{8})\.pth$', url)
    return download.Check('sha256', digits[1]) if digits else None


def _kept(model, url, way_out, root):
    """Return {our name: array} of the .pth at url, from the folder where they were converted before."""
    root, check = folder(root), _promised_sum(url)
    key = check.digits if check else hashlib.sha256(url.encode()).hexdigest()[:8]
    path = root / f'{model}-{key}.params'
    state, content = _read_kept(path)
    if state is State.WHOLE:  # without the lock: the folder may be one that others write
        return params_file.parse(path, content)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with download.locked(path):
            state, content = _read_kept(path)  # another process may have written it meanwhile
            if state is State.DAMAGED:
                print(f'{path} is damaged: it is fetched anew', file=sys.stderr)
            if state is not State.WHOLE:
                content = _convert(model, url, path, way_out)
    except OSError as error:
        raise ValueError(
            f'{root} cannot be written ({error.strerror}): set MXNET_HOME to another folder, or pass root=FOLDER'
        ) from None
    return params_file.parse(path, content)


def _read_kept(path):
    """Return the state of converted weights, and their bytes if they are whole."""
    try:
        description = json.loads(path.with_suffix('.json').read_text())
        content = path.read_bytes()
        size, digest = description['bytes'], description['sha256']
    except FileNotFoundError:
        return State.MISSING, None
    except (OSError, ValueError, KeyError, TypeError):
        return State.DAMAGED, None
    whole = len(content) == size and hashlib.sha256(content).hexdigest() == digest
    return (State.WHOLE, content) if whole else (State.DAMAGED, None)


def _convert(model, url, path, way_out):
    """Write the .pth at url, converted, to path and the .json beside it, and return the bytes of path.

    The file that was downloaded is deleted.
    """
    loaded = path.with_suffix('.pth.tmp')
    file = download.fetch(url, str(loaded), _promised_sum(url), way_out)
    try:
        arrays = convert.read_weights(file)
        net = models.create(model, **identify.options(arrays))
        convert.load_torch(net, arrays)
    except ValueError as error:
        raise OptionError(None, None, f'{url}: {markup(error)}') from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            loaded.unlink()
    content = params_file.encode_params({name: param.data().asnumpy() for name, param in net.collect_params().items()})
    description = dict(model=model, source=url, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    atomic.write_file(path, content)
    atomic.write_file(path.with_suffix('.json'), (json.dumps(description, indent=1) + '\n').encode())
    return content
