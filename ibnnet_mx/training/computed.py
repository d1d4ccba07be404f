"""The circumstances that change the last bits of a run, so that a resumed run can say which of them have changed.

Measured on two CIFAR networks over two epochs, against the same run again (equal to the bit). Other bits came from
other counts of threads (OMP_NUM_THREADS), instruction sets (SSE4.1, AVX, AVX2, AVX-512) and devices, and from the C++
operators with or without Winograd. The same bits came with other counts of the reader's threads, with memonger, and for
bfloat16 with and without AVX512-BF16.
"""

from __future__ import annotations

import os
import platform
from typing import Any

from ibnnet_mx import _env, operators


def circumstances(cluster: Any, dtype: str) -> dict[str, str]:
    """Return {name: value}, the circumstances of this process. cluster: distributed.cluster.Cluster."""
    forms = 'off' if not operators.fused() else 'with Winograd' if operators.winograd() else 'without Winograd'
    kind = cluster.contexts[0].device_type
    return {
        'threads': os.environ.get('OMP_NUM_THREADS') or "mxnet's default",
        'instructions': _env.instructions(dtype) if kind == 'cpu' else kind.upper(),
        'devices': f'{cluster.devices} {kind}',
        'C++ operators': forms,
        'machine': platform.machine(),
        'processor': _env.processor(),
        'mxnet': _env.mxnet_version(),
    }


def remark(before: dict[str, str] | None, now: dict[str, str]) -> str:
    """Return a line about circumstances that have changed since a checkpoint; '' if none has, or none is known."""
    changed = [
        f'{name}: {before[name]}, now {now[name]}'
        for name in now
        if before and before.get(name, now[name]) != now[name]
    ]
    if not changed:
        return ''
    sure = any(not part.startswith(('processor', 'mxnet')) for part in changed)
    return (
        f'`retrain`: computed differently from the checkpoint ({"; ".join(changed)}). The run goes on, and its last '
        f'bits {"differ" if sure else "may differ"} from those of a run that was not moved'
    )
