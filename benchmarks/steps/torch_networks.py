"""The same networks in torch: torchvision's with IBN in the place of some norms, and a CIFAR ResNet.

IBN-a as in XingangPan/IBN-Net: the first norm of each residual unit in all stages but the last, and of every third
unit of a DenseNet's. The parameters of ours and of these are as many, unit by unit.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torchvision.models.densenet import DenseNet
from torchvision.models.resnet import Bottleneck, ResNet

SE_REDUCTION, DENSE_RATIO = 16, 0.4
RESNETS = {  # units of the stages, and what differs
    'resnet50': ((3, 4, 6, 3), {}),
    'resnet101': ((3, 4, 23, 3), {}),
    'resnet152': ((3, 8, 36, 3), {}),
    'resnet200': ((3, 24, 36, 3), {}),
    'se_resnet50': ((3, 4, 6, 3), {}),
    'resnext50': ((3, 4, 6, 3), dict(groups=32, width_per_group=4)),
}


class IBN(nn.Module):
    """InstanceNorm of some channels, BatchNorm of the others; (N, C, H, W) -> the same. arXiv:1807.09441.

    ratio: InstanceNorm's share. Both halves are made contiguous, as the authors' code does.
    """

    def __init__(self, channels, ratio=0.5, batch_first=False):
        super().__init__()
        self.cut = int(channels * round(1 - ratio if batch_first else ratio, 9))
        self.batch_first = batch_first
        sizes = self.cut, channels - self.cut
        instance, batch = reversed(sizes) if batch_first else sizes
        self.IN = nn.InstanceNorm2d(instance, affine=True)
        self.BN = nn.BatchNorm2d(batch)

    def forward(self, x):
        first, second = (part.contiguous() for part in torch.split(x, (self.cut, x.shape[1] - self.cut), 1))
        halves = (self.BN(first), self.IN(second)) if self.batch_first else (self.IN(first), self.BN(second))
        return torch.cat(halves, 1)


class SqueezeExcite(nn.Module):
    """x * sigmoid(fc2(relu(fc1(mean of x)))), no biases. arXiv:1709.01507."""

    def __init__(self, channels, reduction=SE_REDUCTION):
        super().__init__()
        mid = channels // reduction
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channels, mid, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(mid, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return x * self.fc(self.mean(x).flatten(1))[:, :, None, None]


def conv3x3(cin, cout, stride=1):
    return nn.Conv2d(cin, cout, 3, stride, 1, bias=False)


class CifarUnit(nn.Module):
    """relu(shortcut(x) + bn2(conv2(relu(bn1(conv1(x)))))), a projected shortcut where the shape changes."""

    def __init__(self, cin, cout, stride, ibn):
        super().__init__()
        self.conv1, self.bn1 = conv3x3(cin, cout, stride), IBN(cout) if ibn else nn.BatchNorm2d(cout)
        self.conv2, self.bn2 = conv3x3(cout, cout), nn.BatchNorm2d(cout)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Identity()
        if cin != cout:
            self.downsample = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += self.downsample(x)
        return self.relu(y)


class CifarResNet(nn.Module):
    """arXiv:1512.03385, 4.2, with `units` units a stage: (N, 3, 32, 32) -> logits (N, 10)."""

    def __init__(self, units, ibn):
        super().__init__()
        self.conv1, self.bn1, self.relu = conv3x3(3, 16), nn.BatchNorm2d(16), nn.ReLU(inplace=True)
        cin = 16
        for number, cout in enumerate((16, 32, 64), 1):
            stage = nn.Sequential()
            for unit in range(units):
                stage.append(CifarUnit(cin, cout, 2 if number > 1 and unit == 0 else 1, ibn and number < 3))
                cin = cout
            setattr(self, f'layer{number}', stage)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(cin, 10)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.avgpool(x).flatten(1))


class Checkpointed(nn.Module):
    """unit(x), computed once more in the backward pass in the place of kept activations."""

    def __init__(self, unit):
        super().__init__()
        self.unit = unit

    def forward(self, x):
        return checkpoint(self.unit, x, use_reentrant=False)


def resnet(name, ibn, less_memory):
    units, changes = RESNETS[name]
    net = ResNet(Bottleneck, list(units), **changes)
    for number in range(1, 5):
        stage = getattr(net, f'layer{number}')
        for i, unit in enumerate(stage):
            if ibn and number < 4:
                unit.bn1 = IBN(unit.bn1.num_features)
            if name.startswith('se_'):
                unit.bn3 = nn.Sequential(unit.bn3, SqueezeExcite(unit.bn3.num_features))
            if less_memory:
                stage[i] = Checkpointed(unit)
    return net


def densenet(ibn, less_memory):
    net = DenseNet(32, (6, 12, 24, 16), 64, memory_efficient=less_memory)
    for block in ('denseblock1', 'denseblock2', 'denseblock3') if ibn else ():
        for unit in list(getattr(net.features, block).values())[::3]:
            unit.norm1 = IBN(unit.norm1.num_features, DENSE_RATIO, batch_first=True)
    return net


def build(name, less_memory=False):
    """The network of one of our names. less_memory: a checkpoint for each unit."""
    base = name[: -len('_ibn_a')] if name.endswith('_ibn_a') else name
    ibn = base != name
    if base == 'cifar_resnet20':
        return CifarResNet(3, ibn)
    return densenet(ibn, less_memory) if base == 'densenet121' else resnet(base, ibn, less_memory)
