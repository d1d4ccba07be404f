"""The reasons why a network that should know its classes names next to none of them right: the famous 0.1 %. numpy
only.
"""

from __future__ import annotations

import math
import re
from typing import Callable, NamedTuple, Sequence

import numpy as np

from ibnnet_mx.metrics.classification import Result

CONVENTIONS = (
    ('raw', False),
    ('imagenet', False),
    ('raw', True),
    ('imagenet', True),
)  # name of the pixels, planes as BGR
WAY_OUT = 'compare the synset of the network with the class names of the data (synset.txt, folder names)'
FEW = 10  # pictures, too few to tell
Measure = Callable[[str, bool], 'tuple[int, int]']  # a convention -> right pictures, all pictures of a sample


class Names(NamedTuple):
    """Names of the classes as the data and as the network have them; empty if unknown."""

    data: Sequence[str] = ()
    network: Sequence[str] = ()


def knows_from(count: int, classes: int) -> float:
    """Return the fraction right of `count` pictures from which on a network knows something.

    It is chance, five points, and two standard deviations of the pictures that chance gets right.
    """
    chance = 1 / classes
    return chance + 0.05 + 2 * math.sqrt(chance * (1 - chance) / count)


def near_chance(result: Result) -> bool:
    """Return True if a network knows nothing, as far as so many pictures can tell.

    Of a few pictures a good network may have none right, or no more than chance and its spread allow. Twice chance is
    not near chance.
    """
    chance = 1 / result.classes
    most = min(knows_from(result.count, result.classes), max(2 * chance, chance + 0.05))
    return result.count >= FEW and result.top1 <= most


def diagnose(
    result: Result,
    classes_of_data: int,
    names: Names,
    measure: Measure | None = None,
    now: str = 'raw',
    size: str = '',
) -> list[str]:
    """Return lines that say why a top-1 is near chance, and the way out; [] if it is above chance.

    classes_of_data: how many classes the data have. measure: right pictures of a sample by convention. now: the
    convention that was used. size: how the pictures' size differs from the network's; '' if it does not.
    """
    broken = float((result.predicted < 0).mean())
    if broken <= 0.5 and not near_chance(result):
        return []
    if broken > 0.5:
        lines = [f'the logits of {100 * broken:.0f} % of the pictures hold NaN: the weights are damaged or diverged']
    else:
        same = classes_of_data == result.classes  # else some order of few classes fits among many
        order = find_moved_names(names) or find_shift(result) or (find_order(result, names) if same else '')
        lines = [
            order,
            class_count(result, classes_of_data),
            find_pixels(measure, now, result.classes) if measure else '',
            size,
        ]
    percent = f'top-1 of {100 * result.top1:.2f} % is near chance ({100 / result.classes:.2g} %)'
    return [f'{percent}: {line}' for line in lines if line] or [f'{percent}: {unexplained(result, names)}']


def refuse_labels(labels: np.ndarray, classes: int, network: str, data: str) -> None:
    """Raise ValueError if labels reach beyond the classes of a network. network, data: the user's names for both."""
    low, high = int(labels.min()), int(labels.max())
    if high < classes:
        return
    if low == 1 and high == classes:
        way_out = 'they count from 1: pack them with labels from 0'
    else:
        way_out = f'a network of at least {high + 1} classes is needed, or records of fewer'
    raise ValueError(f'{network} has {classes} classes, {data} holds labels {low} to {high}: {way_out}')


def refuse_names(names: Names, network: str, data: str) -> None:
    """Raise ValueError if the network knows some of the data's classes by their names and others not.

    The labels are then no classes of the network. They may be if both have as many classes and differ in names only.
    """
    places = {_key(name): number for number, name in enumerate(names.network)}
    strange = [name for name in names.data if _key(name) not in places]
    moved = [name for label, name in enumerate(names.data) if places.get(_key(name), label) != label]
    renamed = not moved and len(names.data) == len(names.network)
    if renamed or len(strange) in (0, len(names.data)):
        return
    more = f' and {len(strange) - 1} others' if len(strange) > 1 else ''
    raise ValueError(
        f'{data}: {network} does not know the class {strange[0]!r}{more}, but {len(names.data) - len(strange)} of '
        'its classes by their names: leave out those that it does not know, or name them as it does'
    )


def _called(number: int, names: Sequence[str]) -> str:
    return f'{number} ({names[number].strip()})' if 0 <= number < len(names) else str(number)


def _key(name: str) -> str:
    """Return the WordNet id that a name begins with, else the name in lower case."""
    wordnet = re.match(r'n\d{8}\b', name.strip())
    return wordnet.group() if wordnet else name.strip().lower()


def match_names(names: Names) -> list[int] | None:
    """Return the network's class of each label of the data, by their names; None if a name is unknown, or comes
    twice.
    """
    places = {_key(name): number for number, name in enumerate(names.network)}
    classes = [places[_key(name)] for name in names.data if _key(name) in places]
    whole = len(classes) == len(set(classes)) == len(names.data) and len(places) == len(names.network)
    return classes if classes and whole else None


def describe_matching(names: Names) -> str:
    """Return a line on how labels are matched to the network's classes; '' if they are the same, or names are
    missing.
    """
    if not (names.data and names.network) or list(names.data) == list(names.network):
        return ''
    classes, known = match_names(names), {_key(name) for name in names.network}
    if classes is None:
        strange = [name for name in names.data if _key(name) not in known]
        trouble = (
            f'the network does not know {len(strange)}, such as {strange[0]!r}' if strange else 'some are there twice'
        )
        return f'labels count as classes of the network whatever their names: {trouble}'
    moved = [(label, place) for label, place in enumerate(classes) if label != place]
    if not moved:
        return ''
    label, place = moved[0]
    return (
        f'classes are matched by their names: {len(moved)} of the {len(classes)} labels are others of the network, '
        f'such as label {_called(label, names.data)}, its class {place}'
    )


def find_moved_names(names: Names) -> str:
    """Return a line if most classes of the data are, by their names, other classes of the network; else ''."""
    places = {_key(name): number for number, name in enumerate(names.network)}
    pairs = [(label, places[_key(name)]) for label, name in enumerate(names.data) if _key(name) in places]
    moved = [(label, place) for label, place in pairs if label != place]
    if 2 * len(moved) <= len(names.data):
        return ''
    label, place = moved[0]
    return (
        f'data and network order their classes differently, by their names: {len(moved)} of the {len(names.data)} '
        f'labels are other classes of the network, such as label {_called(label, names.data)}, its class '
        f'{_called(place, names.network)}; pack the data with the labels of the network'
    )


def find_shift(result: Result) -> str:
    """Return a line if the network's classes are the labels plus one, or minus one; else ''."""
    way_out = {
        1: 'the network has a class 0 of its own (background): leave its output 0 out, or pack labels from 1 on',
        -1: 'the labels count from 1: pack them with labels from 0',
    }
    for step, text in way_out.items():
        share = float(((result.predicted == result.labels + step) & (result.predicted >= 0)).mean())
        if share > max(knows_from(result.count, result.classes), 3 * result.top1):
            return f'the class is the label {"+" if step > 0 else "-"} 1 in {100 * share:.0f} % of the pictures: {text}'
    return ''


def _pairs(labels: np.ndarray, predicted: np.ndarray, classes: int) -> list[tuple[int, int, int]]:
    """Return (pictures, label, class) of all pairs, the most frequent first."""
    known = predicted >= 0
    codes, counts = np.unique(labels[known] * classes + predicted[known], return_counts=True)
    order = np.argsort(-counts, kind='stable')
    return [(int(counts[i]), *divmod(int(codes[i]), classes)) for i in order]


def assignment(labels: np.ndarray, predicted: np.ndarray, classes: int) -> dict[int, int]:
    """Return {label: class}, one to one, the most frequent pairs first."""
    pairs: dict[int, int] = {}
    taken = set()
    for _, label, named in _pairs(labels, predicted, classes):
        if label not in pairs and named not in taken:
            pairs[label] = named
            taken.add(named)
    return pairs


def find_order(result: Result, names: Names) -> str:
    """Return a line if the labels are the network's classes in another order; else ''.

    Half of the pictures find the order and the others test it, because some order fits anything with few pictures a
    class.
    """
    labels, predicted = result.labels, result.predicted
    halves = np.argsort(labels, kind='stable')  # every second picture of a class, however the data are sorted
    pairs = assignment(labels[halves[::2]], predicted[halves[::2]], result.classes)
    table = np.full(result.classes, -2)  # neither a class nor the -1 of a NaN
    table[list(pairs)] = list(pairs.values())
    tested = halves[1::2]
    share = float((table[labels[tested]] == predicted[tested]).mean()) if len(tested) else 0.0
    # one label to one class explains 1/kinds of the pictures, even if the network names the same class everywhere
    kinds = len(np.unique(labels))
    chance = min(kinds, result.classes) if kinds > 1 else result.classes
    if share <= max(knows_from(max(len(tested), 1), chance), 3 * result.top1):
        return ''
    counts = np.bincount(labels)
    n, label, named = max(
        (pair for pair in _pairs(labels, predicted, result.classes) if pairs.get(pair[1]) == pair[2] != pair[1]),
        key=lambda pair: pair[0] / counts[pair[1]],
    )
    return (
        f'data and network order their classes differently: another order explains {100 * share:.0f} % of the pictures;'
        f' label {_called(label, names.data)}, for one, is predicted as class {_called(named, names.network)} in '
        f'{100 * n / counts[label]:.0f} % of its pictures; {WAY_OUT}'
    )


def class_count(result: Result, classes_of_data: int) -> str:
    """Return a line if data and network have different numbers of classes; else ''."""
    if classes_of_data == result.classes:
        return ''
    more = ', one more (a background class, at 0 or at the end?)' if result.classes == classes_of_data + 1 else ''
    return f'the data has {classes_of_data} classes, the network {result.classes}{more}: {WAY_OUT}'


def unexplained(result: Result, names: Names) -> str:
    """Return the line for a network without any of the known reasons: it says which class the network names most."""
    named = np.bincount(result.predicted[result.predicted >= 0])
    share = 100 * named.max() / result.count
    return (
        'neither the order of the classes nor the pixels are seen to be the reason: are these the trained weights of '
        f'this network? It names class {_called(int(named.argmax()), names.network)} in {share:.0f} % of the pictures'
    )


def find_pixels(measure: Measure, now: str, classes: int) -> str:
    """Return a line if the network is far better on pixels of another convention; else ''."""
    right, count = measure(now, False)
    others = [(measure(*other)[0], other) for other in CONVENTIONS if other != (now, False)]
    best, (name, swapped) = max(others, key=lambda pair: pair[0])
    if best <= max(knows_from(count, classes) * count, 2 * right):
        return ''
    ways = [f'use `pixels` {name}'] if name != now else []
    if swapped:
        ways.append('it was trained on BGR: reverse the input channels of its first convolution')
    return f'of {count} pictures {best} are right with other pixels, {right} with these: {"; ".join(ways)}'
