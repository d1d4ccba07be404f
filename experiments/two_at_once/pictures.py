"""The pictures of the experiment: packed once, the same for every run."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EACH = 10  # of the pictures of a class in a domain, every tenth is held out


RUNNING: list[subprocess.Popen] = []


def call(script: str, *words: object, **environment: str) -> str:
    """What a script of the project prints. SystemExit: it failed, with its last word."""
    command = [sys.executable, str(ROOT / script), *map(str, words)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env={**os.environ, **environment}) as process:
        RUNNING.append(process)
        out, err = process.communicate()
        RUNNING.remove(process)
    if process.returncode:
        raise SystemExit(f'{script} ended with {process.returncode}: {(err.splitlines() or ["no word"])[-1]}')
    return out


def stop() -> None:
    """Asks what is running to end; trainings save first."""
    for process in list(RUNNING):
        process.terminate()


def cifar10(source: str, out: Path) -> Path:
    """The folder of records; source: such a folder, or what tools/im2rec_wrapper.py packs."""
    if (Path(source) / 'cifar10_val.rec').is_file():
        return Path(source)
    call('tools/im2rec_wrapper.py', source, out / 'cifar10', '--data-type', 'cifar10', '--split', 'random')
    return out / 'cifar10'


@functools.lru_cache(maxsize=None)
def fingerprint(records: Path) -> str:
    """Of what a folder's training and validation records hold."""
    found = hashlib.sha256()
    for name in ('cifar10_train.rec', 'cifar10_val.rec'):
        found.update((records / name).read_bytes())
    return found.hexdigest()[:16]


def _identity(source: str) -> str:
    """Of a folder or a file of pictures."""
    path = Path(source).resolve()
    return str(path) if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()


def _unpacked(source: str, out: Path) -> Path:
    """The folder that holds DOMAIN/CLASS folders, out of a tar where it is one."""
    if Path(source).is_dir():
        return Path(source)
    place = out / 'pacs_pictures'
    if not place.is_dir():
        part = out / 'pacs_pictures.part'
        try:
            with tarfile.open(source) as tar:
                tar.extractall(part, filter='data')
        except (tarfile.TarError, OSError, EOFError) as error:
            raise SystemExit(f'--pacs {source} cannot be unpacked: {error}') from None
        part.rename(place)
    inside = [path for path in place.iterdir() if path.is_dir()]
    return inside[0] if len(inside) == 1 else place


def pacs(source: str, out: Path, domains: tuple[str, ...]) -> dict[str, Path]:
    """{domain: its folder, 'held/DOMAIN': its held-out pictures, 'without/DOMAIN': records of the other three}.

    Records 'without' a domain hold the pictures of the others, those held out as their validation side.
    """
    own, note = _identity(source), out / 'pacs_source'
    if note.is_file() and note.read_text() != own:
        raise SystemExit(f'--pacs {source}: {out} holds what was made of other pictures: name another --out')
    folder = _unpacked(source, out)
    note.write_text(own)
    for domain in domains:
        if not (folder / domain).is_dir():
            raise SystemExit(f'--pacs {source}: there is no folder {domain} in {folder}')
    for domain in domains:
        for kind in sorted(path for path in (folder / domain).iterdir() if path.is_dir()):
            for number, picture in enumerate(sorted(kind.iterdir())):
                held = number % EACH == 0
                if held:
                    _link(picture, out / 'pacs_held' / domain / kind.name / picture.name)
                for left_out in domains:
                    if left_out != domain:
                        side = out / 'pacs_trees' / left_out / ('val' if held else 'train')
                        _link(picture, side / kind.name / f'{domain}_{picture.name}')
    for left_out in domains:
        tree, data = out / 'pacs_trees' / left_out, out / 'pacs' / left_out
        call(
            'tools/im2rec_wrapper.py', tree, data, '--data-type', 'cifar10', '--split', 'random'
        )  # what is packed is left alone
    found = {domain: folder / domain for domain in domains}
    found.update({f'held/{domain}': out / 'pacs_held' / domain for domain in domains})
    return {**found, **{f'without/{domain}': out / 'pacs' / domain for domain in domains}}


def _link(picture: Path, place: Path) -> None:
    if not place.is_symlink():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(picture.resolve())
