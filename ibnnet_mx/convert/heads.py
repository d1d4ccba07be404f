"""Classifiers and necks that checkpoints of other code keep outside of the body: head.fc.*, heads.*, bottleneck.*."""

from __future__ import annotations

import re

WORDS = (  # first words of names that are no body, in a file whose body has no prefix
    'bottleneck|bnneck|neck|heads?|head_\\w+|classifiers?(_\\w+)?|cls_head|fc\\d?|bn_neck|feat_bn|feat|margin|arcface|'
    'cosface|embedding|proj|projection|projector|predictor|aux_classifier|AuxLogits|metric_fc|loss\\w*|criterion\\w*'
)
CLASSIFIER = re.compile(r'(^|\.)(fc|fc1|classifier|linear|last_linear|cls)\.(weight|bias)$')


def split(prefix: str, keys: list[str]) -> tuple[list[str], list[str]]:
    """Return the keys of the body and those of heads. prefix: of the body's keys in the file."""
    outside = re.compile(rf'(?!{re.escape(prefix)})' if prefix else rf'({WORDS})(\.|$)')
    heads = [key for key in keys if outside.match(key)]
    return [key for key in keys if key not in set(heads)], heads


def classifier_of(keys: list[str], shapes: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]]) -> dict:
    """Return {our name: key} if the keys outside of the body are a plain classifier that fits, else {}.

    wanted: {'fc1_weight': shape, 'fc1_bias': shape} of the network. With more than weight and bias, such as a neck
    before it, its logits would be others.
    """
    ends = {'fc1_weight': 'weight', 'fc1_bias': 'bias'}
    modules = {key.rpartition('.')[0] for key in keys}
    if len(keys) != len(wanted) or len(modules) != 1 or not all(map(CLASSIFIER.search, keys)):
        return {}
    chosen = {name: key for name in wanted for key in keys if key.endswith(f'.{ends[name]}')}
    fits = all(
        shapes[key][1:] == wanted[name][1:] for name, key in chosen.items()
    )  # the classes may differ, told later
    return chosen if fits and len({shapes[key][:1] for key in keys}) == 1 else {}


def describe(keys: list[str]) -> str:
    """Return a line about keys that are left out."""
    shown = ', '.join(sorted(keys)[:3]) + (', ...' if len(keys) > 3 else '')
    return f'{len(keys)} arrays outside of the body are left out: {shown}'
