"""The arrows of the design, read from the source: which room may import which, and where imports may be late."""

import ast
import re
from pathlib import Path

import pytest

from tests import c_sources

REPOSITORY = Path(__file__).resolve().parents[1]
ROOT = REPOSITORY / 'ibnnet_mx'
PURE = {
    '_env',
    '_limits',
    'errors',
    'recipe',
    'files',
    'metrics',
    'size',
}  # they import nothing of the package but errors
LOW = {'errors', 'files', '_env', '_limits', 'size'}
MAY = {  # room: rooms that it may import, beside itself
    '__init__': {'_env'},
    '__main__': {'cli'},
    **{room: {'errors'} for room in PURE - {'errors'}},
    'errors': set(),
    '_env': {'_limits'},
    'graph': LOW,
    'logs': LOW | {'metrics'},
    'shift': LOW,
    'operators': LOW,
    'norm': {'errors'},
    'models': {'errors', 'graph', 'norm', 'operators', 'size'},
    'recordio': LOW,
    'data': LOW | {'recipe', 'recordio'},
    'record_iter': {'data'},
    'distributed': LOW | {'operators'},
    'checkpoint': LOW | {'graph', 'metrics', 'recipe'},
    'convert': LOW | {'checkpoint', 'graph', 'models', 'norm'},
    'hub': LOW | {'convert', 'models'},
    'training': LOW
    | {'checkpoint', 'convert', 'data', 'distributed', 'graph', 'hub', 'logs', 'metrics', 'models', 'norm'}
    | {'operators', 'recipe'},
    'inference': LOW
    | {
        'checkpoint',
        'convert',
        'data',
        'distributed',
        'graph',
        'hub',
        'metrics',
        'models',
        'norm',
        'recordio',
        'shift',
    },
    'report': LOW | {'data', 'inference', 'logs', 'metrics', 'recordio', 'shift', 'training'},
    'doctor': LOW | {'distributed', 'recordio'},
}
NO_MXNET = PURE | {'logs', 'recordio', 'doctor', 'shift'}
# Their public names are resolved when asked for.
FACES = {f'{room}__init__.py' for room in ('', 'models/', 'norm/', 'recordio/', 'shift/')}
FILES = sorted(ROOT.rglob('*.py'))
CPP = sorted(
    path
    for folder in (ROOT, Path(__file__).resolve().parent)
    for path in folder.rglob('*')
    if path.suffix in ('.c', '.cc', '.cpp', '.h', '.hpp')
)
MOST_LOOSE = {'__init__', '__main__', '_env', '_limits', 'hub', 'record_iter', 'size'}


def name_of(path):
    return str(path.relative_to(ROOT))


def room(path):
    """The first level under the package: 'recordio' for all of its files."""
    return path.relative_to(ROOT).parts[0].replace('.py', '')


def imports(path, late=None):
    """Full names of all modules that a file imports; late: only those inside of functions, or only those outside."""
    tree = ast.parse(path.read_text())
    outside = {id(node) for node in at_import(tree.body)}
    for node in ast.walk(tree):
        if late is not None and late == (id(node) in outside):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f'{path}: relative import'
            yield from (f'{node.module}.{alias.name}' for alias in node.names)


def at_import(body):
    """Statements that run when a module is imported: with, if and try at its top level too."""
    for node in body:
        yield node
        if isinstance(node, (ast.With, ast.If, ast.Try)):
            yield from at_import(node.body)


@pytest.mark.parametrize('path', FILES, ids=name_of)
def test_arrows(path):
    if room(path) == 'cli':
        return
    own = {name.split('.')[1] for name in imports(path) if name.startswith('ibnnet_mx.')}
    assert {name for name in own if not name.startswith('__')} - {room(path)} <= MAY[room(path)]


@pytest.mark.parametrize('path', FILES, ids=name_of)
def test_only_commands_and_faces_import_the_package_late(path):
    if room(path) != 'cli' and name_of(path) not in FACES:
        assert [name for name in imports(path, late=True) if name.startswith('ibnnet_mx')] == []


@pytest.mark.parametrize('path', FILES, ids=name_of)
def test_who_knows_mxnet(path):
    if room(path) in NO_MXNET:
        assert not any(name.split('.')[0] == 'mxnet' for name in imports(path))


def test_no_cycle_of_rooms():
    seen = {}

    def visit(name, trail):
        assert name not in trail, f'{name} imports itself through {trail}'
        if name not in seen:
            for other in MAY.get(name, set()) - {name}:
                visit(other, (*trail, name))
            seen[name] = True

    for name in MAY:
        visit(name, ())


def test_no_cycle_of_files():
    """Two files that import each other, in any number of steps, cannot be read one after the other."""
    paths = {'.'.join(('ibnnet_mx', *path.relative_to(ROOT).with_suffix('').parts)): path for path in FILES}
    paths = {name.replace('.__init__', ''): path for name, path in paths.items()}
    edges = {}
    for name, path in paths.items():
        named = set(imports(path, late=False))
        edges[name] = {full if full in paths else full.rpartition('.')[0] for full in named} & set(paths) - {name}
    state = {}

    def visit(name, trail):
        assert state.get(name) != 'open', f'a circle: {" -> ".join((*trail, name))}'
        if name not in state:
            state[name] = 'open'
            for other in sorted(edges[name]):
                visit(other, (*trail, name))
            state[name] = 'closed'

    for name in sorted(paths):
        visit(name, ())


def test_every_room_is_on_the_map():
    assert {room(path) for path in FILES} == {*MAY, 'cli'}


def test_few_modules_lie_outside_of_rooms():
    assert {path.stem for path in ROOT.glob('*.py')} <= MOST_LOOSE


def test_the_page_of_the_architecture_names_every_room():
    """The first column of its table of rooms is what lies under the package."""
    text = (REPOSITORY / 'docs' / 'architecture.md').read_text()
    table = text[text.index('## Rooms') :].split('\n## ')[0]
    named = re.findall(r'^\| `([\w./]+)` \|', table, re.MULTILINE)
    there = {path.name + '/' for path in ROOT.iterdir() if (path / '__init__.py').is_file()}
    assert sorted(named) == sorted(there | {path.name for path in ROOT.glob('*.py')})


def test_tests_stand_in_the_rooms_of_what_they_test():
    rooms = {path.parent.name for path in ROOT.glob('*/__init__.py')}
    assert rooms <= {path.parent.name for path in (REPOSITORY / 'tests').glob('*/test_*.py')}


def test_files_of_tests_stay_short():
    lines = {str(path): len(path.read_text().splitlines()) for path in (REPOSITORY / 'tests').rglob('*.py')}
    assert [path for path, count in lines.items() if count > 300] == []


@pytest.mark.parametrize('path', FILES, ids=name_of)
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


def test_no_layer_names_a_norm_or_convolution_outside_norm():
    concrete = {'BatchNorm', 'InstanceNorm', 'GroupNorm', 'LayerNorm', 'Conv2D', 'Convolution'}
    for path in (ROOT / 'models').glob('*.py'):
        named = {n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)}
        assert not named & concrete


def test_one_place_takes_the_json_of_a_symbol_apart():
    """graph/symbol_json.py alone calls tojson() and load_json()."""
    for path in FILES:
        if name_of(path) != 'graph/symbol_json.py':
            assert not re.search(r'\.tojson\(|load_json\(', path.read_text()), path
