"""The site of make docs: its reference names what exists; slow: it is built without a warning, and its search finds."""

import importlib
import re
import subprocess
import sys

import pytest

from tests.docs import pages

DOCS = pages.REPOSITORY / 'docs'
NAMES = re.findall(r'^\.\. auto\w+:: (\S+)$', (DOCS / 'api.rst').read_text(), re.MULTILINE)


@pytest.mark.parametrize('name', NAMES)
def test_a_name_of_the_reference_exists_and_is_described(name):
    module, _, attribute = name.rpartition('.')
    assert getattr(importlib.import_module(module), attribute).__doc__


def test_every_page_is_in_the_contents():
    listed = re.findall(r'^   (?:.+ <)?([\w./-]+)>?$', (DOCS / 'contents.rst').read_text(), re.MULTILINE)
    wanted = {path.stem for path in pages.PAGES} | {'SECURITY', 'CHANGELOG', 'api'}
    assert wanted == {word.rpartition('/')[2] for word in listed}


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    pytest.importorskip('furo', reason='make docs installs it')
    pytest.importorskip('myst_parser', reason='make docs installs it')
    out = tmp_path_factory.mktemp('site')
    words = [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going', '-c', str(DOCS), '-b', 'html', '-d']
    done = subprocess.run(
        [*words, str(out / 'trees'), str(pages.REPOSITORY), str(out / 'html')], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return out / 'html'


@pytest.mark.slow
@pytest.mark.parametrize('word', ['memonger', 'exif', 'h100'])
def test_the_search_finds_a_page(site, word):
    assert f'"{word}"' in (site / 'searchindex.js').read_text()


@pytest.mark.slow
def test_the_site_needs_no_network(site):
    for page in site.rglob('*.html'):
        assert not re.findall(
            r'<(?:script|img)[^>]+src="(?:https?:)?//|<link[^>]+href="(?:https?:)?//', page.read_text()
        )
