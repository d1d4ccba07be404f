"""Every relative link and every anchor of the pages leads somewhere, and every page can be reached."""

import pytest

from tests.docs import pages

ALL = (*pages.PAGES, *pages.OTHERS)


@pytest.mark.parametrize('page', ALL, ids=lambda page: str(page.relative_to(pages.REPOSITORY)))
def test_links_lead_somewhere(page):
    lost = []
    for target in pages.links(page):
        name, _, anchor = target.partition('#')
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in pages.anchors(path)):
            lost.append(target)
    assert not lost


def test_every_page_is_in_the_index():
    index = pages.REPOSITORY / 'docs' / 'index.md'
    listed = {(index.parent / target.partition('#')[0]).resolve() for target in pages.links(index)}
    assert set(pages.PAGES) - {index} <= listed


def test_pages_that_messages_name_are_there():
    named = set()
    for folder in ('ibnnet_mx', 'benchmarks', 'tools'):
        for path in (pages.REPOSITORY / folder).rglob('*.py'):
            named |= set(pages.re.findall(r'\bdocs/\w[\w-]*\.md', path.read_text()))
    assert named
    assert not [name for name in named if not (pages.REPOSITORY / name).exists()]


def test_the_readme_is_short():
    assert len((pages.REPOSITORY / 'README.md').read_text().splitlines()) <= 150
