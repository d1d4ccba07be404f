"""The table of norm kits and their arguments, for code, options and docs. No mxnet."""

from __future__ import annotations

from typing import Any, Mapping

from ibnnet_mx.errors import OptionError

NORMS: dict[str, dict[str, Any]] = {  # kit: its own arguments
    'bn': {},  # BatchNorm, arXiv:1502.03167
    'in': {},  # InstanceNorm everywhere, arXiv:1607.08022
    'ln': {},  # LayerNorm over all channels and pixels of a picture, arXiv:1607.06450
    'gn': dict(groups=None),  # GroupNorm, arXiv:1803.08494; None: 32, or fewer for few channels
    'syncbn': dict(devices=None),  # BatchNorm over all GPUs of a run together; None: every GPU of the machine
    'mabn': dict(B=2, real_B=32, momentum=0.98, warmup_iters=100, variant='formal'),  # arXiv:2001.06838
    # Batch Renormalization, arXiv:1702.03275
    'brn': dict(momentum=0.99, r_max=3.0, d_max=5.0, warmup_iters=5000, r_iters=40000, d_iters=25000),
}
SMALL = ('bn', 'brn', 'mabn')  # kits that can normalise small parts of a batch
MABN_VARIANTS = ('formal', 'cls')  # MABN.py and cls/networks/MABN.py of megvii-model/MABN
WORKSPACE = 512  # MB that a convolution may take on a GPU


def norm_args(norm: str, given: Mapping[str, Any] | None = None, size: int | None = None) -> dict[str, Any]:
    """Return all arguments of a kit. size: pictures that are normalised together, None for a whole batch.

    Raises OptionError for norm, norm_args or norm_batch_size.
    """
    if norm not in NORMS:
        raise OptionError('norm', norm, f'is not known: use one of {", ".join(NORMS)}')
    args = dict(NORMS[norm])
    for key, value in (given or {}).items():
        if key not in args:
            known = f'it has {", ".join(args)}' if args else 'it has none'
            raise OptionError('norm_args', {key: value}, f': `norm` {norm} has no such argument, {known}')
        if value is not None:
            args[key] = _checked(key, value, args[key])
    if size is not None:
        _check_small(norm, args, size, given or {})
    if norm == 'mabn' and (args['B'] < 1 or args['real_B'] < args['B'] or args['real_B'] % args['B']):
        raise OptionError('norm_args', {'real_B': args['real_B']}, f'must be a multiple of B={args["B"]}')
    if norm == 'mabn' and args['variant'] not in MABN_VARIANTS:
        raise OptionError('norm_args', {'variant': args['variant']}, f': use {" or ".join(MABN_VARIANTS)}')
    if args.get('momentum', 0) >= 1:
        raise OptionError('norm_args', {'momentum': args['momentum']}, 'must be below 1')
    if norm == 'brn' and args['r_max'] < 1:
        raise OptionError('norm_args', {'r_max': args['r_max']}, 'must be at least 1')
    return args


def _checked(key: str, value: Any, default: Any) -> Any:
    """Return the value if its type is the default's. Raises OptionError if it is not."""
    kinds = (str,) if isinstance(default, str) else (int, float) if isinstance(default, float) else (int,)
    if not isinstance(value, kinds) or (not isinstance(value, str) and value < 0):
        kind = 'a word' if kinds == (str,) else 'a number' if len(kinds) > 1 else 'a whole number'
        raise OptionError('norm_args', {key: value}, f'must be {kind}, such as {8 if default is None else default}')
    return value


def _check_small(norm: str, args: dict[str, Any], size: int, given: Mapping[str, Any]) -> None:
    if norm not in SMALL:
        raise OptionError('norm_batch_size', size, f'cannot be used with `norm` {norm}, only with {", ".join(SMALL)}')
    if size < 1:
        raise OptionError('norm_batch_size', size, 'must be at least 1')
    if norm == 'mabn':
        for key, value in (('B', size), ('variant', 'cls')):
            if given.get(key, value) != value:
                raise OptionError('norm_args', {key: given[key]}, f'contradicts `norm_batch_size` {size}')
        args.update(B=size, variant='cls')
