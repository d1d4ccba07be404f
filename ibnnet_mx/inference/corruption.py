"""Evaluate networks on shifted pictures: errors by shift and severity, as a dict for --json and as text."""

from __future__ import annotations

from statistics import mean

from tqdm import tqdm

from ibnnet_mx import data, shift
from ibnnet_mx.inference.evaluation import finite
from ibnnet_mx.metrics import classification

CLEAN = ('clean', 0)


def measure(models, pictures, wanted, workers, seed=0):
    """Return {(name, severity): [Result of each model]}. CLEAN is the key of the unchanged pictures.

    models: as in evaluation.measure(), all with the same picture size. pictures: data.Evaluation of raw pixels.
    wanted: (name, severity) pairs. workers: shift.Workers. Every model sees the same pictures.
    """
    results = {}
    with tqdm(total=(1 + len(wanted)) * pictures.steps, unit=' batches', disable=None) as bar:
        for name, severity in [CLEAN, *wanted]:
            batches = pictures.raw()
            if (name, severity) != CLEAN:
                batches = workers.over(batches, name, severity, seed)
            tallies = [classification.Tally() for _ in models]
            for changed, _, labels in batches:
                for model, tally in zip(models, tallies):
                    tally.add(model.predict(data.normalise(changed, model.input)), labels)
                bar.update()
            results[name, severity] = [tally.result() for tally in tallies]
    return results


def _by_name(measured, number, of):
    """Return {name: {severity: of(Result)}} of one model."""
    values: dict[str, dict] = {}
    for (name, severity), results in measured.items():
        values.setdefault(name, {})[str(severity)] = of(results[number])
    return values


def _of_model(measured, number):
    """Return one model's part of the report, as fractions. A mean over names takes each name's mean over severities."""
    errors = _by_name(measured, number, lambda result: 1 - result.top1)
    gaps = _by_name(measured, number, lambda result: result.calibration_error())
    (clean,) = errors.pop('clean').values()
    gaps.pop('clean')
    means = {name: mean(by_severity.values()) for name, by_severity in errors.items()}
    groups: dict[str, list[float]] = {}
    for name, value in means.items():
        groups.setdefault(shift.group_of(name), []).append(value)
    return dict(
        clean=clean,
        error=errors,
        groups={group: mean(values) for group, values in groups.items()},
        mean=mean(means.values()),
        calibration_error=finite(mean(mean(by_severity.values()) for by_severity in gaps.values())),
    )


def _ratio(ours, theirs, less=(0.0, 0.0)):
    """Return (mean over corruptions of the ratio ours / theirs of errors summed over severities, reason if it is None).

    less: clean errors (ours, theirs) that are subtracted first.
    """
    ratios = []
    for name in filter(shift.CORRUPTIONS.__contains__, ours):
        below = sum(value - less[1] for value in theirs[name].values())
        if below <= 0:
            return None, f'{name} costs the baseline no accuracy'
        ratios.append(sum(value - less[0] for value in ours[name].values()) / below)
    return (mean(ratios), None) if ratios else (None, 'none of the shifts is one of the 15 corruptions')


def report_of(measured, labels, seed):
    """Return the dict that --json prints under 'shift'. measured: the result of measure().

    labels: the model's, then the baseline's if there is one. mean: over all names. With a baseline there are also mCE
    and relative_mCE of arXiv:1903.12261 over the corruptions, as fractions of the baseline's; if None, why_not has the
    reason. whole: True if all 15 corruptions at all severities were measured.
    """
    ours, *others = [_of_model(measured, number) for number in range(len(labels))]
    ours['seed'] = seed
    for label, theirs in zip(labels[1:], others):
        ours['baseline'] = dict(theirs, model=label)
        clean = ours['clean'], theirs['clean']
        ours['mCE'], why = _ratio(ours['error'], theirs['error'])
        ours['relative_mCE'], why_relative = _ratio(ours['error'], theirs['error'], clean)
        ours['why_not'] = why or why_relative
        covered = {(name, int(severity)) for name, errors in ours['error'].items() for severity in errors}
        ours['whole'] = covered >= set(shift.chosen('all'))
    return ours


def lines(report):
    """Yield the text of a report: a row for each shift, a column for each severity, errors in percent."""
    severities = sorted({severity for errors in report['error'].values() for severity in errors})
    theirs = report.get('baseline')
    head = ' ' + ''.join(f'{severity:>7}' for severity in severities) + '   mean' + (' baseline' if theirs else '')
    yield f'  error, %, by severity{head}'

    def row(name, values, average, other):
        cells = ''.join(f'{100 * values[s]:7.2f}' if s in values else '      -' for s in severities)
        return f'    {name:<20}{cells}{100 * average:7.2f}' + (f'{100 * other:9.2f}' if theirs else '')

    for name, errors in report['error'].items():
        yield row(name, errors, mean(errors.values()), mean(theirs['error'][name].values()) if theirs else None)
    for group, value in report['groups'].items():
        count, total = sum(name in report['error'] for name in shift.GROUPS[group]), len(shift.GROUPS[group])
        if count > 1:  # one shift has its own row already
            title = f'all of {group}' if count == total else f'{count} of {total} of {group}'
            yield row(title, {}, value, theirs['groups'][group] if theirs else None)
    yield row('not shifted', {}, report['clean'], theirs['clean'] if theirs else None)
    yield row('mean of the shifts', {}, report['mean'], theirs['mean'] if theirs else None)
    gap = report['calibration_error']
    yield f'  calibration error of shifted pictures {"not finite" if gap is None else f"{100 * gap:.2f} %"}'
    if theirs:
        scope = '' if report['whole'] else ' of these shifts only'
        for key, shown in (('mCE', 'mCE'), ('relative_mCE', 'relative mCE')):
            value = f'not defined: {report["why_not"]}' if report[key] is None else f'{100 * report[key]:.2f} %'
            yield f'  {shown}{scope} {value} (100 %: {theirs["model"]})'
