"""The package as setup.py describes it: what comes without an extra and with one, and the text of a package index."""

import re
import runpy
import sys
import types

import pytest
import setuptools

from tests.conftest import ROOT


@pytest.fixture
def package(monkeypatch):
    """Return the arguments that setup.py hands to setup()."""
    given = {}
    monkeypatch.setattr(setuptools, 'setup', lambda **arguments: given.update(arguments))
    module = types.SimpleNamespace(bdist_wheel=setuptools.Command)
    monkeypatch.setitem(sys.modules, 'wheel', types.ModuleType('wheel'))
    monkeypatch.setitem(sys.modules, 'wheel.bdist_wheel', module)
    runpy.run_path(str(ROOT / 'setup.py'))
    return given


def test_the_reader_alone_pins_neither_numpy_nor_python(package):
    assert package['python_requires'] == '>=3.8'
    assert {'numpy>=1.21', 'opencv-python-headless>=4.5'} <= set(package['install_requires'])
    assert not [one for one in package['install_requires'] if 'mxnet' in one or '<' in one.partition(';')[0]]


@pytest.mark.parametrize(('extra', 'wheel'), [('cpu', 'mxnet==1.9.1'), ('gpu', 'mxnet-cu112==1.9.1')])
def test_an_extra_brings_mxnet_and_its_pins_below_python_3_12(package, extra, wheel):
    rows = [row.partition('; ') for row in package['extras_require'][extra]]
    assert {wheel, 'numpy>=1.21,<1.24', 'opencv-python-headless>=4.5,<4.12'} <= {row for row, _, _ in rows}
    assert {marker for row, _, marker in rows if not row.startswith('matplotlib')} == {"python_version < '3.12'"}


def test_the_description_leads_to_no_file_and_no_picture(package):
    text = package['long_description']
    assert text.startswith('# ibnnet_mx')
    assert '![' not in text
    assert all(target.startswith('https://') for target in re.findall(r'\]\(([^)]*)\)', text))
