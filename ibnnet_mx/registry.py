"""Which networks there are: tables read top to bottom. Pure Python; mxnet comes in only with get_model()."""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple


class Pixels(NamedTuple):
    """What a network is fed: RGB planes, (value - mean) / std with values of 0..255."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Shape(NamedTuple):
    """Stem and stages of a residual net; widths[0] is the stem's output, widths[1:] the stages'."""

    stem: str
    unit: str
    units: tuple[int, ...]
    widths: tuple[int, ...]


class Model(NamedTuple):
    """One network: full name, family, depth, its shape, its pixel convention, its usual size and class count."""

    name: str
    family: str
    depth: int
    shape: Shape
    pixels: Pixels
    size: int
    classes: int


RAW = Pixels((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
IMAGENET = Pixels((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # 255 x torchvision's mean and std

# v1: arXiv:1512.03385 as in XingangPan/IBN-Net (stride on the 3x3, He by fan-out, torch's eps); projects where the
# shape changes.
# v2: arXiv:1603.05027 as in tornadomeet/ResNet (bn_data, He by fan-in, eps 2e-5); projects at the start of every stage.
V1 = dict(preact=False, eps=1e-5, fan='out', pixels=IMAGENET)
V2 = dict(preact=True, eps=2e-5, fan='in', pixels=RAW)

MODELS: dict[str, tuple[str, dict[str, Any]]] = {  # family: (net, what differs from the plain net)
    'resnet': ('ResNet', dict(V1)),
    'resnet_ibn_a': ('ResNet', dict(V1, ibn='a')),
    'resnet_ibn_b': ('ResNet', dict(V1, ibn='b')),
    'resnet_v2': ('ResNet', dict(V2)),
    'resnet_v2_ibn_a': ('ResNet', dict(V2, ibn='a')),
    'resnet_v2_ibn_b': ('ResNet', dict(V2, ibn='b')),
    'cifar_resnet': ('ResNet', dict(V1)),
    'cifar_resnet_ibn_a': ('ResNet', dict(V1, ibn='a')),
    'cifar_resnet_ibn_b': ('ResNet', dict(V1, ibn='b')),
    'cifar_resnet_v2': ('ResNet', dict(V2)),
    'cifar_resnet_v2_ibn_a': ('ResNet', dict(V2, ibn='a')),
    'cifar_resnet_v2_ibn_b': ('ResNet', dict(V2, ibn='b')),
}

DEPTHS = {  # units of the four ImageNet stages
    18: ('basic', (2, 2, 2, 2)),
    34: ('basic', (3, 4, 6, 3)),
    50: ('bottleneck', (3, 4, 6, 3)),
    101: ('bottleneck', (3, 4, 23, 3)),
    152: ('bottleneck', (3, 8, 36, 3)),
    200: ('bottleneck', (3, 24, 36, 3)),
    269: ('bottleneck', (3, 30, 48, 8)),
}
WIDTHS = {'basic': (64, 64, 128, 256, 512), 'bottleneck': (64, 256, 512, 1024, 2048)}
CIFAR_DEPTHS = (20, 32, 44, 56, 110, 164, 1001)  # those that list_models() names; any 6n+2 or 9n+2 builds
CIFAR_WIDTHS = {'basic': (16, 16, 32, 64), 'bottleneck': (16, 64, 128, 256)}

NORMS = ('bn', 'in')


def shape_of(family: str, depth: int) -> Shape:
    """Stem, unit and stages of a family at a depth; ValueError names --depth and the depths that exist."""
    if family.startswith('cifar_'):
        unit, layers = ('bottleneck', 9) if depth >= 164 else ('basic', 6)
        if depth < 8 or (depth - 2) % layers:
            raise ValueError(
                f'--depth {depth} is no cifar10 depth: use 6n+2 below 164 (20, 56, 110) or 9n+2 from 164 on (164, 1001)'
            )
        return Shape('cifar', unit, ((depth - 2) // layers,) * 3, CIFAR_WIDTHS[unit])
    if depth not in DEPTHS:
        raise ValueError(f'--depth {depth} is no ImageNet depth: use one of {", ".join(map(str, DEPTHS))}')
    unit, units = DEPTHS[depth]
    return Shape('imagenet', unit, units, WIDTHS[unit])


def full_name(family: str, depth: int) -> str:
    """'resnet_v2_ibn_a', 50 -> 'resnet50_v2_ibn_a': the depth follows the word that ends in 'net'."""
    head, net, tail = family.partition('net')
    return f'{head}{net}{depth}{tail}'


def split_name(name: str) -> tuple[str, int | None]:
    """'resnet50_v2_ibn_a' -> ('resnet_v2_ibn_a', 50); a family's name has no depth."""
    head, net, rest = name.partition('net')
    tail = rest.lstrip('0123456789')
    digits = rest[: len(rest) - len(tail)]
    return head + net + tail, int(digits) if digits else None


def find(name: str, depth: int | None = None) -> Model:
    """The model of a full name ('resnet50_ibn_a'), or of a family and a depth ('resnet_ibn_a', 50).

    ValueError: a family that does not exist, no depth at all, or a depth beside a name that already holds another.
    """
    family, own = split_name(name)
    if family not in MODELS:
        near = difflib.get_close_matches(name, [*MODELS, *list_models()], n=3)
        hint = f'did you mean {", ".join(near)}?' if near else f'there are {", ".join(MODELS)}'
        raise ValueError(f'--model {name} is not known: {hint}')
    if own is not None and depth is not None and own != depth:
        raise ValueError(f'--depth {depth} contradicts --model {name}: give one of them')
    depth = own if own is not None else depth
    if depth is None:
        raise ValueError(f'--model {name} needs a depth: {full_name(family, 50)}, or --depth 50')
    shape = shape_of(family, depth)
    size, classes = (32, 10) if shape.stem == 'cifar' else (224, 1000)
    return Model(full_name(family, depth), family, depth, shape, MODELS[family][1]['pixels'], size, classes)


def list_models() -> list[str]:
    """Full names of the networks that get_model() builds (of the CIFAR nets the usual depths only)."""
    return [full_name(f, d) for f in MODELS for d in (CIFAR_DEPTHS if f.startswith('cifar_') else DEPTHS)]


def get_model(
    name: str,
    classes: int | None = None,
    depth: int | None = None,
    norm: str = 'bn',
    bn_mom: float = 0.9,
    workspace: int = 512,
    zero_gamma: bool = False,
):
    """An uninitialised HybridBlock: (N, 3, H, W) pixels as find(name).pixels says -> logits (N, classes).

    name: 'resnet50_ibn_a', or a family and depth=50; the original hub constructors' names work as they are.
    classes: 1000 for the ImageNet nets and 10 for the CIFAR nets where it is not given.
    net.initialize() draws the weights as the original does. ValueError: an unknown name, depth, norm or class count.
    """
    model = find(name, depth)
    if norm not in NORMS:
        raise ValueError(f'--norm {norm} is not known: use one of {", ".join(NORMS)}')
    classes = model.classes if classes is None else classes
    if classes < 1:
        raise ValueError(f'--num-classes {classes}: a network needs at least one class')
    from ibnnet_mx import nets  # late: tables are read without mxnet

    kind, options = MODELS[model.family]
    return nets.build(
        kind, model.shape, classes, dict(options, norm=norm, bn_mom=bn_mom, workspace=workspace, zero_gamma=zero_gamma)
    )
