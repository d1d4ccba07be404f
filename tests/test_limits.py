"""Cores and memory: the machine's, a container's (cgroups of both versions) and a shell's limits."""

import os
import subprocess
import sys

import pytest

from ibnnet_mx import _limits
from tests.conftest import ROOT

GB = 1 << 30


def written(folder, group, files):
    """Write the files of a cgroup. Return the arguments for the functions that read them."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f'{text}\n')
    (folder / 'groups').write_text(f'{group}\n')
    return folder, folder / 'groups'


@pytest.mark.skipif(sys.platform != 'linux', reason='the affinity mask and /proc are Linux')
def test_cores_follow_the_affinity_mask(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {0, 3, 5})
    monkeypatch.setattr(_limits, '_cpu_quota', lambda: float('inf'))
    assert _limits.usable_cores() == 3
    monkeypatch.setattr(_limits, '_cpu_quota', lambda: 2.9)
    assert _limits.usable_cores() == 2
    monkeypatch.setattr(_limits, '_cpu_quota', lambda: 0.5)
    assert _limits.usable_cores() == 1


@pytest.mark.parametrize(
    ('group', 'files', 'quota'),
    [
        ('0::/a/b', {'a/b/cpu.max': 'max 100000', 'a/cpu.max': '250000 100000'}, 2.5),
        ('0::/a', {'a/cpu.max': '200000 100000', 'cpu.max': '400000 100000'}, 2),
        ('0::/', {'cpu.max': '100000 100000'}, 1),
        ('0::/a', {'a/cpu.max': 'max 100000'}, float('inf')),
        ('4:cpuacct,cpu:/gone', {'cpu/cpu.cfs_quota_us': '150000', 'cpu/cpu.cfs_period_us': '50000'}, 3),
        ('4:cpu:/', {'cpu/cpu.cfs_quota_us': '-1', 'cpu/cpu.cfs_period_us': '100000'}, float('inf')),
        ('3:cpuset:/', {'cpu/cpu.cfs_quota_us': '100000', 'cpu/cpu.cfs_period_us': '100000'}, float('inf')),
    ],
)
def test_quota_of_the_cgroup(tmp_path, group, files, quota):
    assert _limits._cpu_quota(*written(tmp_path, group, files)) == quota


V2 = {'memory.max': 8 * GB, 'memory.current': 5 * GB, 'memory.stat': f'anon 7\ninactive_file {2 * GB}'}
V1 = {
    'memory.limit_in_bytes': 8 * GB,
    'memory.usage_in_bytes': 5 * GB,
    'memory.stat': f'inactive_file 1\ntotal_inactive_file {2 * GB}',
}


@pytest.mark.parametrize(
    ('group', 'files', 'limits'),
    [
        ('0::/', V2, [(8 * GB, 3 * GB)]),
        ('0::/a', {f'a/{name}': text for name, text in V2.items()}, [(8 * GB, 3 * GB)]),
        ('0::/a', {'a/memory.max': 'max', **V2}, [(8 * GB, 3 * GB)]),
        ('0::/a', {'a/memory.max': GB, 'a/memory.current': 1 << 20, **V2}, [(GB, 1 << 20), (8 * GB, 3 * GB)]),
        ('4:memory:/gone', {f'memory/{name}': text for name, text in V1.items()}, [(8 * GB, 3 * GB)]),
        ('4:memory:/', {'memory/memory.limit_in_bytes': 9223372036854771712}, []),
        ('4:cpu:/', {f'memory/{name}': text for name, text in V1.items()}, []),
        ('0::/', {'memory.max': GB}, [(GB, 0)]),
    ],
)
def test_memory_of_the_cgroup(tmp_path, group, files, limits):
    assert list(_limits._memory_groups(*written(tmp_path, group, files))) == limits


@pytest.mark.parametrize(
    ('available', 'groups', 'free'), [(9, [(8, 3), (16, 4)], 5), (2, [(8, 3)], 2), (9, [(2, 3)], 0)]
)
def test_free_memory_is_the_least_of_all_limits(monkeypatch, tmp_path, available, groups, free):
    (tmp_path / 'meminfo').write_text(f'MemTotal: 99999999 kB\nMemAvailable: {available * GB // 1024} kB\n')
    monkeypatch.setattr(_limits, 'MEMINFO', tmp_path / 'meminfo')
    monkeypatch.setattr(_limits, '_address_space', lambda used: [])
    monkeypatch.setattr(_limits, '_memory_groups', lambda: [(limit * GB, used * GB) for limit, used in groups])
    assert _limits.free_memory() == free * GB
    monkeypatch.setattr(_limits, '_address_space', lambda used: [GB])
    assert _limits.free_memory() == min(free, 1) * GB


def test_the_memory_of_a_process_is_the_machines_or_its_limit():
    code = (
        'import resource; resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30)); from ibnnet_mx import _limits;'
        'print(_limits.memory_limit() == 3 << 30, 2 << 30 < _limits.free_memory() < 3 << 30)'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == 'True True\n'
