"""Two at once: is an IBN network better on pictures as it was trained on, and on others, at the same time?

Trains BN, IBN-a, IBN-b and IN networks with one recipe on CIFAR-10 and on three of the four domains of PACS, and tests
them on corrupted pictures and on the fourth. Each finished run is a file of --results, written at once; a run that was
interrupted goes on, one whose file is there is not made again. Tables and figures are made of all that are there.
"""

from __future__ import annotations

import argparse
import json
import platform
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]

import figures  # noqa: E402
import pictures  # noqa: E402
import plans  # noqa: E402
import tables  # noqa: E402

from ibnnet_mx import logs  # noqa: E402

SHIFTS = 'all,appearance'
EVERY = 4  # of CIFAR-10's test pictures, each fourth is shifted
DIGITS = 5  # of a number in results/


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add('--cifar10', help='CIFAR-10: the archive, or the folder that tools/im2rec_wrapper.py made of it')
    add('--pacs', help='pacs_96px.tar.gz, or another tar or folder with DOMAIN/CLASS folders')
    add('--parts', nargs='+', choices=plans.RECIPES, help='unset: those whose pictures are given')
    add('--out', type=Path, default=Path('two_at_once'), help='records, checkpoints and logs of the runs')
    add('--results', type=Path, help='unset: OUT/results')
    add('--seeds', type=int, default=plans.SEEDS)
    add('--jobs', type=int, default=2, help='runs beside each other, of one thread each')
    add('--dtype', choices=('float32', 'bfloat16'), default='bfloat16', help='of the training steps')
    add('--tables', action='store_true', help='only make tables and figures of the results that are there')
    return parser


def rounded(value: object) -> object:
    """The numbers of a report, short enough to be kept."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return round(value, DIGITS) if isinstance(value, float) else value


def evaluate(run: plans.Run, prefix: Path, data: dict[str, Path]) -> dict:
    """What evaluate.py finds: of the test pictures and shifted ones, or of the domains."""
    network = ['--prefix', prefix, '--epoch', run.epochs, '--json', '--threads', 1]
    if plans.PICTURES[run.part] == 'cifar10':
        found = json.loads(pictures.call('evaluate.py', data['cifar10'], *network, OMP_NUM_THREADS='1'))
        kept = {key: found[key] for key in ('count', 'top1', 'cross_entropy', 'calibration_error', 'per_class')}
        if run.part != 'equal':
            asked = ['--shift', SHIFTS, '--every', EVERY]
            told = json.loads(pictures.call('evaluate.py', data['cifar10'], *network, *asked, OMP_NUM_THREADS='1'))
            kept['shift'] = told['shift']
        return kept
    places = [f'{run.where}={data[run.where]}']
    places += [f'{domain}={data[f"held/{domain}"]}' for domain in plans.DOMAINS if domain != run.where]
    found = json.loads(pictures.call('evaluate.py', *network, '--domains', *places, OMP_NUM_THREADS='1'))
    kept = ('count', 'top1', 'cross_entropy', 'calibration_error')
    return {'domains': {name: {key: one[key] for key in kept} for name, one in found['domains'].items()}}


def records_of(run: plans.Run, data: dict[str, Path]) -> Path:
    """The folder of those that a run is trained on."""
    return data[{'cifar10': 'cifar10', 'pacs': f'without/{run.where}'}[plans.PICTURES[run.part]]]


def seconds(log: Path) -> int:
    """That the epochs of a run took, their validation too; one that was begun again counts once."""
    found: dict[tuple[str, str], float] = {}
    for line in log.read_text().splitlines():
        for kind in (logs.TIME, logs.VALIDATION_TIME):
            if fields := kind.read(line):
                found[kind.text, fields['epoch']] = float(fields['value'])
    return round(sum(found.values()))


def make(run: plans.Run, args: argparse.Namespace, data: dict[str, Path]) -> dict:
    """Trains and evaluates; writes the run's file of results."""
    work = args.out / run.name
    work.mkdir(parents=True, exist_ok=True)
    words = run.words(args.dtype)
    if not (work / f'model-{run.epochs:04d}.json').is_file():
        place = ['--data-dir', records_of(run, data), '--model-prefix', work / 'model', '--log-file', work / 'log']
        rest = ['--keep', 1, '--retrain', 'auto', '--threads', 1]
        pictures.call('train_resnet.py', *words, *place, *rest, OMP_NUM_THREADS='1')
    found = dict(
        run._asdict(),
        command=command_of(run, args),
        seconds=seconds(work / 'log'),
        machine=f'{processor()}, one thread, {args.jobs} runs beside each other',
        pictures=pictures.fingerprint(records_of(run, data)),
        accuracy=list(logs.read_log(work / 'log').validation['accuracy'].values()),
        **evaluate(run, work / 'model', data),
    )
    write(args.results / f'{run.name}.json', found)
    return found


def write(path: Path, found: dict) -> None:
    """A file of results: all of it, or none."""
    path.parent.mkdir(exist_ok=True)
    path.with_suffix('.part').write_text(json.dumps(rounded(found), indent=1) + '\n')
    path.with_suffix('.part').replace(path)


def lies(run: plans.Run, args: argparse.Namespace) -> tuple[Path, Path]:
    """The file of a run's distances, and the prefix of its checkpoint."""
    return args.results / 'distances' / f'{run.name}.json', args.out / run.name / 'model'


def unmeasured(run: plans.Run, args: argparse.Namespace) -> bool:
    """Whether the distances of a run are to be measured and can be."""
    path, prefix = lies(run, args)
    there = Path(f'{prefix}-{run.epochs:04d}.params').is_file()
    return run.part in ('cifar10', 'pacs') and there and not path.is_file()


def measure(run: plans.Run, args: argparse.Namespace, data: dict[str, Path]) -> None:
    """Writes how far the domains lie apart in a finished run's network."""
    import distance

    path, prefix = lies(run, args)
    blocks = distance.Blocks(prefix, run.epochs)
    if run.part == 'cifar10':
        found = distance.of_cifar10(blocks, data['cifar10'])
    else:
        known = [data[f'held/{domain}'] for domain in plans.DOMAINS if domain != run.where]
        found = distance.of_pacs(blocks, data[run.where], known)
    write(path, dict(run._asdict(), distance=found))
    say(f'distances of {run.name}')


def processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(':')[1].strip() for line in lines if line.startswith('model name')), platform.machine())


def tell(results: Path) -> str:
    """Writes table.md and the figures of the results that are there; the tables as text."""
    found = tables.load(results)
    text = tables.text_of(found)
    (results / 'table.md').write_text(text)
    figures.draw(found, results)
    return text


def say(text: str) -> None:
    print(f'{time.strftime("%H:%M")} {text}', flush=True)


def hours(missing: list[plans.Run], results: Path, jobs: int) -> float:
    """That the missing runs will take, by those of their part that are there."""
    total = 0.0
    found = tables.load(results)
    for run in missing:
        there = [one['seconds'] for key, ones in found.items() if key[0] == run.part for one in ones]
        total += sum(there) / len(there) * plans.EVALUATION if there else plans.SECONDS[run.part]
    return total / jobs / 3600


def make_all(missing: list[plans.Run], args: argparse.Namespace, data: dict[str, Path]) -> None:
    """Makes the runs, beside each other; SystemExit: one of them failed, or Ctrl-C came. The others save and end."""
    with ThreadPoolExecutor(args.jobs) as pool:
        works = {pool.submit(make, run, args, data): run for run in missing}
        try:
            for number, work in enumerate(as_completed(works), 1):
                right = work.result()['accuracy'][-1]
                say(f'{number} of {len(missing)}: {works[work].name}, validation error {100 * (1 - right):.2f} %')
                tell(args.results)
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            pictures.stop()
            why = str(error) if isinstance(error, SystemExit) else ''
            if why or isinstance(error, KeyboardInterrupt):
                raise SystemExit(f'{why or "interrupted"}; the same command goes on') from None
            raise


def check(args: argparse.Namespace, parts: list[str], given: dict[str, str | None]) -> None:
    """SystemExit: an option that cannot be, or pictures that are not there."""
    for option, value in (('--jobs', args.jobs), ('--seeds', args.seeds)):
        if value < 1:
            raise SystemExit(f'{option} {value} must be at least 1')
    for option, source in (('--cifar10', args.cifar10), ('--pacs', args.pacs)):
        if source and not Path(source).exists():
            raise SystemExit(f'{option} {source} does not exist')
    if args.tables:
        if not args.results.is_dir():
            raise SystemExit(f'--results {args.results} is no folder; the published ones are in {HERE / "results"}')
        if not tables.load(args.results):
            raise SystemExit(f'--results {args.results} holds no results; the published ones are in {HERE / "results"}')
        return
    if not parts:
        raise SystemExit(
            'nothing to train: name --cifar10 or --pacs (make two-at-once CIFAR10=... PACS=...), or --tables'
        )
    for part in parts:
        if not given[part]:
            raise SystemExit(f'--parts {part} needs --{plans.PICTURES[part]}')


def check_pictures(runs: list[plans.Run], args: argparse.Namespace, data: dict[str, Path]) -> None:
    """SystemExit: the results of one of these runs are those of other pictures than are given."""
    for run in runs:
        path = args.results / f'{run.name}.json'
        if not path.is_file():
            continue
        if tables.read(path, ['pictures'])['pictures'] != pictures.fingerprint(records_of(run, data)):
            option = f'--{plans.PICTURES[run.part]}'
            raise SystemExit(f'{path} was made of other pictures than {option} gives: name another --results and --out')


def made(run: plans.Run, args: argparse.Namespace) -> bool:
    """Whether a run's results are there. SystemExit: they are those of other options, such as another --dtype."""
    path, command = args.results / f'{run.name}.json', command_of(run, args)
    if not path.is_file():
        return False
    found = tables.read(path, ['command'])['command']
    if found != command:
        raise SystemExit(f'{path} was made by `{found}`, not by `{command}`: name another --results and --out')
    return True


def command_of(run: plans.Run, args: argparse.Namespace) -> str:
    return ' '.join(['train_resnet.py', *run.words(args.dtype)])


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    args = make_parser().parse_args()
    given = {part: getattr(args, source) for part, source in plans.PICTURES.items()}
    parts = args.parts or [part for part, source in given.items() if source]
    args.results = args.results or args.out / 'results'
    check(args, parts, given)
    for option, folder in () if args.tables else (('--out', args.out), ('--results', args.results)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SystemExit(f'{option} {folder} cannot be made: {error.strerror}') from None
    wanted = [] if args.tables else plans.runs(parts, args.seeds)
    missing = [run for run in wanted if not made(run, args)]
    if missing or any(unmeasured(run, args) for run in wanted):
        left = hours(missing, args.results, args.jobs)
        say(f'{len(missing)} of {len(wanted)} runs are to be made: about {left:.1f} h')
        data = {'cifar10': pictures.cifar10(args.cifar10, args.out)} if args.cifar10 else {}
        if args.pacs:
            data.update(pictures.pacs(args.pacs, args.out, plans.DOMAINS))
        check_pictures(wanted, args, data)
        make_all(missing, args, data)
        for run in wanted:
            if unmeasured(run, args):
                measure(run, args, data)
    try:
        print(tell(args.results), flush=True)
    except OSError as error:
        raise SystemExit(f'{error.filename or "what is printed"} cannot be written: {error.strerror}') from None


if __name__ == '__main__':
    main()
