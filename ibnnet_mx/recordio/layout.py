"""The layout of a set of pictures, read from the names of its files: litter, sides (training, validation), classes."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import Iterable, NamedTuple, Tuple

from ibnnet_mx.errors import CONTROL
from ibnnet_mx.recordio.pixels.pictures import SUFFIXES

TRAIN, VAL, TEST = 'train', 'val', 'test'
SIDES = {  # a word of a folder's name: the side that it stands for
    **dict.fromkeys(('train', 'training', 'trainset'), TRAIN),
    **dict.fromkeys(('val', 'valid', 'validation', 'dev', 'valset'), VAL),
    **dict.fromkeys(('test', 'testing', 'testset'), TEST),
}
LITTER = {  # folders that file servers, Macs and Windows leave behind; those that begin with a dot are hidden anyway
    '@eadir', '@recycle', '@recently-snapshot', '#recycle', '#snapshot', '__macosx', 'lost+found', '$recycle.bin',
    'system volume information', 'network trash folder', 'temporary items', 'thumbs.db',
}  # fmt: skip
PICTURES = {'images', 'image', 'imgs', 'img', 'jpegimages', 'pictures', 'photos'}
TARGETS = {
    'labels', 'label', 'annotations', 'annotation', 'masks', 'mask', 'bboxes', 'boxes', 'xmls', 'imagesets',
    'segmentationclass', 'segmentationobject', 'ground_truth', 'gt',
}  # fmt: skip
FOREIGN = {  # pictures of formats that are not read here
    '.heic', '.heif', '.hif', '.avif', '.jxl', '.jp2', '.j2k', '.svg', '.psd', '.ico', '.jfif', '.pjpeg',
    '.dng', '.cr2', '.cr3', '.nef', '.arw', '.raf', '.orf', '.rw2', '.raw',
}  # fmt: skip
NAMED = 5  # a line names at most so many folders or extensions
WAYS_OUT = 'give each class a folder, or write a list train.lst (id<tab>label<tab>path) and name that'
Parts = Tuple[str, ...]  # the folders of a picture's name, and its file


class LayoutError(ValueError):
    """The error for files that are not laid out as classes. The text says what was seen and the way out."""


class Layout(NamedTuple):
    """The pictures of both sides and what was left out.

    train, val: (parts from the class on, number of the name). two_sided: True if the names say the sides.
    """

    train: list[tuple[Parts, int]]
    val: list[tuple[Parts, int]]
    notes: list[str]
    two_sided: bool


def is_litter(folder: str) -> bool:
    """Return True for a folder that is hidden, or that a file server or a system keeps for itself."""
    return folder.startswith('.') and folder not in ('.', '..') or folder.lower() in LITTER


def side_of(folder: str) -> str | None:
    """Return the side that a folder's name stands for: Train_Set, seg_train, imagenet-val; None for other names."""
    sides = [SIDES[word] for word in _words(folder) if word in SIDES]
    return sides[0] if len(sides) == 1 else None


def read_layout(names: Iterable[str], where: str) -> Layout:
    """Return the Layout of files by their names: CLASS/..., or train/CLASS/... and val/CLASS/... (test/).

    Common folders may come before both. Any usual name of a side will do, in any case. A test folder is the validation
    side if there is no other. Raises LayoutError if the names show no classes.
    """
    pictures, folders, notes = _pictures(names)
    pictures, depth = sorted(pictures), 0
    while True:
        heads = {parts[depth] for parts, _ in pictures if len(parts) > depth + 1}
        beside = {parts[depth] for parts in folders if len(parts) > depth}
        _refuse_targets(heads, beside, where)
        is_common = len(heads) == 1 and side_of(next(iter(heads))) != TRAIN
        if not is_common or not all(len(parts) > depth + 2 for parts, _ in pictures if len(parts) > depth + 1):
            break
        depth += 1
    train, val = _sides(pictures, depth, heads, where, notes)
    sides, loose = _cut(pictures, depth, train, val)
    for side, folder in zip(sides, (train, val)):
        side[:] = _without_repeated(side, folder)
        _refuse_targets({parts[0] for parts, _ in side}, _folders_below(folders, depth, folder), where)
    if not sides[0] or (val and not sides[1]):
        raise LayoutError(
            f'{where}: no pictures in class folders (CLASS/x.jpg, or train/CLASS/x.jpg, val/CLASS/y.jpg)'
            + (f'; {len(pictures)} pictures lie outside of such: {WAYS_OUT}' if pictures else '')
        )
    if loose:
        notes.append(f'{loose} pictures outside the class folders are left out')
    if any('..' in parts[:1] for side in sides for parts, _ in side):
        raise LayoutError(f'{where}: a class cannot be named ..')
    return Layout(sides[0], sides[1], notes, train is not None)


def _words(folder: str) -> list[str]:
    """Return the words of a folder's name in lower case: train and set of Train_Set, trainSet and "train set"."""
    return re.findall(r'[a-z]+', re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', folder).lower())


def _pictures(names: Iterable[str]) -> tuple[list[tuple[Parts, int]], set[Parts], list[str]]:
    """Return (parts, number) of the pictures, all folders, and notes about the files that are left out."""
    pictures, folders = [], set()
    others: Counter[str] = Counter()
    odd = 0
    litter: dict[str, int] = {}
    for number, name in enumerate(names):
        parts = tuple(part for part in name.split('/') if part not in ('', '.'))
        refused = next((part for part in parts[:-1] if is_litter(part)), None)
        if refused is not None:
            litter[refused] = litter.get(refused, 0) + 1
            continue
        folders.add(parts[:-1])
        if parts[-1].startswith('.') or not parts[-1].lower().endswith(SUFFIXES):
            hidden = parts[-1].startswith('.')
            others['hidden' if hidden else os.path.splitext(parts[-1])[1].lower() or 'without an extension'] += 1
        elif '\t' in name or CONTROL.search(name):
            odd += 1  # a list cannot hold them, and a terminal should not
        else:
            pictures.append((parts, number))
    notes = [_others_line(others)] if others else []
    notes += [f'{odd} pictures with control characters in their names are left out'] if odd else []
    notes += [f'{count} files in folders {name} are left out' for name, count in sorted(litter.items())]
    return pictures, folders, notes


def _others_line(counts: Counter[str]) -> str:
    """Return the line about files that are left out. counts: {extension: count}."""
    most = sorted(counts.items(), key=lambda item: (item[0] not in FOREIGN, -item[1]))[:NAMED]
    listed = ', '.join(f'{count} {suffix}' for suffix, count in most) + (', ...' if len(counts) > NAMED else '')
    foreign = [suffix for suffix, _ in most if suffix in FOREIGN]
    hint = f'; to use {" and ".join(foreign)}, convert them to JPEG or PNG' if foreign else ''
    return f'files that cannot be packed are left out: {listed}{hint}'


def _refuse_targets(heads: set[str], beside: set[str], where: str) -> None:
    """Raise LayoutError if folders of pictures lie beside folders of boxes or masks, because neither are classes."""
    pictures = sorted(head for head in heads if head.lower() in PICTURES)
    targets = sorted(folder for folder in beside | heads if folder.lower() in TARGETS)
    if pictures and targets:
        raise LayoutError(
            f'{where} is laid out for detection or segmentation ({pictures[0]}/ beside {targets[0]}/), and a folder '
            f'must be a class here: name the folder {pictures[0]} itself if its folders are the classes; otherwise '
            + WAYS_OUT
        )


def _folders_below(folders: set[Parts], depth: int, side: str | None) -> set[str]:
    return {parts[depth + 1] for parts in folders if side and len(parts) > depth + 1 and parts[depth] == side}


def _sides(
    pictures: list[tuple[Parts, int]], depth: int, heads: set[str], where: str, notes: list[str]
) -> tuple[str | None, str | None]:
    """Return the folders of the training and the validation side; None, None if the folders are classes."""
    deep = {parts[depth] for parts, _ in pictures if len(parts) > depth + 2}
    kinds: dict[str, list[str]] = {TRAIN: [], VAL: [], TEST: []}
    for head in sorted(heads):
        side = side_of(head)
        if side is not None and (head in deep or head.lower() in SIDES):
            kinds[side].append(head)
    if len(heads) > 1 and heads <= deep and heads == {*kinds[VAL], *kinds[TEST]}:
        sides = ' and '.join(sorted(heads))
        raise LayoutError(f'{where} holds pictures of {sides} without train: name one of these folders itself')
    if not kinds[TRAIN]:
        return None, None
    train = _the_one(kinds[TRAIN], None, where)
    if kinds[VAL] or kinds[TEST]:
        val = _the_one(kinds[VAL] or kinds[TEST], train, where)
    elif train not in deep and len(heads) > 1:
        return None, None  # a class named train
    elif deep - {train}:
        others = ', '.join(sorted(deep - {train})[:3])
        raise LayoutError(
            f'{where}: {train} has folders in it like a training side, but {others} beside it is no validation side: '
            f'name {train} itself, or write a list train.lst (id<tab>label<tab>path)'
        )
    else:
        val = None
    outside = [head for head in sorted(heads) if head not in (train, val)]
    sides = f'{train} and {val} are the two sides' if val else f'{train} is the training side'
    notes += [f'the folder {head} is left out: {sides}' for head in outside]
    return train, val


def _the_one(folders: list[str], partner: str | None, where: str) -> str:
    """Return the folder of a side: the only one, the one named like its partner, or the one without more words."""
    if partner is not None:
        rest = [word for word in _words(partner) if word not in SIDES]
        alike = [name for name in folders if [word for word in _words(name) if word not in SIDES] == rest]
        folders = alike or folders
    plain = [name for name in folders if name.lower() in SIDES]
    folders = plain if len(folders) > 1 and plain else folders
    if len(folders) > 1:
        raise LayoutError(f'{where}: {" and ".join(folders)} could all be the same side: rename or move all but one')
    return folders[0]


def _cut(
    pictures: list[tuple[Parts, int]], depth: int, train: str | None, val: str | None
) -> tuple[tuple[list[tuple[Parts, int]], list[tuple[Parts, int]]], int]:
    """Return the pictures of both sides, their parts cut to begin with the class, and how many have no class."""
    sides: tuple[list[tuple[Parts, int]], list[tuple[Parts, int]]] = ([], [])
    loose = 0
    for parts, number in pictures:
        rest, side = parts[depth:], 0
        if train is not None:
            head = parts[depth] if len(parts) > depth + 1 else None
            if head is not None and head not in (train, val):
                continue  # a note names this folder
            rest, side = parts[depth + 1 :], int(head == val)
        if len(rest) > 1:
            sides[side].append((rest, number))
        else:
            loose += 1
    return sides, loose


def _without_repeated(side: list[tuple[Parts, int]], folder: str | None) -> list[tuple[Parts, int]]:
    """Return the pictures without a folder that only repeats the side's name: seg_train/seg_train/CLASS."""
    if folder and side and all(parts[0] == folder and len(parts) > 2 for parts, _ in side):
        return [(parts[1:], number) for parts, number in side]
    return side
