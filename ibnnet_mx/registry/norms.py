"""Which norms there are, and what can be said of each. Pure Python; norm/ makes them."""

from __future__ import annotations

from typing import Any, Mapping

NORMS: dict[str, dict[str, Any]] = {  # kit: its own arguments
    'bn': {},  # BatchNorm, arXiv:1502.03167
    'in': {},  # InstanceNorm everywhere, arXiv:1607.08022
    'ln': {},  # LayerNorm over all channels and pixels of a picture, arXiv:1607.06450
    'gn': dict(groups=None),  # GroupNorm, arXiv:1803.08494; None: 32, less where there are few channels
    'syncbn': dict(devices=None),  # BatchNorm over all GPUs together; None: all that there are
    'mabn': dict(B=2, real_B=32, momentum=0.98, warmup_iters=100, variant='formal'),  # arXiv:2001.06838
    # Batch Renormalization, arXiv:1702.03275
    'brn': dict(momentum=0.99, r_max=3.0, d_max=5.0, warmup_iters=5000, r_iters=40000, d_iters=25000),
}
SMALL = ('bn', 'brn', 'mabn')  # kits that can normalise small parts of a batch


def norm_args(norm: str, given: Mapping[str, Any] | None = None, size: int | None = None) -> dict[str, Any]:
    """All arguments of a kit. ValueError names --norm, --norm-args or --norm-batch-size and what would do."""
    if norm not in NORMS:
        raise ValueError(f'--norm {norm} is not known: use one of {", ".join(NORMS)}')
    args = dict(NORMS[norm])
    for key, value in (given or {}).items():
        if key not in args:
            there = f'it has {", ".join(args)}' if args else 'it has none'
            raise ValueError(f'--norm-args {key}={value}: --norm {norm} has no such argument, {there}')
        if value is None:
            continue
        usual = args[key]
        kinds = (str,) if isinstance(usual, str) else (int, float) if isinstance(usual, float) else (int,)
        if not isinstance(value, kinds) or (not isinstance(value, str) and value < 0):
            what = 'a word' if kinds == (str,) else 'a number' if len(kinds) > 1 else 'a whole number'
            raise ValueError(f'--norm-args {key}={value} must be {what}, such as {usual if usual is not None else 8}')
        args[key] = value
    if size is not None:
        _check_small(norm, args, size, given or {})
    if norm == 'mabn' and (args['B'] < 1 or args['real_B'] < args['B'] or args['real_B'] % args['B']):
        raise ValueError(f'--norm-args real_B={args["real_B"]} must be a multiple of B={args["B"]}')
    if norm == 'mabn' and args['variant'] not in ('formal', 'cls'):
        raise ValueError(f'--norm-args variant={args["variant"]}: use formal or cls')
    if args.get('momentum', 0) >= 1:
        raise ValueError(f'--norm-args momentum={args["momentum"]} must be below 1')
    if norm == 'brn' and args['r_max'] < 1:
        raise ValueError(f'--norm-args r_max={args["r_max"]} must be at least 1')
    return args


def _check_small(norm: str, args: dict[str, Any], size: int, given: Mapping[str, Any]) -> None:
    if norm not in SMALL:
        raise ValueError(f'--norm-batch-size {size}: --norm {norm} has none, {", ".join(SMALL)} have')
    if size < 1:
        raise ValueError(f'--norm-batch-size {size} must be at least 1')
    if norm == 'mabn':
        for key, value in (('B', size), ('variant', 'cls')):
            if given.get(key, value) != value:
                raise ValueError(f'--norm-args {key}={given[key]} contradicts --norm-batch-size {size}')
        args.update(B=size, variant='cls')
