"""The names of networks with weights: those that XingangPan/IBN-Net published, and our own. No mxnet."""

from __future__ import annotations

RELEASE = 'https://github.com/XingangPan/IBN-Net/releases/download/v1.0'
WEIGHTS = {  # model: first eight hex digits of the file's SHA-256, which are part of the file's name
    'resnet18_ibn_a': '2f571257',
    'resnet34_ibn_a': '94bc1577',
    'resnet50_ibn_a': 'd9d0bb7b',
    'resnet101_ibn_a': '59ea0ac6',
    'resnext101_ibn_a': '6ace051d',
    'se_resnet101_ibn_a': 'fabed4e2',
    'densenet121_ibn_a': 'e4af5cc1',
    'densenet169_ibn_a': '9f32c161',
    'resnet18_ibn_b': 'bc2f3c11',
    'resnet34_ibn_b': '04134c37',
    'resnet50_ibn_b': '9ca61e85',
    'resnet101_ibn_b': 'c55f6dba',
}
OWN = ('cifar_resnet20', 'cifar_resnet20_ibn_a')  # trained here; they come along in hub_weights/
ERRORS = {  # top-1 and top-5 in %, ImageNet validation, one centre crop of 224; the README of XingangPan/IBN-Net ...
    'resnet18_ibn_a': (29.17, 10.24),
    'resnet34_ibn_a': (25.78, 8.19),
    'resnet50_ibn_a': (22.54, 6.32),
    'resnet101_ibn_a': (21.39, 5.59),
    'resnext101_ibn_a': (20.88, 5.42),
    'se_resnet101_ibn_a': (21.25, 5.51),
    'densenet121_ibn_a': (24.47, 7.25),
    'densenet169_ibn_a': (23.25, 6.51),
    # ... and its plain networks, whose weights it does not publish
    'resnet18': (30.24, 10.92),
    'resnet34': (26.70, 8.58),
    'resnet50': (24.27, 7.08),
    'resnet101': (22.48, 6.23),
    'resnext101': (21.31, 5.74),
    'se_resnet101': (21.68, 5.88),
    'densenet121': (24.96, 7.85),
    'densenet169': (24.02, 7.06),
    # README of tornadomeet/ResNet
    'resnet18_v2': (30.48, 10.92),
    'resnet34_v2': (27.20, 8.86),
    'resnet50_v2': (24.39, 7.24),
    'resnet101_v2': (22.68, 6.58),
    'resnet152_v2': (22.25, 6.42),
    'resnet200_v2': (22.14, 6.16),
}


def names() -> tuple[str, ...]:
    """Return the models with weights."""
    return (*WEIGHTS, *OWN)


def file_name(model: str) -> str:
    """Return 'resnet50_ibn_a-d9d0bb7b.pth' for 'resnet50_ibn_a'. Raises ValueError if no weights are published."""
    if model not in WEIGHTS:
        raise ValueError(f'no weights of {model} are published, only those of {", ".join(names())}')
    return f'{model}-{WEIGHTS[model]}.pth'
