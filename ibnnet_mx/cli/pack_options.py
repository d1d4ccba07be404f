"""The options of ibnnet pack."""

from __future__ import annotations

from typing import Any

from ibnnet_mx._limits import usable_cores
from ibnnet_mx.cli.options import Parser, add_exif, add_image_size

LARGE = 480  # short side of the large training records, unless --resize names another
ABOUT = """SOURCE is a folder or tar of class folders, or of train/ and val/ (or test/) with class folders; a .lst
(id<tab>label<tab>path), or a folder with train.lst and val.lst; CIFAR-10's archive (python or binary version), packed
or unpacked; or the word digits (scikit-learn's handwritten digits). Without a validation side one is split off.
Writes train_480_q90, train_256_q90, val_256_q90, or with --image-size 96 train_96, val_96 (train_32, val_32 for
pictures of 32x32), or cifar10_train, cifar10_val of CIFAR-10's archive: .rec, .idx and .lst, and synset.txt.
Finished files are not made again.

With --add-restart, existing records get restart markers, with which crops of them are read faster."""
EXAMPLES = (
    'ibnnet pack PICTURES DATA --domain photo',
    'ibnnet pack CIFAR --download',
    'ibnnet pack train.lst DATA --root PICTURES --max-bad 0',
    'ibnnet pack --add-restart DATA/train_480_q90.rec',
)


def add_domain(add: Any) -> None:
    """Add --domain."""
    text = 'of DOMAIN/CLASS folders: names, all, or none if DOMAIN is the class; unset: they are asked for'
    add('--domain', metavar='A,B', action='append', help=text)


def make_parser(prog: str = 'im2rec_wrapper') -> Parser:
    """Return the parser of the command."""
    parser = Parser(
        prog=prog,
        usage='%(prog)s SOURCE DATA_DIR [options]\n       %(prog)s --add-restart FILE.rec [FILE.rec ...] [--jobs N]',
        description=ABOUT,
        examples=EXAMPLES,
    )
    text = 'pictures, and a folder for the records; with --download the folder is enough'
    parser.add_argument('paths', nargs='*', metavar='SOURCE DATA_DIR', help=text)
    add = pictures = parser.add_argument_group('pictures').add_argument
    add('--data-type', choices=('imagenet', 'cifar10'), help='imagenet or cifar10; unset: by the pictures')
    add(
        '--task',
        choices=('classes', 'face'),
        default='classes',
        help="classes, or face: train.rec in insightface's layout, 112x112",
    )
    add_domain(add)
    add('--root', help='folder that the paths in a .lst start from; unset: the folder of the .lst')
    add = parser.add_argument_group('records').add_argument
    add('--list', action='store_true', help='only write train.lst, val.lst and synset.txt')
    add_image_size(add, text='size of the records, such as 96 or 256x128; unset: 480 and 256')
    add('--resize', type=int, help=f'short side of the large training records; unset: {LARGE}')
    add('--quality', type=int, default=90, help='JPEG quality')
    add = pictures
    add('--train-ratio', type=float, default=0.8, help='part for training if SOURCE has no val/')
    add(
        '--split',
        choices=('stratified', 'random'),
        default='stratified',
        help='stratified: each class alike; or random',
    )
    add('--seed', type=int, default=0, help='seed of the shuffle and the split')
    add_exif(add)
    add('--max-bad', type=int, default=100, help='skip up to so many pictures that cannot be read')
    add = parser.add_argument_group('run').add_argument
    text = 'processes; unset: one for each usable core'
    add('--jobs', '--threads', type=int, default=usable_cores(), metavar='N', help=text)
    rec: dict[str, Any] = dict(nargs='+', metavar='FILE')
    add('--add-restart', **rec, help='add restart markers to existing records, in place')
    pictures(
        '--download',
        action='store_true',
        help='first download CIFAR-10 into the folder SOURCE (or DATA_DIR)',
    )
    return parser
