"""The arrows of the design, read from the source: who may import whom."""

import ast
from pathlib import Path

import pytest

from tests import c_sources

ROOT = Path(__file__).resolve().parents[1] / 'ibnnet_mx'
MAY = {  # module: modules of this package that it may import
    '__init__': {'_env', 'registry'},
    '_env': set(),
    'recipe': set(),
    'registry': {'registry'},
    'norm': {'norm'},
    'blocks': {'norm'},
    'passes': {'passes'},
    'compiled': {'norm'},
    'operators': {'operators', '_env'},
    'nets': {'norm', 'blocks', 'compiled', 'operators', 'passes'},
    'download': set(),
    'recordio': {'recordio', 'download'},
    'data': {'recordio', 'recipe'},
    'record_iter': {'recordio'},
    'distributed': {'distributed', 'operators'},
    'logs': {'logs'},
    'agreement': {'norm'},
    'launch': {'launch', '_env'},
    'ndfile': set(),
    'sidecar': set(),
    'checkpoint': {'ndfile', 'sidecar'},
    'memonger': {'memonger', 'norm'},
    'profiling': set(),
    'scoring': set(),
    'diagnosis': {'scoring'},
    'finetune': {'norm'},
    'shift': {'shift'},
    'doctor': {'_env', 'distributed', 'recordio'},
    'optim': {'operators'},
    'runstate': {'norm'},
    'trainer': {'agreement', 'finetune', 'memonger', 'norm', 'optim', 'profiling', 'recipe', 'runstate', 'scoring'},
    'convert': {'convert', 'registry', 'checkpoint', 'ndfile', 'norm', '_env'},
    'gradcam': {'convert'},
    'weights': {'registry', 'convert', 'download', 'ndfile'},
}
LATE = {'registry': {'nets', 'weights'}}  # inside of functions only: get_model() is what the latter two are for
NO_MXNET = {
    '_env',
    'launch',
    'recipe',
    'registry',
    'recordio',
    'download',
    'logs',
    'ndfile',
    'sidecar',
    'scoring',
    'diagnosis',
    'doctor',
    'shift',
}
FILES = sorted(ROOT.rglob('*.py'))
CPP = sorted(
    path
    for folder in (ROOT, Path(__file__).resolve().parent)
    for path in folder.rglob('*')
    if path.suffix in ('.c', '.cc', '.cpp', '.h', '.hpp')
)


def room(path):
    """The first level under the package: 'recordio' for all of its files."""
    return path.relative_to(ROOT).parts[0].replace('.py', '')


def imports(path, late=True):
    """Full names of all modules that a file imports, late imports included."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if late else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f'{path}: relative import'
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows(path):
    own = [name.split('.')[1] for name in imports(path) if name.startswith('ibnnet_mx.')]
    if room(path) != 'cli' and path.name != '__main__.py':  # python -m ...: a command, as those of cli
        own = [name for name in own if not name.startswith('__')]
        assert set(own) <= MAY[room(path)] | LATE.get(room(path), set())


@pytest.mark.parametrize('path', [path for path in FILES if room(path) in LATE], ids=lambda p: str(p.relative_to(ROOT)))
def test_late_imports_are_late(path):
    assert not {name.split('.')[1] for name in imports(path, late=False) if '.' in name} & LATE[room(path)]


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_who_knows_mxnet(path):
    if room(path) in NO_MXNET:
        assert not any(name.split('.')[0] == 'mxnet' for name in imports(path))


def test_no_cycle():
    seen = {}

    def visit(name, trail):
        assert name not in trail, f'{name} imports itself through {trail}'
        if name not in seen:
            for other in MAY.get(name, set()) - {name}:
                visit(other, (*trail, name))
            seen[name] = True

    for name in MAY:
        visit(name, ())


def test_every_room_is_on_the_map():
    assert {room(path) for path in FILES} == {*MAY, 'cli'}


@pytest.mark.parametrize('path', FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 50, node.name
            args = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            assert len([a for a in args if a.arg not in ('self', 'cls')]) <= 8, node.name


@pytest.mark.parametrize('path', CPP, ids=lambda p: p.name)
def test_files_and_functions_in_c_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    assert max(map(len, text.splitlines())) <= 120
    for function in c_sources.functions(text):
        assert function.lines <= 50, function
        assert function.parameters <= 8, function


@pytest.mark.parametrize('path', CPP, ids=lambda p: p.name)
def test_no_comma_joins_statements_in_c(path):
    assert list(c_sources.joined_statements(path.read_text())) == []


def test_no_layer_names_a_norm_or_convolution_outside_norm_py():
    concrete = {'BatchNorm', 'InstanceNorm', 'GroupNorm', 'LayerNorm', 'Conv2D', 'Convolution'}
    for path in (ROOT / 'blocks.py', ROOT / 'nets.py'):
        named = {n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)}
        assert not named & concrete
