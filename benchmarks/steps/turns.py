"""Ways to make a training step, measured in turns: who takes part, the processes, and what they found."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import environments
from benchmarks.options import tell, warn_if_busy
from benchmarks.reader.measure import cores, machine

HERE = Path(__file__).resolve().parent
LIMIT = 3600  # seconds that a measurement may take
COMPILERS = ('g++', 'clang++', 'c++')


class Model(NamedTuple):
    """A network: a picture's height and width, its classes, and how many trained values it has in every library."""

    size: int
    classes: int
    parameters: int


MODELS = {
    'resnet50_ibn_a': Model(224, 1000, 25_557_032),
    'densenet121_ibn_a': Model(224, 1000, 7_978_856),
    'resnext50_ibn_a': Model(224, 1000, 25_028_904),
    'se_resnet50_ibn_a': Model(224, 1000, 28_071_976),
    'cifar_resnet20_ibn_a': Model(32, 10, 272_474),
    'cifar_resnet20': Model(32, 10, 272_474),
    'resnet50': Model(224, 1000, 25_557_032),
    'resnet101': Model(224, 1000, 44_549_160),
    'resnet152': Model(224, 1000, 60_192_808),
    'resnet200': Model(224, 1000, 64_673_832),
}


class Way(NamedTuple):
    """script: in this folder; options: what it is told; environment: None for the project's own.

    theirs: {our model: their name}, where a library has some of the models only.
    """

    label: str
    script: str
    options: dict[str, Any]
    environment: str | None = None
    theirs: dict[str, str] | None = None


class Plan(NamedTuple):
    """How much is measured. size: of pictures, None: the model's own."""

    rounds: int
    warm_up: int
    steps: int
    batch: int
    size: int | None = None


class Cell(NamedTuple):
    """Of one way: seconds of the median step, the lowest and highest median of a round, MB above the idle process."""

    seconds: float
    low: float
    high: float
    mb: float


def job(model, way, plan):
    """What a script is told."""
    size, classes, parameters = MODELS[model]
    return dict(
        model=model,
        theirs=(way.theirs or {}).get(model),
        options=way.options,
        size=plan.size or size,
        classes=classes,
        parameters=parameters,
        batch=plan.batch,
        warm_up=plan.warm_up,
        steps=plan.steps,
        threads=cores(),
    )


def jobs(plans, ways):
    """{(model, way): job} of a round, the ways of a model one after another; from {model: Plan} and {name: Way}."""
    return {
        (model, name): job(model, way, plan)
        for model, plan in plans.items()
        for name, way in ways.items()
        if way.theirs is None or model in way.theirs
    }


def commands(wanted, ways, folder):
    """({(model, way): command}, {(model, way): why it is left out}) of jobs().

    folder: where the peers' environments are.
    """
    found, missing, pythons = {}, {}, {None: (sys.executable, None)}
    for (model, name), told in wanted.items():
        way = ways[name]
        if way.options.get('compile') and not any(map(shutil.which, COMPILERS)):
            missing[model, name] = f'torch.compile needs a C++ compiler ({", ".join(COMPILERS)}), and there is none'
            continue
        if way.environment not in pythons:
            pythons[way.environment] = environments.install(way.environment, (way.environment,), folder, tell)
        python, why = pythons[way.environment]
        if python is None:
            missing[model, name] = f'not installed: {why}'
            continue
        found[model, name] = [python, str(HERE / way.script), json.dumps(told)]
    return found, missing


def rounds(wanted, number, missing, folder, save):
    """{(model, way): results}; what fails once is left out from then on, and said in `missing`.

    save: called with what was found so far.
    """
    found = {}
    variables = dict(OMP_NUM_THREADS=str(cores()), TORCHINDUCTOR_CACHE_DIR=str(Path(folder).absolute() / 'compiled'))
    for i in range(1, number + 1):
        for key, command in wanted.items():
            if key in missing:
                continue
            name = ' '.join(key)
            result, why = environments.child(command, LIMIT, **variables)
            if result is None:
                missing[key] = why
                found.pop(key, None)
                tell(f'{i}/{number} {name}: {why}')
                continue
            found.setdefault(key, []).append(result)
            seconds = statistics.median(result['seconds'])
            tell(f'{i}/{number} {name}: {seconds:.3g} s a step, {result["mb"]:.0f} MB')
            save(found)
    return found


def cells(found):
    """{model: {way: Cell}}; the seconds are the median of all steps of all rounds."""
    result = {}
    for (model, way), rows in found.items():
        medians = [statistics.median(row['seconds']) for row in rows]
        steps = [second for row in rows for second in row['seconds']]
        mb = statistics.median(row['mb'] for row in rows)
        result.setdefault(model, {})[way] = Cell(statistics.median(steps), min(medians), max(medians), mb)
    return result


def left_out(missing):
    """A line for each reason, with all that it hits."""
    for reason in dict.fromkeys(missing.values()):
        models, names = (dict.fromkeys(pair) for pair in zip(*(key for key, why in missing.items() if why == reason)))
        yield f'left out: {", ".join(names)} ({", ".join(models)}): {reason}'


def measured(plans, ways, folder, save):
    """({model: {way: Cell}}, {what is left out: why}). ValueError: nothing could be measured."""
    wanted, missing = commands(jobs(plans, ways), ways, folder)
    number = max(plan.rounds for plan in plans.values())
    tell(f'{number * len(wanted)} measurements')
    result = cells(rounds(wanted, number, missing, folder, lambda found: save(cells(found))))
    if not result:
        raise ValueError('; '.join(left_out(missing)) or 'these ways have none of these models')
    return result, missing


def told(args, plans, ways, values):
    """What measured() gives, its environment printed; values(result) goes to --json as it comes."""

    def save(result):
        if args.json is not None:
            write(args.json, values(result))

    first = environment(max(plan.rounds for plan in plans.values()))
    warn_if_busy()
    found = measured(plans, ways, args.peers, save)
    print(first)
    return found


def environment(number):
    """The machine and what else decides the speed, for the line above the tables."""
    import mxnet as mx

    from ibnnet_mx import operators

    own = 'with' if operators.loaded() else 'without'
    versions = f'mxnet {mx.__version__} {own} the operators of ibnnet_mx.operators.build'
    return f'{machine()}, {cores()} threads, {versions}, rounds: {number}, {time.strftime("%Y-%m-%d")}'


def write(path, values):
    """Whole or not at all, for a reader that looks in while it is measured."""
    part = path.with_name(f'{path.name}.part')
    part.write_text(json.dumps(values, indent=1) + '\n')
    os.replace(part, path)
