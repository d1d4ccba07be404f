"""evaluate.py --prefix P --epoch N --data-dir DATA: accuracy of a checkpoint on validation records."""

from __future__ import annotations

import json
import sys

from ibnnet_mx.cli import options
from ibnnet_mx.cli.predict import Classifier


def make_parser():
    parser = options.Parser(prog='evaluate', description=__doc__)
    add = parser.add_argument
    add('--prefix', required=True, help='of the checkpoint: PREFIX-symbol.json, PREFIX-0000.params')
    add('--epoch', type=int, default=0)
    add('--data-dir', default='./data', help='folder with the records of tools/im2rec_wrapper.py')
    add('--batch-size', type=int, default=100, help='changes the speed only, never the result')
    add('--gpu', type=int, help='number of the GPU; the CPU where it is not given')
    add('--threads', type=int, help='of the reader; unset: one for each core')
    add('--max-bad-records', type=int, default=0, help='damaged pictures that are skipped')
    add('--json', action='store_true', help='one JSON line')
    return parser


def warn(text):
    print(f'evaluate: {text}', file=sys.stderr)


def evaluate(args):
    from ibnnet_mx import data, distributed, trainer
    from ibnnet_mx.recordio.reader import Options

    if args.batch_size < 1:
        raise ValueError(f'--batch-size {args.batch_size} must be at least 1')
    cluster = distributed.connect('local', '' if args.gpu is None else str(args.gpu))
    model = Classifier(args.prefix, args.epoch, cluster.contexts[0])
    data_type = 'cifar10' if model.size == 32 else 'imagenet'
    reading = Options(threads=args.threads, max_bad=args.max_bad_records, report=warn)
    val = data.val_iter(args.data_dir, data_type, args.batch_size, model.input, reading)
    data.count_classes(val, val, [], model.classes, f'--prefix {args.prefix}: number of classes')
    means = trainer.evaluate(model.net, val, cluster)
    if args.json:
        print(json.dumps(dict(means, pictures=val.count())))
    else:
        for name, value in means.items():
            print(f'Validation-{name}={value:.6f}')


def main(argv=None):
    return options.run(evaluate, make_parser(), argv)
