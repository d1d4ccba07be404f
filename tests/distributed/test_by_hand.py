"""Jobs that no launcher starts: a scheduler by its name, and the Slurm script of docs/distributed.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from ibnnet_mx.checkpoint import Store
from ibnnet_mx.distributed.launch import hosts
from tests.conftest import ROOT

FAKES = {  # what a machine with Slurm would have
    'scontrol': 'echo localhost; echo localhost',
    'srun': 'shift\nfor SLURM_PROCID in 0 1; do export SLURM_PROCID; "$@" & done; wait %1 && wait %2',
    'python': f'exec {sys.executable} "$@"',
    'ibnnet': f'exec {sys.executable} -m ibnnet_mx "$@"',
}
OPTIONS = '--data-type cifar10 --depth 8 --batch-size 8 --epochs 1 --checkpoint-batches 2 --retrain auto'


def test_the_slurm_script_of_the_page_runs(tmp_path, tiny_data):
    page = (ROOT / 'docs' / 'distributed.md').read_text(encoding='utf-8')
    script = re.search(r'### Slurm\n\n```bash\n(.*?)```', page, re.DOTALL)[1]
    for old, new in (
        ('=9091', f'={hosts.free_port()}'),
        ('NUM_WORKER=4', 'NUM_WORKER=2'),
        ('NUM_SERVER=4', 'NUM_SERVER=2'),
        ('--depth 50 --data-dir /data/imagenet', f'--data-dir {tiny_data}'),
        ('--model-prefix /shared/model/r50 --checkpoint-batches 500 --retrain auto', f'--model-prefix net {OPTIONS}'),
    ):
        assert script.count(old) == 1
        script = script.replace(old, new)
    (tmp_path / 'bin').mkdir()
    for name, body in FAKES.items():
        (tmp_path / 'bin' / name).write_text(f'#!/bin/bash\n{body}\n')
        (tmp_path / 'bin' / name).chmod(0o755)
    (tmp_path / 'job').write_text(script)
    settings = {
        **os.environ,
        'PATH': f'{tmp_path / "bin"}{os.pathsep}{os.environ["PATH"]}',
        'PYTHONPATH': str(ROOT),
        'OMP_NUM_THREADS': '1',
        'SLURM_JOB_NODELIST': 'localhost',
    }
    done = subprocess.run(
        ['bash', 'job'], cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 'Traceback' not in done.stderr
    assert 'worker 1 of 2' in done.stderr
    assert Store(tmp_path / 'net').epochs() == [1]
    assert Path(tmp_path / 'log' / 'net.log').is_file()
