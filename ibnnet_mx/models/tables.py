"""The tables of networks, read from top to bottom. No mxnet."""

from __future__ import annotations

import difflib
import fnmatch
import re
from typing import Any, NamedTuple

from ibnnet_mx.errors import OptionError
from ibnnet_mx.models import published
from ibnnet_mx.norm.table import WORKSPACE


class Pixels(NamedTuple):
    """The normalisation of a network's input: RGB planes, (value - mean) / std with values of 0..255."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Shape(NamedTuple):
    """The stem and stages of a network.

    units: of each stage. widths: channels after the stem and each stage; of a DenseNet, the stem's and the growth.
    """

    stem: str
    unit: str
    units: tuple[int, ...]
    widths: tuple[int, ...]


class Model(NamedTuple):
    """A row of the table of networks. pixels: normalisation; size (pixels) and classes: those of the original."""

    name: str
    family: str
    depth: int
    shape: Shape
    pixels: Pixels
    size: int
    classes: int


RAW = Pixels((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
IMAGENET = Pixels((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))  # 255 x torchvision's mean and std

# v1: arXiv:1512.03385 as in XingangPan/IBN-Net (stride on the 3x3, He by fan-out, torch's eps); a shortcut has a
# convolution only if the shape changes. v1a: option A of that paper, strided identities padded with zero channels.
# v2: arXiv:1603.05027 as in tornadomeet/ResNet (bn_data, He by fan-in, eps 2e-5); a convolution in the
# shortcut of each stage's first unit.
V1 = dict(eps=1e-5, init='fan_out', pixels=IMAGENET)
V2 = dict(eps=2e-5, init='fan_in', pixels=RAW, preact=True)
VERSIONS: dict[str, dict[str, Any]] = {'': V1, '_v1a': dict(V1, pad=True), '_v2': V2}
IBNS: dict[str, dict[str, Any]] = {'': {}, '_ibn_a': dict(ibn='a'), '_ibn_b': dict(ibn='b')}  # arXiv:1807.09441

DEPTHS = (18, 34, 50, 101, 152, 200, 269)
CIFAR_DEPTHS = (20, 32, 44, 56, 110, 164, 1001)  # list_models() names these; any 6n+2 or 9n+2 can be built


class Row(NamedTuple):
    """A kind of network: class in nets.py, depths, possible endings of its names, its options beyond the plain net."""

    net: str
    depths: tuple[int, ...]
    versions: tuple[str, ...]
    ibns: tuple[str, ...]
    options: dict[str, Any]


ROWS = {
    'resnet': Row('ResNet', DEPTHS, ('', '_v2'), ('', '_ibn_a', '_ibn_b'), {}),
    'resnext': Row('ResNet', (50, 101, 152), ('', '_v2'), ('', '_ibn_a', '_ibn_b'), dict(groups=32)),  # 1611.05431
    'se_resnet': Row('ResNet', (50, 101, 152), ('', '_v2'), ('', '_ibn_a', '_ibn_b'), dict(se=16)),  # arXiv:1709.01507
    'se_resnext': Row('ResNet', (50, 101), ('', '_v2'), ('', '_ibn_a', '_ibn_b'), dict(groups=32, se=16)),
    # arXiv:1608.06993; torch's initial weights, and IBN whose first 0.6 is BatchNorm, both as in XingangPan/IBN-Net
    'densenet': Row(
        'DenseNet', (121, 161, 169, 201), ('',), ('', '_ibn_a'), dict(init='torch', ibn_ratio=0.4, batch_first=True)
    ),
    'cifar_resnet': Row('ResNet', CIFAR_DEPTHS, ('', '_v1a', '_v2'), ('', '_ibn_a', '_ibn_b'), {}),
}
MODELS = {  # family, such as 'resnet_v2_ibn_a': (class in nets.py, its options)
    f'{base}{version}{ibn}': (row.net, dict(VERSIONS[version], **dict(row.options, **IBNS[ibn])))
    for base, row in ROWS.items()
    for version in row.versions
    for ibn in row.ibns
}
NO_ORIGINAL = (  # no published code exists for families with one of these in their name
    'se_resnext',
    'resnext_v2',
    'se_resnet_v2',
    'resnext_ibn_b',
    'se_resnet_ibn_b',
    'cifar_resnet_ibn',
    'v1a_ibn',
    'v2_ibn_b',
)

UNITS = {  # depth: (kind of unit, units of each stage)
    18: ('basic', (2, 2, 2, 2)),
    34: ('basic', (3, 4, 6, 3)),
    50: ('bottleneck', (3, 4, 6, 3)),
    101: ('bottleneck', (3, 4, 23, 3)),
    152: ('bottleneck', (3, 8, 36, 3)),
    200: ('bottleneck', (3, 24, 36, 3)),
    269: ('bottleneck', (3, 30, 48, 8)),
    121: ('dense', (6, 12, 24, 16)),
    161: ('dense', (6, 12, 36, 24)),
    169: ('dense', (6, 12, 32, 32)),
    201: ('dense', (6, 12, 48, 32)),
}
WIDTHS = {'basic': (64, 64, 128, 256, 512), 'bottleneck': (64, 256, 512, 1024, 2048), 'dense': (64, 32)}
CIFAR_WIDTHS = {'basic': (16, 16, 32, 64), 'bottleneck': (16, 64, 128, 256)}

DROPOUT = 0.2  # share of the embedding that is dropped with w_d, as in bruinxiong/IBN-Net.mxnet
OPTIONS = dict(  # of every network, besides those of its row
    norm='bn',  # or another of NORMS
    norm_args=None,  # arguments of the norm; those of NORMS if not given
    norm_batch_size=None,  # pictures that are normalised together; None: the whole batch
    bn_mom=0.9,  # share of the old value in BatchNorm's running statistics
    workspace=WORKSPACE,  # MB for a convolution on a GPU
    zero_gamma=False,  # the last norm of each unit starts at zero, arXiv:1706.02677; v1 only
    ibn_ratio=None,  # InstanceNorm's share of the channels in IBN-a; None: as in the original, 0.5 (DenseNet 0.4)
    ibn_stages=None,  # stages that have IBN, from 1; None: as in the original, all but the last, IBN-b the first two
    w_d=False,  # stem of three 3x3, 3x3 in the strided shortcuts, DROPOUT before the classifier; residual nets
    dtype='float32',  # or 'bfloat16': convolutions and dense layers in training; parameters stay float32
    last_stride=2,  # 1: the last stage keeps the map size, as re-identification needs it; residual nets
)


def usual_ibn_stages(ibn: str | None, stages: int) -> tuple[int, ...]:
    """Return the stages with IBN in the original (arXiv:1807.09441, 4.1), from 1: IBN-a all but the last, IBN-b two."""
    return {'a': tuple(range(1, stages)), 'b': (1, 2)}.get(ibn or '', ())


def base_of(family: str) -> str:
    """Return the name of a family's row: 'se_resnet_v2_ibn_a' -> 'se_resnet'."""
    return next(base for base in ROWS if re.fullmatch(f'{base}(_v.*|_ibn_.*)?', family))


def shape_of(family: str, depth: int) -> Shape:
    """Return the Shape of a family at a depth. Raises OptionError, which lists the depths."""
    base = base_of(family)
    if base.startswith('cifar_'):
        unit, layers = ('bottleneck', 9) if depth >= 164 else ('basic', 6)
        if depth < 8 or (depth - 2) % layers:
            raise OptionError(
                'depth', depth, 'is not a cifar10 depth: use 6n+2 below 164 (20, 56, 110) or 9n+2 from 164 (164, 1001)'
            )
        return Shape('cifar', unit, ((depth - 2) // layers,) * 3, CIFAR_WIDTHS[unit])
    depths = ROWS[base].depths
    if depth not in depths:
        raise OptionError('depth', depth, f'is not a depth of {family}: use one of {", ".join(map(str, depths))}')
    unit, units = UNITS[depth]
    return Shape('imagenet', unit, units, (96, 48) if depth == 161 else WIDTHS[unit])


def full_name(family: str, depth: int) -> str:
    """Return 'resnet50_v2_ibn_a' for 'resnet_v2_ibn_a' and 50: the depth follows the row's name."""
    base = base_of(family)
    return f'{base}{depth}{family[len(base) :]}'


def split_name(name: str) -> tuple[str, int | None]:
    """Return ('resnet_v2_ibn_a', 50) for 'resnet50_v2_ibn_a', and None as the depth of a family's name.

    Names of other libraries are understood too: torchvision's resnext50_32x4d, GluonCV's resnet50_v1b.
    """
    name = re.sub(r'^((?:se_)?resnext\d*)_32x4d', r'\1', name)
    name = re.sub(r'^(resnet\d*)_v1b', r'\1', name)
    parts = re.fullmatch(r'(\w*?ne(?:t|xt))(\d*)(.*)', name, re.DOTALL)
    if parts is None:
        return name, None
    head, depth, tail = parts.groups()
    return head + tail, int(depth) if depth else None


def find(name: str, depth: int | None = None) -> Model:
    """Return the model of a full name ('resnet50_ibn_a'), or of a family and a depth ('resnet_ibn_a', 50).

    Raises OptionError for an unknown family, a missing depth, or a depth that contradicts the name.
    """
    family, depth_of_name = split_name(name)
    if family not in MODELS:
        near = difflib.get_close_matches(name, [*MODELS, *list_models()], n=3)
        hint = f'did you mean {", ".join(near)}?' if near else f'there are {", ".join(MODELS)}'
        raise OptionError('model', name, f'is not known: {hint}')
    if depth_of_name is not None and depth is not None and depth_of_name != depth:
        raise OptionError('depth', depth, f'contradicts `model` {name}: give one of them')
    depth = depth_of_name if depth_of_name is not None else depth
    if depth is None:
        raise OptionError('model', name, f'needs a depth: {full_name(family, 50)}, or `depth` 50')
    shape = shape_of(family, depth)
    size, classes = (32, 10) if shape.stem == 'cifar' else (224, 1000)
    return Model(full_name(family, depth), family, depth, shape, MODELS[family][1]['pixels'], size, classes)


def list_models(filter: str = '*', pretrained: bool = False) -> list[str]:
    """Return the full names of the networks that create() builds. CIFAR networks are named at their usual depths.

    filter: a pattern such as 'resnet*_ibn_a'. pretrained: only networks whose weights are published.
    """
    names = [full_name(family, depth) for family in MODELS for depth in ROWS[base_of(family)].depths]
    chosen = [name for name in names if fnmatch.fnmatchcase(name, filter)]
    return [name for name in chosen if name in published.names()] if pretrained else chosen


def has_original(family: str) -> bool:
    """Return True if published code or weights exist for a family, which the tests compare it with."""
    return not any(part in family for part in NO_ORIGINAL)


def placement(model: Model, row: dict[str, Any], ratio: float | None, stages: Any) -> dict[str, Any]:
    """Return ibn_ratio and ibn_stages of a network: the given values, else those of the original.

    A plain network has None and (). create() takes these values back, because a checkpoint records them.
    """
    has_ratio = row.get('ibn') == 'a'
    if ratio is not None and not has_ratio:
        raise OptionError('ibn_ratio', ratio, f': {model.name} has no IBN-a; leave this option out')
    if stages and not row.get('ibn'):
        raise OptionError('ibn_stages', tuple(stages), f': {model.name} is not an IBN network; leave this option out')
    return {
        'ibn_ratio': row.get('ibn_ratio', 0.5) if has_ratio and ratio is None else ratio,
        'ibn_stages': usual_ibn_stages(row.get('ibn'), len(model.shape.units)) if stages is None else stages,
    }
