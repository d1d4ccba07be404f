"""Other readers, each in an environment of its own with exact versions."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks import environments


class Peer(NamedTuple):
    """files: requirements, installed one after the other into the environment."""

    label: str
    environment: str
    files: tuple[str, ...]
    script: str
    variant: str = ''


PEERS = {
    'tfdata_matrix': Peer('tf.data, colour matrix', 'tfdata', ('tfdata',), 'read_tfdata.py', 'matrix'),
    'tfdata_hsv': Peer('tf.data, adjust_hue and adjust_saturation', 'tfdata', ('tfdata',), 'read_tfdata.py', 'hsv'),
    'dali': Peer('DALI on the CPU, image_slice, hsv', 'dali', ('dali',), 'read_dali.py'),
    'ffcv': Peer('FFCV, colour matrix in numba', 'torch', ('torch', 'ffcv'), 'read_ffcv.py'),
    'torchvision_matrix': Peer('torchvision.io, colour matrix', 'torch', ('torch',), 'read_torchvision.py', 'matrix'),
    'torchvision_io': Peer('torchvision.io, ColorJitter', 'torch', ('torch',), 'read_torchvision.py', 'io'),
    'torchvision_pil': Peer('torchvision, PIL, ColorJitter', 'torch', ('torch',), 'read_torchvision.py', 'pil'),
}


def install(name, folder, tell):
    """(the peer's Python, None), or (None, why it cannot be had)."""
    peer = PEERS[name]
    return environments.install(peer.environment, peer.files, folder, tell)
