"""What run.py prints: a table for each network, and whether the targets are met."""

from __future__ import annotations

from benchmarks.memory.ways import WAYS

TEXTS = {'mb': 'memory', 's': 'time'}
OTHERS = ('plain', 'torch_checkpoint')  # what a row is divided by


def values(result):
    """For --json: {model: {way_mb: MB above the idle process, way_s: seconds a step}}."""
    found = {}
    for model, rows in result.items():
        found[model] = {}
        for name, cell in rows.items():
            found[model].update({f'{name}_mb': cell.mb, f'{name}_s': cell.seconds})
    return found


def row(name, flat):
    mb, seconds = flat[f'{name}_mb'], flat[f'{name}_s']
    ratios = []
    for other in OTHERS:
        for value, unit in ((mb, 'mb'), (seconds, 's')):
            divisor = flat.get(f'{other}_{unit}')
            ratios.append('-' if divisor is None else f'{value / divisor:.2f}')
    return f'| {WAYS[name].label} | {mb:.0f} | {seconds:.3g} | {" | ".join(ratios)} |'


def table(flat):
    """Of one network's values(), as markdown."""
    heads = 'MB | s a step | MB to plain | s to plain | MB to checkpoint | s to checkpoint'
    lines = [f'| training step | {heads} |', '|---|---|---|---|---|---|---|']
    return '\n'.join(lines + [row(name, flat) for name in WAYS if f'{name}_mb' in flat])


def judged(target, found):
    """PASS or MISS and the ratio, in one line."""
    flat = found.get(target.model, {})
    own, other = flat.get(f'{target.way}_{target.what}'), flat.get(f'{target.other}_{target.what}')
    text = f'{target.model}, {TEXTS[target.what]} of {target.way} over {target.other}'
    if own is None or other is None:
        return f'----  {text}: not measured'
    ratio = own / other
    good = ratio < target.most if target.below else ratio <= target.most
    limit = f'{"below" if target.below else "at most"} {target.most:g}'
    return f'{"PASS" if good else "MISS"}  {text}: {ratio:.2f}, wanted {limit}'
