"""Translate parameter names: {our name: key elsewhere} for each layout that weights come in.

Our own names are those of tornadomeet/ResNet and bruinxiong/IBN-Net.mxnet (stage1_unit1_conv1_weight).
"""

from __future__ import annotations

import re

from ibnnet_mx.norm import PROGRESS, STATISTICS

# our name without its last word -> module of the original; applied top to bottom
RESNET = [  # XingangPan/IBN-Net, torchvision; neither has v2 networks, so 'norm.' before the head is our choice
    (r'^stage(\d+)_unit(\d+)_', lambda m: f'layer{m[1]}.{int(m[2]) - 1}.'),
    (r'^conv0_', 'conv1.'),
    (r'^bn0_', 'bn1.'),
    (r'^bn1_', 'norm.'),
    (r'^fc1_', 'fc.'),
    (r'\bse_fc(\d)_', lambda m: f'se.fc.{2 * int(m[1]) - 2}.'),
    (r'\bsc_bn_', 'downsample.1.'),
    (r'\bsc_', 'downsample.0.'),
    (r'\bibn1_', 'IN.'),
    (r'\bin1_', 'bn1.IN.'),
]
DENSENET = [
    (r'^stage(\d+)_unit(\d+)_', r'features.denseblock\1.denselayer\2.'),
    (r'^transition(\d)_bn_', r'features.transition\1.norm.'),
    (r'^transition(\d)_conv_', r'features.transition\1.conv.'),
    (r'^conv0_', 'features.conv0.'),
    (r'^bn0_', 'features.norm0.'),
    (r'^bn1_', 'features.norm5.'),
    (r'^fc1_', 'classifier.'),
    (r'\bin1_', 'norm1.IN.'),
    (r'\bbn(\d)_', r'norm\1.'),
]
TO_TORCH = {'gamma': 'weight', 'beta': 'bias'}
SAME = [  # other spellings of a key -> the usual one
    (r'^(arg|aux):', ''),
    (r'_moving_(mean|var)$', r'_running_\1'),
    (r'\.(norm|conv)\.(\d)\.', r'.\1\2.'),  # DenseNets of torchvision before 0.2
    (r'(^|\.)(?:linear|last_linear|classifier|fc)\.(weight|bias)$', r'\1fc.\2'),
]
STEM = ('conv0_weight', 'conv01_weight')


def substituted(text, table):
    for pattern, to in table:
        text = re.sub(pattern, to, text)
    return text


def _modules(names):
    """{our name: (module of the original, last word of our name)}."""
    table = DENSENET if any(n.startswith('transition') for n in names) else RESNET
    modules = {}
    words = '|'.join(('weight', 'bias', 'gamma', 'beta', *STATISTICS, *PROGRESS))
    for name in names:
        parts = re.fullmatch(rf'(.*?_)({words})', name)
        if parts is None:  # a name in a symbol from elsewhere
            modules[name] = '', name
            continue
        stem, word = parts.groups()
        module = substituted(stem, [*table, (r'_$', '.')])
        if stem.endswith('bn1_') and stem[:-4] + 'in1_gamma' in names:
            module += 'BN.'
        modules[name] = module, word
    return modules


def torch_keys(names):
    """Return {our name: key of PyTorch's state_dict}, without the counters num_batches_tracked."""
    return {name: module + TO_TORCH.get(word, word) for name, (module, word) in _modules(names).items()}


def gluon_keys(names):
    """Return {our name: key of GluonCV's save_parameters()}. GluonCV names modules as torchvision does."""
    return {name: module + word for name, (module, word) in _modules(names).items()}


def layouts(net, names):
    """Return the layouts {our name: key} that a source may have: ours, torch's, GluonCV's, and Gluon's for this net."""
    params = net.collect_params()
    structured = {param.name: key for key, param in net._collect_params_with_prefix().items()}
    ours = {name: name for name in names}
    return [ours, torch_keys(names), gluon_keys(names), {n: structured[n] for n in names if n in params}]


def plain(names):
    """Return the names of the plain network that an IBN network was made from."""
    plain_names = [n for n in names if '_in1_' not in n and '_ibn1_' not in n]
    normed = any(n.endswith('running_mean') and not n.startswith('bn_data') for n in plain_names)
    if normed and any('_ibn1_' in n for n in names):  # the stem of IBN-b has InstanceNorms
        gammas = [n for n in plain_names if re.match(r'bn0\d?_gamma', n)]
        plain_names += [n.replace('gamma', f'running_{word}') for n in gammas for word in ('mean', 'var')]
    return plain_names
