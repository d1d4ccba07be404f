"""Domains: folders above the classes, DOMAIN/CLASS/x.jpg, as PACS has photo/dog and sketch/dog."""

from __future__ import annotations

from typing import NamedTuple, Sequence

from ibnnet_mx.errors import OptionError
from ibnnet_mx.recordio.layout import NAMED, PICTURES, TARGETS, Layout, LayoutError, Parts, side_of

ALL, NONE = 'all', 'none'
Pictures = Sequence['tuple[Parts, int]']  # (parts of a name from the top folder on, number of the name)


class Domains(NamedTuple):
    """The folders that are domains, the classes below them, and the place of the class in the parts of a name."""

    names: list[str]
    classes: list[str]
    depth: int


def find_domains(pictures: Pictures, strict: bool = True) -> Domains | None:
    """Return the Domains of pictures; None if the top folders are the classes.

    They are domains if most pictures lie deeper, and of the names below them two or more, and at least half, come
    below several. A folder that all of them have and nothing else (photo/images/dog) is passed over. strict: False
    takes any top folders that have folders in them.
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
    if strict:
        shared = {name for name in names if sum(name in folders for folders in below.values()) > 1}
        if len(shared) < 2 or 2 * len(shared) < len(names) or _are_no_classes(shared):
            return None
        if 2 * sum(len(parts) > depth + 1 for parts, _ in pictures) <= len(pictures):
            return None
    return Domains(sorted(below), sorted(names), depth) if below else None


def _are_no_classes(names: set[str]) -> bool:
    """Return True if names are those of sides, or of folders of pictures and boxes."""
    return all(side_of(name) is not None or name.lower() in PICTURES | TARGETS for name in names)


def choose_domains(layout: Layout, where: str, domain: str | None) -> tuple[Layout, list[str]]:
    """Return the layout with the pictures of the chosen domains, cut to begin with the class, and the class names.

    domain: of DOMAIN/CLASS/..., a name, several with commas, or 'all' to take the inner folders as the classes; 'none'
    takes the outer ones. The classes are those of all domains, so that each domain has the same labels. Raises
    OptionError for folders that look like domains if domain is None, and for domains that are not there.
    """
    both = [*layout.train, *layout.val]
    classes = sorted({parts[0] for parts, _ in both})
    domains = None if domain == NONE else find_domains(both, strict=domain is None)
    if domain is None and domains is not None:
        _ask(domains, where)
    if domain in (None, NONE):
        return layout._replace(notes=layout.notes + describe_nested(both, classes)), classes
    if domains is None:
        raise _unknown(domain, where, 'its folders are no domains')
    wanted = set(domains.names) if domain == ALL else {name for name in str(domain).split(',') if name}
    if wanted - set(domains.names) or not wanted:
        raise _unknown(domain, where, f'there are {", ".join(domains.names[: 2 * NAMED])}')
    train, val = (_take(side, domains, wanted) for side in (layout.train, layout.val))
    if not train or (layout.val and not val):
        raise LayoutError(f'{where}: the domains {", ".join(sorted(wanted))} have no pictures on one of the sides')
    notes, left = list(layout.notes), sorted(set(domains.names) - wanted)
    notes += [f'the domains {", ".join(left)} are left out'] if left else []
    loose = sum(len(parts) <= domains.depth + 1 for parts, _ in both)
    notes += [f'{loose} pictures outside the class folders are left out'] if loose else []
    return layout._replace(train=train, val=val, notes=notes), domains.classes


def _unknown(domain: str | None, where: str, known: str) -> OptionError:
    return OptionError('domain', domain, f': {where} has no such folder of class folders: {known}')


def _ask(domains: Domains, where: str) -> None:
    names, first = domains.names, domains.names[0]
    raise OptionError(
        None,
        None,
        f'{where} has the same folders ({_listed(domains.classes)}) in {_listed(names)}, so these look like domains '
        f'and not like classes: add `domain` {first} (or several, with commas), `domain` {ALL}, or `domain` {NONE} if '
        f'{first} is a class',
    )


def _take(pictures: Pictures, domains: Domains, wanted: set[str]) -> list[tuple[Parts, int]]:
    depth = domains.depth
    return [(parts[depth:], number) for parts, number in pictures if parts[0] in wanted and len(parts) > depth + 1]


def describe_nested(pictures: Pictures, classes: Sequence[str]) -> list[str]:
    """Return a line if classes have folders in them, unless these are named as folders of pictures are."""
    pairs = {(parts[0], parts[1]) for parts, _ in pictures if len(parts) > 2}
    nested = sorted('/'.join(pair) for pair in pairs if pair[1].lower() not in PICTURES)
    if not nested:
        return []
    count = f'the {len(classes)} classes are the outer folders' if len(classes) > 1 else f'the class is {classes[0]}'
    return [f'{count}; pictures of inner folders belong to them: {_listed(nested)}']


def _listed(names: Sequence[str]) -> str:
    return ', '.join(names[:NAMED]) + (', ...' if len(names) > NAMED else '')
