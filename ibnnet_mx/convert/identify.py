"""Guess which network of the tables arrays belong to, from their names and shapes."""

from __future__ import annotations

import math
import re

from ibnnet_mx import models
from ibnnet_mx.convert import fill

PLACES = (r'stage(\d+)_unit(\d+)_', r'layer(\d+)\.(\d+)\.', r'denseblock(\d+)\.denselayer(\d+)\.')
HEAD = r'(^|[.:])(fc1_|(fc|classifier|linear|last_linear)\.)weight$'
SIGNS = {  # feature of a network: pattern of the names that only networks with this feature have
    'preact': r'bn_data_|bn_data\.',
    'se': r'se_fc1|se\.fc\.0',
    'a': r'_in1_|norm1\.IN|bn1\.IN',
    'b': r'_ibn1_|layer\d+\.\d+\.IN\.',
}


def model_of(arrays):
    """Return (models.Model, options of get_model) with exactly these parameters, or None.

    arrays: {key: array} under any names that convert.load takes.
    """
    units = _units(arrays)
    has = {sign: any(re.search(pattern, key) for key in arrays) for sign, pattern in SIGNS.items()}
    for name in _candidates(units):
        model = models.find(name)
        row = models.MODELS[model.family][1]
        of_row = {'preact': row.get('preact', False), 'se': bool(row.get('se'))}
        of_row.update({kind: row.get('ibn') == kind for kind in 'ab'})
        if model.shape.units == units and of_row == has:
            chosen = options(arrays)
            if fill.fits(models.create(name, **chosen), arrays):
                return model, chosen
    return None


def _units(arrays):
    """Return how many units each stage has."""
    for place in PLACES:
        places = {(int(m[1]), int(m[2])) for m in (re.search(place, key) for key in arrays) if m}
        if places:
            return tuple(sum(stage == s for stage, _ in places) for s in sorted({s for s, _ in places}))
    return ()


def _candidates(units):
    names = models.list_models()
    if len(units) == 3 and len(set(units)) == 1:
        families = [family for family in models.MODELS if family.startswith('cifar_')]
        depths = [layers * units[0] + 2 for layers in (6, 9)]
        valid = [d for d in depths if d >= 8 and (d >= 164) == (d == depths[1])]
        names = names + [models.full_name(family, depth) for family in families for depth in valid]
    return dict.fromkeys(names)


def options(arrays):
    """Return the options of get_model that follow from names and shapes."""
    options_found = {}
    ratio = _ratio(arrays)
    if ratio is not None:
        options_found['ibn_ratio'] = ratio
    stages = _stages(arrays)
    if stages is not None:
        options_found['ibn_stages'] = stages
    for key, array in arrays.items():
        if re.search(HEAD, key) and array.ndim:
            options_found['classes'] = len(array)
    options_found['w_d'] = any('conv01' in key for key in arrays)
    options_found.update(_norm(arrays))
    return options_found


def _norm(arrays):
    """Return norm and norm_args. 'in' also stands for 'ln' and 'gn', because their arrays are the same."""
    keys = [key for key in arrays if 'bn_data' not in key]
    has = {word: any(key.endswith(word) for key in keys) for word in ('_mean', '_var', 'iters')}
    for key in keys:
        if key.endswith(('buffer_x2', 'pre_x2')) and arrays[key].ndim == 2:
            variant = 'cls' if key.endswith('pre_x2') else 'formal'
            return dict(norm='mabn', norm_args=dict(B=2, real_B=2 * len(arrays[key]), variant=variant))
    if has['_var'] and not has['_mean']:
        moment = next(arrays[key] for key in keys if key.endswith('_var'))
        return dict(norm='mabn', norm_args=dict(variant='formal' if moment.ndim == 4 else 'cls'))
    if not has['_mean']:
        return dict(norm='in')
    return dict(norm='brn') if has['iters'] else {}


def _stages(arrays):
    """Return the stages that have IBN; None if there are none, or the usual ones."""
    count = len(_units(arrays))
    for kind in 'ab':
        stages = set()
        for key in arrays:
            place = next((m for m in (re.search(pattern, key) for pattern in PLACES) if m), None)
            if place and re.search(SIGNS[kind], key):
                stages.add(int(place[1]))
        if stages and tuple(sorted(stages)) != models.usual_ibn_stages(kind, count):
            return tuple(sorted(stages))
    return None


def _ratio(arrays):
    """Return the IBN ratio with the fewest digits that gives these halves; None if it is the usual one, or no IBN."""
    halves = []  # (all channels of an IBN, channels of its first half)
    dense = any(re.search(r'transition|denseblock', key) for key in arrays)
    for key, array in arrays.items():
        place = re.fullmatch(r'(.*_)in1_gamma|(.*\.(?:bn|norm)1\.)IN\.weight', key)
        partner = place and (f'{place[1]}bn1_gamma' if place[1] else f'{place[2]}BN.weight')
        if place and partner in arrays and array.ndim == arrays[partner].ndim == 1:
            halves.append((len(array) + len(arrays[partner]), len(arrays[partner] if dense else array)))
    if not halves:
        return None
    low, high = max(first / c for c, first in halves), min((first + 1) / c for c, first in halves)
    usual = 0.6 if dense else 0.5
    for share in (usual, *(math.ceil(low * 10**digits) / 10**digits for digits in range(1, 7))):
        if low <= share < high:
            return None if share == usual else round(1 - share, 6) if dense else share
    return None
