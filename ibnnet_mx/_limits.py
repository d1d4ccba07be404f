"""The cores and the memory that the machine, a container, or a limit of the shell leave to this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS, GROUPS = Path('/sys/fs/cgroup'), Path('/proc/self/cgroup')
MEMINFO = Path('/proc/meminfo')


def usable_cores() -> int:
    """Return the count of cores in this process's affinity mask, or its cgroup's CPU quota, rounded down, if lower."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return int(max(1, min(cores, _cpu_quota())))


def own_cores() -> int:
    """Return this worker's share of usable_cores(). IBNNET_MX_LOCAL_WORKERS says how many workers share the machine."""
    return max(1, usable_cores() // local_workers())


def local_workers() -> int:
    """Return how many workers of a job share this machine."""
    count = os.environ.get('IBNNET_MX_LOCAL_WORKERS', '1')
    return int(count) if count.isdecimal() and int(count) else 1


def memory_limit() -> int:
    """Return the bytes of memory that this process may have: those of the machine, its cgroup or its address space."""
    machine = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    return min([machine, *_address_space(0), *(limit for limit, _ in _memory_groups())])


def free_memory() -> int:
    """Return the bytes that this process can still take before the machine, its cgroup or a limit stops it.

    The page cache counts as free, because the kernel gives it up.
    """
    rooms = [_kilobytes(MEMINFO).get('MemAvailable', memory_limit())]
    rooms += _address_space(_kilobytes(Path('/proc/self/status')).get('VmSize', 0))
    rooms += [limit - used for limit, used in _memory_groups()]
    return max(min(rooms), 0)


def resident_memory() -> int:
    """Return the bytes that this process holds in memory; 0 if the system does not tell."""
    return _kilobytes(Path('/proc/self/status')).get('VmRSS', 0)


def _address_space(used: int) -> list[int]:
    """Return what `ulimit -v` leaves beside `used` bytes; nothing if there is no such limit."""
    import resource  # here: the rest of this file is of use on systems without it

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return [] if limit == resource.RLIM_INFINITY else [limit - used]


def _kilobytes(path: Path) -> dict[str, int]:
    """Return {name: bytes} of the lines 'name: 12 kB' of a file in /proc."""
    rows = (line.split() for line in read_text(path).splitlines())
    return {row[0].rstrip(':'): int(row[1]) * 1024 for row in rows if len(row) == 3 and row[2] == 'kB'}


def _memory_groups(root: Path = CGROUPS, groups: Path = GROUPS) -> Iterator[tuple[int, int]]:
    """Yield (limit, used bytes) of each memory limit of the process's cgroups. Files that can be dropped are not used.

    cgroup v2: memory.max, memory.current; v1: memory.limit_in_bytes, memory.usage_in_bytes. In v1 a limit near 2**63
    means that there is none.
    """
    for level, version in _levels('memory', root, groups):
        names = ('max', 'current', 'inactive_file') if version == 2 else ('limit_in_bytes', 'usage_in_bytes', '')
        limit, used = (read_text(level / f'memory.{name}').strip() for name in names[:2])
        if not limit.isdecimal() or int(limit) >= 1 << 60:
            continue
        rows = dict(line.split() for line in read_text(level / 'memory.stat').splitlines() if len(line.split()) == 2)
        cache = rows.get(names[2] or 'total_inactive_file', '0')
        yield int(limit), max(int(used or 0) - int(cache), 0)


def _levels(controller: str, root: Path, groups: Path) -> Iterator[tuple[Path, int]]:
    """Yield (folder, version) of the cgroups that bind this process: its own and all above it."""
    for line in read_text(groups).splitlines():
        controllers, path = line.split(':', 2)[1:]
        if controllers and controller not in controllers.split(','):
            continue
        base = root / controller if controllers else root
        folder = base / path.lstrip('/')
        for level in [folder, *folder.parents][: len(folder.parts) - len(base.parts) + 1]:
            yield level, 1 if controllers else 2


def _cpu_quota(root: Path = CGROUPS, groups: Path = GROUPS) -> float:
    """Return the lowest CPU limit of the process's cgroup and its parents (v2 cpu.max, v1 cpu.cfs_*); inf if none."""
    limits = [float('inf')]
    for level, version in _levels('cpu', root, groups):
        names = ('cpu.cfs_quota_us', 'cpu.cfs_period_us') if version == 1 else ('cpu.max',)
        numbers = ' '.join(read_text(level / name) for name in names).split()
        if len(numbers) == 2 and numbers[0] not in ('max', '-1'):
            limits.append(int(numbers[0]) / int(numbers[1]))
    return min(limits)


def read_text(path: Path) -> str:
    """Return a small file of the system as text; '' if it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ''
