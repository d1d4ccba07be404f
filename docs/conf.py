"""Settings of the site that `make docs` builds. The sources are the pages of the whole checkout, so that links work."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ibnnet_mx  # noqa: E402

project = 'ibnnet_mx'
author = 'the authors of ibnnet_mx'
release = version = ibnnet_mx.__version__
language = 'en'

root_doc = 'docs/contents'
extensions = ['myst_parser', 'sphinx.ext.autodoc']
include_patterns = [
    'README.md',
    'SECURITY.md',
    'CHANGELOG.md',
    'docs/*.md',
    'docs/*.rst',
    'log/README.md',
    'benchmarks/*/README.md',
    'experiments/*/README.md',
    'experiments/*/results/*.md',
    'experiments/*/results*.md',
    'tests/*/README.md',
]
exclude_patterns = ['docs/_build', '.venv', '**/.venv']

myst_heading_anchors = 4
suppress_warnings = [
    'myst.header',  # a page may begin below its title
    'toc.not_included',  # pages of benchmarks, experiments and tests are reached by links
]

autodoc_member_order = 'bysource'
autodoc_typehints = 'none'
autodoc_preserve_defaults = True
add_module_names = False

html_theme = 'furo'
html_title = f'ibnnet_mx {release}'
html_static_path = ['site/style']
html_css_files = ['pages.css']
html_extra_path = ['site/index.html']
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {'navigation_with_keys': True}
pygments_style = 'friendly'
pygments_dark_style = 'monokai'


CODE = re.compile(r'``?([^`]+)``?')


def marked(line):
    """Return a line of a docstring as reStructuredText: `code` as code, and no other mark has a meaning."""
    parts = CODE.split(line)
    parts[::2] = [re.sub(r'([*|\\]|_(?=\W|$))', r'\\\1', part) for part in parts[::2]]
    parts[1::2] = [f'``{part}``' for part in parts[1::2]]
    return re.sub(r'^(\s*)\\\* ', r'\1* ', ''.join(parts))


def plain_text(app, what, name, obj, options, lines):
    """Make a docstring, which is plain text, reStructuredText of the same look. Indented paragraphs are programs."""
    made = []
    is_program = False
    for line in lines:
        if line and not (made and made[-1]):  # a paragraph begins
            begins = line.startswith('    ')
            if begins and not is_program:
                made += ['::', '']
            is_program = begins
        made.append(line if is_program else marked(line))
    lines[:] = made


def setup(app):
    app.connect('autodoc-process-docstring', plain_text)
