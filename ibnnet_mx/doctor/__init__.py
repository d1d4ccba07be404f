"""Findings about this machine: what it offers to ibnnet_mx, what is wrong with it, and the way out. No mxnet."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Iterator, NamedTuple

from ibnnet_mx import _env, _limits
from ibnnet_mx.distributed import address, job
from ibnnet_mx.errors import Stopped
from ibnnet_mx.recordio.fast import native

LIMIT = 120  # seconds that mxnet may take to begin; a wrong DMLC_ variable makes it wait for ever
PATIENCE = 5  # with a scheduler
DISK, MEMORY = 2.0, 2.0  # GB that a small run needs
PACKAGES = {  # optional packages: the options that need them, and the command that installs them
    'matplotlib': ('`plot`, `profile` FILE.png and curves', 'pip install matplotlib'),
    'tensorboardX': ('`tensorboard`', 'pip install tensorboardX'),
    'onnx': ('ONNX files', "pip install 'onnx<1.19' onnxruntime 'protobuf<7'"),
    'safetensors': ('.safetensors files', 'pip install safetensors'),
}
PROBE = """
import json
from ibnnet_mx import operators
import mxnet as mx
fused = operators.fused()
refused = not fused and operators.LIBRARY.is_file() and operators.libmxnet.refusal(operators.LIBRARY)
x = mx.nd.ones((2, 2))
cuda = mx.runtime.Features().is_enabled('CUDA')
print(json.dumps(dict(sum=float((x @ x if hasattr(x, '__matmul__') else mx.nd.dot(x, x)).sum().asscalar()), fused=fused,
    refused=refused, winograd=operators.winograd(), cuda=cuda, gpus=mx.context.num_gpus() if cuda else 0)))
"""


class Finding(NamedTuple):
    """One line about the machine. way_out: '' if nothing is wrong. stops: True if training cannot work with it."""

    text: str
    way_out: str = ''
    stops: bool = False

    def lines(self) -> Iterator[str]:
        """Yield the finding as text, then its way out."""
        mark = '  ok' if not self.way_out else 'STOP' if self.stops else 'note'
        yield f'{mark}  {self.text}'
        if self.way_out:
            yield f'      -> {self.way_out}'


def find_environment() -> Iterator[Finding]:
    """Look at versions, threads, AMX, CUDA libraries and bfloat16."""
    for line in _env.report():
        missing = 'mxnet missing' in line
        lost = line.startswith('CUDA libraries: not found')
        brings = f"pip install {_env.EDITABLE}'{_env.PACKAGE}[gpu]' brings them"
        way_out = _env.MXNET if missing else brings if lost else ''
        yield Finding(line, way_out, missing or lost)
    kinds = {
        'fast': ('bfloat16: in hardware', ''),
        'slow': ('bfloat16: by float32 instructions', '`dtype` bfloat16 will be slower than float32 here'),
        'no': ('bfloat16: not there', '`dtype` bfloat16 needs a processor with AVX-512'),
    }
    yield Finding(*kinds[_env.bfloat16()])


def find_mxnet() -> Iterator[Finding]:
    """Try mxnet in a process of its own, which it may end or keep for ever."""
    words = [sys.executable, '-c', PROBE]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        free = _limits.free_memory() / 1e9
        if free < MEMORY:
            why = f'mxnet does not begin within {LIMIT} seconds: only {free:.1f} GB of memory are available'
            yield Finding(why, 'stop other programs, or raise the limit of the container', True)
            return
        wrong = ', '.join(f'{name}={value}' for name, value in sorted(os.environ.items()) if name.startswith('DMLC_'))
        way_out = f'unset {wrong}' if wrong else 'look for a file lock or a full disk'
        yield Finding(f'mxnet does not begin within {LIMIT} seconds', way_out, True)
        return
    complaints = [line for line in done.stderr.splitlines() if line.strip()]
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        why = complaints[-1] if complaints else f'it ended with {done.returncode}'
        yield Finding(
            f'mxnet cannot be used: {why}', "install it anew: pip install -c constraints.txt -e '.[cpu]'", True
        )
        return
    if answer['sum'] != 8.0:
        yield Finding(f'mxnet computes 2 x 2 matrices wrongly: {answer["sum"]}', 'install it anew', True)
    build = 'ibnnet build operators (it needs g++)'
    if answer['fused']:
        tiles = ', convolutions in tiles' if answer['winograd'] else ''
        yield Finding(f'operators in C++: there{tiles}')
    elif os.environ.get('IBNNET_MX_NATIVE') == '0':
        yield Finding('operators in C++: left out, as IBNNET_MX_NATIVE=0 said')
    elif answer.get('refused'):
        yield Finding(f'operators in C++: refused, training steps take longer: {answer["refused"]}', build)
    else:
        yield Finding('operators in C++: not there, training steps take longer', build)
    yield Finding(f'GPUs that mxnet sees: {answer["gpus"]}' if answer['cuda'] else 'GPUs: this mxnet is for the CPU')


def find_readers() -> Iterator[Finding]:
    """Look at the C reader and at optional packages."""
    about = native.about()
    yield Finding(about, '' if 'in C' in about else 'ibnnet build reader (it needs gcc)')
    for name, (lack, way_out) in PACKAGES.items():
        installed = find_spec(name) is not None
        yield Finding(f'{name}: {"there" if installed else f"missing, no {lack}"}', '' if installed else way_out)


def find_room(folder: str) -> Iterator[Finding]:
    """Look at the disk of a folder, and at the memory."""
    try:
        place = next(path for path in (Path(folder).resolve(), *Path(folder).resolve().parents) if path.is_dir())
        free = shutil.disk_usage(place).free / 1e9
    except OSError as error:
        yield Finding(f'{folder}: {error.strerror}', 'name another with `folder`', True)
        return
    writable = os.access(place, os.W_OK)
    yield Finding(f'{place}: {free:.1f} GB free', '' if free > DISK else f'make room: checkpoints need {DISK:g} GB')
    if not writable:
        yield Finding(f'{place}: no permission to write', 'train elsewhere, or name another with `folder`', True)
    available = _limits.free_memory() / 1e9
    way_out = '' if available > MEMORY else 'stop other programs; `batch_size`, `accumulate` and `memonger` need less'
    yield Finding(f'{available:.1f} GB of memory available', way_out)


def find_cluster() -> Iterator[Finding]:
    """Look at the job that the DMLC_ variables name."""
    if not any(name.startswith('DMLC_') for name in os.environ):
        yield Finding('several machines: no DMLC_ variable is set, so this is a run of one')
        return
    way_out = 'ibnnet launch sets them; by hand: docs/distributed.md'
    try:
        part = address.resolve(job.read_job(who='several machines'), PATIENCE, dict(os.environ))
        job.find_scheduler(part, PATIENCE)
    except (ValueError, Stopped) as error:
        yield Finding(str(error), way_out, True)
    else:
        yield Finding(f'the scheduler {part.scheduler} answers; {part.workers} workers, {part.servers} servers')


def findings(folder: str) -> Iterator[Finding]:
    """Yield every Finding. folder: the folder that checkpoints will be written to."""
    for part in (find_environment, find_mxnet, find_readers, lambda: find_room(folder), find_cluster):
        yield from part()
