"""Other readers, each in an environment of its own with exact versions; one that cannot be had is told and left out."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent / 'peer_scripts'
LIMIT = 1800  # seconds that an installation may take


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


def last_error(text):
    """The line of a program's output that says best what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ['nothing was said']
    telling = [line for line in lines if 'Error' in line or line.startswith('ERROR')]
    return (telling or lines)[-1][:200]


def _run(*words):
    """None where it worked, else why not."""
    clean = {name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'VIRTUAL_ENV')}
    try:
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=clean, timeout=LIMIT
        )
    except subprocess.TimeoutExpired:
        return f'it took more than {LIMIT} seconds'
    return None if done.returncode == 0 else _why(done.stdout)


def _why(said):
    """pip's own last word is that a wheel failed; what the build said comes before."""
    telling = [line.strip() for line in said.splitlines() if 'Error: ' in line and 'subprocess' not in line]
    return telling[-1][:200] if telling else last_error(said)


def install(name, folder, tell):
    """(the peer's Python, None), or (None, why it cannot be had). What is there already is not touched."""
    peer = PEERS[name]
    place = Path(folder).absolute() / peer.environment
    python = place / 'bin' / 'python'
    for step in peer.files:
        file = HERE / 'requirements' / f'{step}.txt'
        done = place / f'{step}-{hashlib.sha256(file.read_bytes()).hexdigest()[:12]}.done'
        if done.exists():
            continue
        tell(f'installing {step} for {name} in {place}')
        if not python.exists():
            error = _run(sys.executable, '-m', 'venv', str(place))
            if error:
                return None, f'no environment: {error}'
        error = _run(str(python), '-m', 'pip', 'install', '--disable-pip-version-check', '--no-deps', '-r', str(file))
        if error:
            return None, error
        done.touch()
    return str(python), None
