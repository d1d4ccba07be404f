"""im2rec_wrapper SOURCE DATA_DIR: runs that are repeated, killed or wrong, and the download."""

from __future__ import annotations

import hashlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from ibnnet_mx.cli import im2rec
from ibnnet_mx.recordio.fast import native
from ibnnet_mx.recordio.format import RecordFile
from ibnnet_mx.recordio.packing import cifar10
from ibnnet_mx.recordio.packing.manifest import Manifest
from tests.conftest import thorough
from tests.picture_sets import (
    NAMES,
    cifar_archive,
    cifar_rows,
    class_folders,
    contents,
    encoded,
    listed,
    run,
    tar_of,
    tree,
)
from tests.record_sets import jpeg, png, scene, write

TOOL = Path(__file__).parents[2] / 'tools' / 'im2rec_wrapper.py'
SHARED = Path(__file__).parents[3] / 'shared'


def test_seed_decides_the_split_and_processes_do_not(tmp_path):
    source = tree(tmp_path / 'in', class_folders(count=12))
    for name, seed, jobs in (('a', 0, 1), ('b', 0, 2), ('c', 1, 1)):
        assert run(source, tmp_path / name, '--seed', seed, jobs=jobs) == 0
    assert contents(tmp_path / 'a') == contents(tmp_path / 'b')
    assert set(listed(tmp_path / 'a', 'val_256_q90')) != set(listed(tmp_path / 'c', 'val_256_q90'))


def test_second_run_only_says_what_is_there(tmp_path, capsys):
    source = tree(tmp_path / 'in', class_folders())
    assert run(source, tmp_path / 'out') == 0
    before = contents(tmp_path / 'out')
    assert '(finished before)' not in capsys.readouterr().out
    assert run(source, tmp_path / 'out') == 0
    assert capsys.readouterr().out.count('(finished before)') == 3
    assert contents(tmp_path / 'out') == before


def test_more_bad_pictures_than_allowed_leave_no_records(tmp_path, capsys):
    source = tree(tmp_path / 'in', {**class_folders(), 'cat/bad.jpg': encoded(0)[:-2]})
    assert run(source, tmp_path / 'out') == 0
    assert '1 skipped' in capsys.readouterr().out
    assert run(source, tmp_path / 'new', '--max-bad', 0) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith('im2rec_wrapper: --max-bad 0 ')
    assert 'cat/bad.jpg' in said[-1]
    assert not [name for name in os.listdir(tmp_path / 'new') if name != 'packed.json']


def test_mxnet_reads_what_was_packed(tmp_path):
    mx = pytest.importorskip('mxnet')
    assert run(tree(tmp_path / 'in', class_folders()), tmp_path / 'out') == 0
    base = str(tmp_path / 'out' / 'val_256_q90')
    iterator = mx.io.ImageRecordIter(
        path_imgrec=base + '.rec', path_imgidx=base + '.idx', data_shape=(3, 224, 224), batch_size=3
    )
    batch = next(iterator)
    assert batch.label[0].asnumpy().tolist() == [label for label, _ in listed(tmp_path / 'out', 'val_256_q90')]
    with RecordFile(base + '.rec') as records:
        image = cv2.imdecode(np.frombuffer(records.read(0).payload, np.uint8), 1)
    top, left = (image.shape[0] - 224) // 2, (image.shape[1] - 224) // 2
    crop = image[top : top + 224, left : left + 224, ::-1].transpose(2, 0, 1).astype(float)
    assert np.abs(crop - batch.data[0][0].asnumpy()).max() <= 1


def alive(group):
    """Processes of the group that still run."""
    found = []
    for entry in Path('/proc').glob('[0-9]*'):
        try:
            fields = (entry / 'stat').read_text().rsplit(')', 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != 'Z':
            found.append(int(entry.name))
    return found


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='looks for processes in /proc')
@pytest.mark.parametrize('sign', [signal.SIGKILL, *thorough(signal.SIGINT)])
def test_killed_run_leaves_no_half_file_and_no_process_and_is_continued(tmp_path, sign):
    big = encoded(0, (900, 1200))
    source = tree(tmp_path / 'in', {f'{name}/{i}.jpg': big for name in NAMES for i in range(60)})
    out = tmp_path / 'out'
    command = [sys.executable, str(TOOL), str(source), str(out), '--jobs', '2']
    process = subprocess.Popen(
        command,
        start_new_session=True,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    part = out / 'train_480_q90.rec.part'
    started = until(lambda: process.poll() is not None or (part.exists() and part.stat().st_size > 0))
    assert started, 'nothing was packed in time'
    assert process.poll() is None, process.communicate()[1].decode()
    process.send_signal(sign)
    said = process.communicate(timeout=30)[1].decode()
    assert process.returncode == (130 if sign == signal.SIGINT else -signal.SIGKILL), said
    orphans = [] if until(lambda: not alive(process.pid)) else alive(process.pid)
    for orphan in orphans:
        os.kill(orphan, signal.SIGKILL)
    assert not orphans
    left = os.listdir(out)
    assert all(name.endswith('.part') or name == 'packing.lock' for name in left)
    assert sign == signal.SIGKILL or (left == [] and said.startswith('im2rec_wrapper: interrupted'))
    assert run(source, out, jobs=2) == 0
    assert not [name for name in os.listdir(out) if name.endswith('.part')]
    assert len(listed(out, 'train_480_q90')) == 144


def test_packing_imports_no_mxnet(tmp_path):
    source = tree(tmp_path / 'in', class_folders())
    code = (
        'import sys; sys.path.insert(0, sys.argv.pop(1)); from ibnnet_mx.cli import im2rec\n'
        'if __name__ == "__main__":\n    im2rec.main(sys.argv[1:]); sys.exit("mxnet" in sys.modules)'
    )
    script = tmp_path / 'script.py'
    script.write_text(code)
    root = str(TOOL.parents[1])
    subprocess.run([sys.executable, str(script), root, str(source), str(tmp_path / 'out')], check=True)
    assert (tmp_path / 'out' / 'val_256_q90.rec').exists()


MISTAKES = {  # arguments ({x} is the test's folder) -> what is said
    'nothing': ('', 'SOURCE DATA_DIR: two paths are needed, 0 given: none'),
    'one path': ('digits', 'two paths are needed, 1 given: digits'),
    'three paths': ('a b c', 'two paths are needed, 3 given: a b c'),
    'no source': ('{x}/none {x}/out', 'SOURCE {x}/none is not there'),
    'no pictures': ('{x}/empty {x}/out', '{x}/empty: no pictures in class folders'),
    'no tar': ('{x}/file {x}/out', 'SOURCE {x}/file is no list, folder or tar'),
    'no gzip': ('{x}/bad.gz {x}/out', '{x}/bad.gz cannot be unpacked'),
    'cut tar': ('{x}/cut.tar {x}/out', '{x}/cut.tar is truncated or damaged: it has no end mark'),
    'list of words': ('{x}/words.lst {x}/out', "{x}/words.lst: line 1 is 'some words'"),
    'empty list': ('{x}/empty.lst {x}/out', '{x}/empty.lst: the list is empty'),
    'list of two widths': ('{x}/widths.lst {x}/out', '{x}/widths.lst: line 2 has 2 labels, the first line has 1'),
    'label nan': ('{x}/nan.lst {x}/out', '{x}/nan.lst: line 1 is'),
    'all unreadable': ('{x}/gone.lst {x}/out', 'could be read: --root names the folder that their paths'),
    'one picture': ('{x}/one {x}/out', '1 picture cannot be split'),
    'unseen class': ('{x}/unseen {x}/out', "the class 'b' is in the validation side only"),
    'root': ('{x}/gone.lst {x}/out --root {x}/none', '--root {x}/none: there is no such folder'),
    'data dir': ('{x}/one {x}/file', 'DATA_DIR {x}/file is a file'),
    'data type': ('{x}/one {x}/out --data-type mnist', "--data-type: invalid choice: 'mnist'"),
    'resize': ('{x}/one {x}/out --resize 3', '--resize 3 must be from 32 to 4096'),
    'quality': ('{x}/one {x}/out --quality 101', '--quality 101 must be from 1 to 100'),
    'ratio': ('{x}/one {x}/out --train-ratio 1', '--train-ratio 1 must be between 0 and 1'),
    'ratio nan': ('{x}/one {x}/out --train-ratio nan', '--train-ratio nan'),
    'seed': ('{x}/one {x}/out --seed -1', '--seed -1 must be from 0'),
    'max bad': ('{x}/one {x}/out --max-bad -1', '--max-bad -1 must be at least 0'),
    'jobs': ('{x}/one {x}/out --threads 0', '--jobs 0 must be from 1'),
    'restart and pack': ('{x}/one {x}/out --add-restart {x}/file', 'SOURCE DATA_DIR ({x}/one {x}/out) has no meaning'),
    'restart and quality': (
        '--quality 90 --add-restart {x}/file',
        'existing records, so --quality has no meaning',
    ),
    'restart and list': ('--add-restart {x}/file --list', '--list has no meaning: leave it out'),
    'restart and jobs': ('--add-restart {x}/file --jobs 0', '--jobs 0 must be from 1'),
    'restart of nothing': ('--add-restart', 'argument --add-restart: expected at least one argument'),
    'restart of no file': ('--add-restart {x}/file {x}/none.rec', '--add-restart {x}/none.rec: there is no such file'),
    'unknown': ('{x}/one {x}/out --colour red', '--colour is not an option'),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_mistake_is_one_line_with_the_value(tmp_path, capsys, name):
    one = {'one/a/x.jpg': encoded(0), 'unseen/train/a/x.jpg': encoded(0), 'unseen/val/b/x.jpg': encoded(0)}
    tree(tmp_path, {**one, 'file': b'words', 'bad.gz': b'\x1f\x8bwords', 'words.lst': b'some words\n'})
    tree(tmp_path, {'empty.lst': b'\n', 'widths.lst': b'0\t1\ta.jpg\n1\t1\t2\tb.jpg\n', 'nan.lst': b'0\tnan\ta.jpg\n'})
    tree(tmp_path, {'gone.lst': b'0\t1\ta.jpg\n1\t1\tb.jpg\n'})
    (tmp_path / 'empty').mkdir()
    whole = tar_of(tmp_path / 'cut.tar', class_folders()).read_bytes()
    (tmp_path / 'cut.tar').write_bytes(whole[:2000])
    args, text = (part.format(x=tmp_path) for part in MISTAKES[name])
    try:
        code = im2rec.main(args.split())
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    last = [line for line in said.err.splitlines() if not line.startswith('skipped: ')]
    assert (code, said.out, len(last)) == (2, '', 1)
    assert last[0].startswith('im2rec_wrapper: ')
    assert text in last[0]


@pytest.mark.skipif(native.functions() is None, reason='the C library is not built')
def test_restart_markers_are_added_once_and_packing_again_is_not_needed(tmp_path, capsys):
    pictures = [jpeg(scene(i, 40, 90)) for i in range(6)] + [jpeg(scene(6, 50, 64))[:-30]] * 25 + [png(scene(7, 8, 8))]
    path = write(tmp_path / 'a.rec', pictures)
    before = path.stat().st_size
    Manifest(str(tmp_path)).put('a', {'bytes': before, 'source': 'x', 'skipped': 0})
    path.with_suffix('.lst').touch()
    assert im2rec.main(['--add-restart', str(path), '--jobs', '2']) == 0
    said, after = capsys.readouterr(), path.stat().st_size
    assert said.out == (
        f'{path}: 32 records: 6 got restart markers, 1 not JPEG, 25 damaged and left as they were; '
        f'{before} bytes, now {after} ({after / before - 1:+.1%})\n'
    )
    assert said.err.splitlines()[0] == f'left as it was: {path}: record 6 (id 6) is truncated'
    assert said.err.count('left as it was') == im2rec.NAMED
    assert Manifest(str(tmp_path)).finished('a', 'x')['bytes'] == after
    assert im2rec.main(['--add-restart', str(path)]) == 0
    assert capsys.readouterr().out.startswith(f'{path}: 32 records: nothing to do, 6 had them before, ')


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A loopback web server that has a tiny CIFAR-10 archive; a list of the paths that it was asked for."""
    archive = tar_of(tmp_path / 'tiny.tar.gz', cifar_archive('py', cifar_rows()), 'w:gz').read_bytes()
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path != '/cifar.tar.gz':
                return self.send_error(404)
            self.send_response(200)
            self.send_header('Content-Length', str(len(archive)))
            self.end_headers()
            return self.wfile.write(archive)

        def log_message(self, *args):
            pass

    web = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    monkeypatch.setenv(cifar10.URL_VARIABLE, f'http://127.0.0.1:{web.server_port}/cifar.tar.gz')
    monkeypatch.setattr(cifar10, 'MD5', hashlib.md5(archive).hexdigest())
    yield asked
    web.shutdown()
    web.server_close()


def test_download_is_checked_kept_and_packed(tmp_path, server):
    assert run(tmp_path / 'data', '--download') == 0
    assert len(listed(tmp_path / 'data', 'cifar10_train')) == 15
    assert server == ['/cifar.tar.gz']
    assert run(tmp_path / 'data', tmp_path / 'again', '--download') == 0
    assert server == ['/cifar.tar.gz']
    (tmp_path / 'data' / cifar10.FILE).write_bytes(b'cut')
    assert run(tmp_path / 'data', tmp_path / 'again', '--download') == 0
    assert len(server) == 2
    assert not list(tmp_path.glob('**/*.part'))


def test_failed_download_is_one_line_and_leaves_nothing(tmp_path, server, capsys, monkeypatch):
    monkeypatch.setattr(cifar10, 'MD5', '0' * 32)
    assert run(tmp_path / 'data', '--download') == 2
    assert f'not {"0" * 32}: it is damaged, try again' in capsys.readouterr().err
    monkeypatch.setenv(cifar10.URL_VARIABLE, os.environ[cifar10.URL_VARIABLE] + '.none')
    assert run(tmp_path / 'data', '--download') == 2
    assert 'Not Found' in capsys.readouterr().err
    monkeypatch.setenv(cifar10.URL_VARIABLE, 'http://127.0.0.1:1/x')
    assert run(tmp_path / 'data', '--download') == 2
    said = capsys.readouterr().err
    assert 'Connection refused' in said
    assert 'without a network, copy cifar-10-python.tar.gz here' in said
    assert said.count('\n') == 1
    assert os.listdir(tmp_path / 'data') == []


def test_real_photographs(tmp_path):
    tar = SHARED / 'data' / 'imagenet_photos_500.tar'
    if not tar.is_file():
        pytest.skip('the 500 photographs are not here')
    assert run(tar, tmp_path, '--resize', 256, jobs=2) == 0
    train, val = listed(tmp_path, 'train_256_q90'), listed(tmp_path, 'val_256_q90')
    assert (len(train), len(val)) == (400, 100)
    assert len((tmp_path / 'synset.txt').read_text().split()) == 500
