"""What run.py prints: a table for each network, and whether the targets are met."""

from __future__ import annotations

from benchmarks.training.ways import NOTES, WAYS

OURS = ('ours_float32', 'ours_bfloat16')


def label(model, name):
    """Of a row, with the network's name in the other library."""
    way = WAYS[name]
    theirs = (way.theirs or {}).get(model)
    return way.label if theirs is None else f'{way.label} {theirs}{NOTES.get(theirs, "")}'


def speed(batch, seconds):
    a_second = batch / seconds
    return f'{a_second:.3g}' if a_second < 100 else f'{a_second:.0f}'


def row(model, name, rows, batch):
    cell = rows[name]
    spread = speed(batch, cell.seconds)
    if cell.low < cell.high:
        spread += f' ({speed(batch, cell.high)} to {speed(batch, cell.low)})'
    ratios = [f'{cell.seconds / rows[own].seconds:.2f}' if own in rows else '-' for own in OURS]
    return f'| {label(model, name)} | {spread} | {1e3 * cell.seconds:.4g} | {" | ".join(ratios)} |'


def table(model, rows, batch):
    """Of one model's cells, as markdown; the ratios are those of the medians: 1.30 is 1.3 times as fast."""
    heads = (
        'pictures/s (lowest to highest round) | ms a step | ours float32: times as fast | ours bfloat16: times as fast'
    )
    lines = [f'| training step | {heads} |', '|---|---|---|---|---|']
    return '\n'.join(lines + [row(model, name, rows, batch) for name in rows])


def judged(target, result):
    """PASS or MISS and the numbers, in one line."""
    rows = result.get(target.model, {})
    text = f'{target.model}, {target.ours} over {target.theirs}'
    if target.ours not in rows or target.theirs not in rows:
        return f'----  {text}: not measured'
    ratio = rows[target.theirs].seconds / rows[target.ours].seconds
    if target.least is None:
        return f'      {text}: {ratio:.2f}'
    return f'{"PASS" if ratio >= target.least else "MISS"}  {text}: {ratio:.2f}, wanted at least {target.least:g}'


def speeds(result, batches):
    """For --json: {model: {way: pictures a second}}."""
    return {
        model: {name: batches[model] / cell.seconds for name, cell in rows.items()} for model, rows in result.items()
    }
