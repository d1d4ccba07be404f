"""Build networks with weights: get_model() calls models.create() and puts published or given weights in.

Published weights are downloaded, checked and converted once, and then read from a local folder: root, else
$MXNET_HOME/models, else ~/.mxnet/models, which GluonCV uses too. The folder gets NAME-HASH.params (with our names) and,
written last, NAME-HASH.json with size, checksum and source. Weights of small networks that were trained here are part
of the package: hub_weights/NAME.params, and NAME.json, their card.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
import urllib.parse
from pathlib import Path

from ibnnet_mx import convert, models
from ibnnet_mx.convert import identify
from ibnnet_mx.errors import OptionError, markup
from ibnnet_mx.files import atomic, download, locks, params_file
from ibnnet_mx.files.state import State
from ibnnet_mx.models import published

OWN_FOLDER = Path(__file__).resolve().parent / 'hub_weights'
REPO_VARIABLE = 'IBNNET_MX_REPO'  # a URL or a folder that replaces published.RELEASE; the files have the same names


def get_model(name, classes=None, depth=None, features=None, pretrained=False, root=None, **options):
    """Return a network: (N, 3, H, W) pixels as models.find(name).pixels says -> logits (N, classes).

    name, classes, depth, features, options: as in models.create(). The names of the original's hub constructors work.
    pretrained: True loads the weights that models/published.py lists; a path or URL loads a .pth; see load().
    root: the folder for downloaded weights; if not given, ~/.mxnet/models.
    Without pretrained the network is uninitialised; net.initialize() draws the weights as the original does.
    Raises ValueError for an unknown name, depth, option or value, and for weights that cannot be loaded.
    """
    model = models.find(name, depth)
    if pretrained is True and not features and classes not in (None, model.classes):
        _check_name(model.name)
        raise OptionError(
            None,
            None,
            f'the published {model.name} has {model.classes} classes, not {classes}: build it with classes={classes} '
            f'and without pretrained, then ibnnet_mx.hub.load(net, {model.name!r}, new_head=True), or ibnnet train '
            'with `pretrained`',
        )
    if pretrained is True:
        _check_name(model.name)
    net = models.create(name, classes, depth, features, **options)
    if pretrained:
        load(net, model.name, pretrained, root)
    return net


def load(net, model, source=True, root=None, new_head=False):
    """Put published or given weights into net, and return convert.load()'s lines about what was not copied.

    model: full name. source: True for published weights, else the path or URL of a .pth. If its name ends like
    -d9d0bb7b.pth, these digits must begin the file's SHA-256. root: the folder that keeps downloads; local files are
    not copied. new_head: the classifier keeps its initial values.
    Raises ValueError, which names the URL or file, the reason and what to do; net is then untouched.
    """
    if source is True and model in published.OWN:
        return convert.load_mxnet(net, _own(model), new_head)
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
    way_out = 'pretrained takes the path or URL of a .pth; if its name ends in 8 digits that are no checksum, rename it'
    path = download.fetch(url, '', _promised_sum(url), way_out)  # writes nothing for a local file
    return convert.load(net, path, new_head)


def card(model):
    """Return the card of weights that come along, a dict: data, recipe, command, seed, accuracy and the like."""
    return json.loads((OWN_FOLDER / f'{model}.json').read_text(encoding='utf-8'))


def class_names(model):
    """Return the class names of published weights, as far as they are known: those of weights that come along."""
    return card(model)['class_names'] if model in published.OWN else []


def _own(model):
    """Return {our name: array} of weights that come along. Raises ValueError if their file is damaged."""
    path = OWN_FOLDER / f'{model}.params'
    try:
        content, digest = path.read_bytes(), card(model)['sha256']
    except OSError as error:
        raise ValueError(f'{error.filename} cannot be read ({error.strerror}): install ibnnet_mx again') from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f'{path} is damaged: install ibnnet_mx again')
    return params_file.parse(path, content)


def _check_name(model):
    """Raise ValueError if there are no weights of a model, before anything is built or downloaded."""
    if model not in published.OWN:
        published.file_name(model)


def folder(root=None):
    """Return the folder that keeps converted weights."""
    home = os.environ.get('MXNET_HOME') or os.path.join('~', '.mxnet')
    return Path(root or os.path.join(home, 'models')).expanduser()


def _promised_sum(url):
    """Return the checksum in the name of a file; None if there is none. A URL may have a query behind the name."""
    name = urllib.parse.unquote(urllib.parse.urlsplit(url).path) if '://' in url else url
    digits = re.search(r'-([0-9a-f]{8})\.pth$', name.rstrip('/'), re.IGNORECASE)
    return download.Check('sha256', digits[1].lower()) if digits else None


def _kept(model, url, way_out, root):
    """Return {our name: array} of the .pth at url. It is converted once, and read from the folder afterwards."""
    root, check = folder(root), _promised_sum(url)
    key = check.digits if check else hashlib.sha256(url.encode()).hexdigest()[:8]
    path = root / f'{model}-{key}.params'
    state, content = _read_kept(path)
    if state is State.WHOLE:  # without the lock, because this user may not be allowed to write in the folder
        return params_file.parse(path, content)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with locks.waiting(path):
            state, content = _read_kept(path)  # another process may have written it meanwhile
            if state is State.DAMAGED:
                print(f'{path} is damaged: it is downloaded again', file=sys.stderr)
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
    """Convert the .pth at url, write path and the .json beside it, and return the bytes of path.

    The downloaded file is deleted.
    """
    downloaded = path.with_suffix('.pth.tmp')
    file = download.fetch(url, str(downloaded), _promised_sum(url), way_out)
    try:
        arrays = convert.read_weights(file)
        net = models.create(model, **identify.options(arrays))
        convert.load_torch(net, arrays)
    except ValueError as error:
        raise OptionError(None, None, f'{download.shown(url)}: {markup(error)}') from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            downloaded.unlink()
    content = params_file.encode_params({name: param.data().asnumpy() for name, param in net.collect_params().items()})
    origin, digest = download.shown(url), hashlib.sha256(content).hexdigest()
    description = dict(model=model, source=origin, bytes=len(content), sha256=digest)
    atomic.write_file(path, content)
    atomic.write_file(path.with_suffix('.json'), (json.dumps(description, indent=1) + '\n').encode())
    return content
