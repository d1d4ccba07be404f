"""Evaluate a network on several data sets (domains): a row for each, their mean, and the worst."""

from __future__ import annotations

from statistics import mean

from ibnnet_mx.errors import OptionError

COLUMNS = (('top1', 'top-1, %', 100), ('cross_entropy', 'cross entropy', 1), ('calibration_error', 'ECE, %', 100))


def read_domains(words):
    """Return {name: DATA} of NAME=DATA words. Raises OptionError for domains."""
    domains = {}
    for word in words:
        name, equals, path = word.partition('=')
        if not (name and equals and path):
            raise OptionError('domains', word, ': write NAME=DATA, such as photo=photo.rec')
        if name == 'mean':
            raise OptionError('domains', word, ': the last row is called mean; choose another name')
        if name in domains:
            raise OptionError('domains', word, f': {name} is given twice')
        domains[name] = path
    return domains


def report_of(reports, theirs=None):
    """Return the report of each domain, the means over domains, and the domain of the lowest top-1.

    reports: {name: evaluation.report_of()}; theirs: the reports of a baseline.
    """
    means = {}
    for key, _, _ in COLUMNS:
        values = [one[key] for one in reports.values()]
        means[key] = None if None in values else mean(values)
    worst = min(reports, key=lambda name: reports[name]['top1'])
    report = dict(domains=reports, mean=means, worst=worst)
    if theirs is not None:
        report['baseline'] = report_of(theirs)
    return report


def lines(report):
    """Yield the text of a report."""
    theirs, label = report.get('baseline'), next(iter(report['domains'].values()))['model']
    width = max(map(len, [*report['domains'], 'mean'])) + 2
    heads = ''.join(f'{head:>15}' for _, head, _ in COLUMNS)
    yield label
    if theirs:
        yield f'  baseline: {next(iter(theirs["domains"].values()))["model"]}'
    yield f'  {"domain":<{width}}{"pictures":>10}{heads}' + ('  baseline, top-1' if theirs else '')
    rows = [(name, one['count'], one) for name, one in report['domains'].items()]
    for name, count, one in [*rows, ('mean', '', report['mean'])]:
        cells = ''.join(
            f'{"not finite" if one[key] is None else format(one[key] * times, ".2f" if times > 1 else ".4f"):>15}'
            for key, _, times in COLUMNS
        )
        other = ''
        if theirs:
            other_row = theirs['mean'] if name == 'mean' else theirs['domains'][name]
            other = f'{100 * other_row["top1"]:17.2f}'
        yield f'  {name:<{width}}{count:>10}{cells}{other}'
    yield f'  worst: {report["worst"]}'
