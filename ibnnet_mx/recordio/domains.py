"""Domains: folders above the classes, DOMAIN/CLASS/x.jpg, as PACS has photo/dog and sketch/dog."""

from __future__ import annotations

from typing import NamedTuple, Sequence

from ibnnet_mx.errors import OptionError
from ibnnet_mx.recordio.layout import PICTURES, TARGETS, Parts, side_of

ALL, NONE = 'all', 'none'
NAMED = 5  # a line names at most so many folders
Pictures = Sequence['tuple[Parts, int]']  # (parts of a name, number of the name)


class Domains(NamedTuple):
    """The folders that are domains, the classes below them, and the place of the class in the parts of a name."""

    names: list[str]
    classes: list[str]
    depth: int


def find_domains(pictures: Pictures, strict: bool = True) -> Domains | None:
    """Return the Domains of pictures, whose parts begin with the top folder; None if the top folders are classes.

    They are domains if most pictures lie deeper, and at least half of the names below them, two or more, come
    below several of them. A folder that each has alone (photo/images/dog) is passed over. strict: False takes
    any top folders with folders in them.
    """
    depth = 1
    while True:
        below: dict[str, set[str]] = {}
        for top, name in {(parts[0], parts[depth]) for parts, _ in pictures if len(parts) > depth + 1}:
            below.setdefault(top, set()).add(name)
        names = set().union(*below.values())
        if len(names) != 1 or len(below) < 2:
            break
        depth += 1
    shared = {name for name in names if sum(name in folders for folders in below.values()) > 1}
    if strict:
        deep = sum(len(parts) > depth + 1 for parts, _ in pictures) if shared else 0
        if len(shared) < 2 or 2 * len(shared) < len(names) or 2 * deep <= len(pictures) or _no_classes(shared):
            return None
    return Domains(sorted(below), sorted(names), depth) if below else None


def _no_classes(names: set[str]) -> bool:
    """Return True if names are those of sides, or of folders of pictures and boxes."""
    return all(side_of(name) is not None or name.lower() in PICTURES | TARGETS for name in names)


def parse_domains(words: Sequence[str]) -> list[str]:
    """Return the names in words such as 'photo' or 'photo,sketch'. Raises OptionError unless all and none are alone."""
    names = [name for word in words for name in word.split(',') if name]
    if len(set(names)) > 1 and {ALL, NONE} & set(names):
        raise OptionError('domain', ','.join(names), f': {ALL} and {NONE} go without other names')
    if words and not names:
        raise OptionError('domain', ','.join(words), f'names no domain: name some, or {ALL}, or {NONE}')
    return names


def check_domains(domains: Domains | None, asked: Sequence[str], where: str, classes: Sequence[str]) -> None:
    """Raise OptionError if there are domains and nothing was asked, or if what was asked is not there."""
    if not asked and domains is not None:
        names, first = domains.names, domains.names[0]
        raise OptionError(
            None,
            None,
            f'{where}: the folders {_listed(names)} have the same folders in them ({_listed(domains.classes)}), so '
            f'they are domains, not classes: `domain` {first} takes one, `domain` {",".join(names[:2])} several, '
            f'`domain` {ALL} all together; `domain` {NONE} makes them the {len(names)} classes',
        )
    if not asked or asked[0] == NONE:
        return
    if domains is None:
        raise OptionError('domain', ','.join(asked), f': {where} has no folders of classes below {_listed(classes)}')
    for name in asked:
        if name != ALL and name not in domains.names:
            raise OptionError('domain', name, f'is no folder of {where}: there are {", ".join(domains.names)}')


def take_domains(pictures: Pictures, domains: Domains, asked: Sequence[str]) -> list[tuple[Parts, int]]:
    """Return the pictures of the domains that are asked for, their parts cut to begin with the class."""
    depth, wanted = domains.depth, set(domains.names if asked[0] == ALL else asked)
    return [(parts[depth:], number) for parts, number in pictures if parts[0] in wanted and len(parts) > depth + 1]


def describe_nested(pictures: Pictures, classes: Sequence[str]) -> list[str]:
    """Return a line if classes have folders in them, unless these are only named as folders of pictures are."""
    pairs = {(parts[0], parts[1]) for parts, _ in pictures if len(parts) > 2}
    nested = sorted('/'.join(pair) for pair in pairs if pair[1].lower() not in PICTURES)
    if not nested:
        return []
    count = f'the {len(classes)} top folders are' if len(classes) > 1 else f'the folder {classes[0]} is'
    kind = 'classes' if len(classes) > 1 else 'the class'
    return [f'{count} {kind}; pictures in the folders below belong to them: {_listed(nested)}']


def _listed(names: Sequence[str]) -> str:
    return ', '.join(names[:NAMED]) + (', ...' if len(names) > NAMED else '')
