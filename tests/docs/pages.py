"""The README and the pages of docs, as text: their fenced blocks, commands, links and headings."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Iterator, NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = (REPOSITORY / 'README.md', *sorted((REPOSITORY / 'docs').glob('*.md')))
OTHERS = (  # pages whose links are checked, too
    *(REPOSITORY / name for name in ('CHANGELOG.md', 'SECURITY.md', 'log/README.md')),
    *sorted(REPOSITORY.glob('benchmarks/*/README.md')),
    *sorted(REPOSITORY.glob('experiments/*/README.md')),
    *sorted(REPOSITORY.glob('tests/*/README.md')),
)
FENCE = re.compile(r'^```(\w*)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
CODE = re.compile(r'(?<!`)`([^`\n]+)`(?!`)')
LINK = re.compile(r'!?\[[^\]]*\]\(([^)\s]+)\)')
HEADING = re.compile(r'^#+ (.+)$', re.MULTILINE)


class Command(NamedTuple):
    """One command of a page: its name for a test's report, and its words as a shell would pass them."""

    title: str
    words: list[str]


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return [text for name, text in FENCE.findall(page.read_text()) if name == language]


def lines(block: str) -> Iterator[list[str]]:
    """Yield the words of each command of a shell block. A backslash joins lines, and # begins a comment."""
    for line in block.replace('\\\n', ' ').splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def commands() -> list[Command]:
    """Return every command of every shell block. Shell scripts, which begin with #!, are left out."""
    listed = []
    for page in PAGES:
        for block in blocks(page, 'bash'):
            if not block.startswith('#!'):
                listed += [Command(f'{page.stem}: {" ".join(words)}', words) for words in lines(block)]
    return listed


def quoted_commands() -> list[Command]:
    """Return the commands that stand in a sentence or a table, as `ibnnet evaluate DATA --prefix P`."""
    starts = ('ibnnet ', 'train_resnet.py ', 'evaluate.py ', 'predict/predict.py ', 'log/plot_curve.py ')
    listed = []
    for page in PAGES:
        for span in CODE.findall(FENCE.sub('', page.read_text())):
            if span.startswith(starts):
                listed.append(Command(f'{page.stem}: {span}', shlex.split(span)))
    return listed


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the built site make them."""
    titles = HEADING.findall(FENCE.sub('', page.read_text()))
    return {re.sub(r'[^\w\- ]', '', re.sub(r'[`*]', '', title).lower()).replace(' ', '-') for title in titles}


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures, without those that lead into the network."""
    targets = LINK.findall(CODE.sub('', FENCE.sub('', page.read_text())))
    return [target for target in targets if '://' not in target]
