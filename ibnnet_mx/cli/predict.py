"""ibnnet predict --img FILE... --prefix P: classify pictures by a checkpoint or weights, and explain why."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ibnnet_mx.cli import options, source
from ibnnet_mx.errors import dashed, visible
from ibnnet_mx.files import outputs

BATCH = 16
ABOUT = 'Classify pictures by a checkpoint or weights, and explain why.'
EXAMPLES = (
    'ibnnet predict --img cat.jpg dog.jpg --prefix model/resnet50_v2',
    'ibnnet predict --img FOLDER --weights published --model resnet50_ibn_a --json',
    'ibnnet predict --img cat.jpg --prefix model/a --explain why.png',
    'ibnnet predict --img cat.jpg --prefix model/a --compare model/b --shift fog:3',
)


def make_parser(prog='predict'):
    usage = '%(prog)s --img FILE [FILE ...] --prefix PREFIX [options]'
    parser = options.Parser(EXAMPLES, prog=prog, usage=usage, description=ABOUT)
    add = parser.add_argument_group('network').add_argument
    source.add_options(add)
    add('--gpu', '--gpus', type=int, help='number of the GPU; unset, or without GPUs: the CPU')
    add = parser.add_argument_group('pictures').add_argument
    add('--img', nargs='+', action='extend', required=True, metavar='FILE', help='pictures, or folders of pictures')
    options.add_image_size(add, text='size that the network sees, such as 256x128; unset: as in training')
    add(
        '--crop',
        choices=('center', 'resize'),
        help='use the centre of the picture, or all of it; unset: as in training',
    )
    options.add_exif(add)
    add('--shift', metavar='NAME:LEVEL', help='first change the pictures as evaluate does, such as fog:3')
    add('--seed', type=int, help='seed of --shift; unset: 0')
    add = parser.add_argument_group('answers').add_argument
    add('--synset', metavar='FILE', help='class names, one a line; unset: those in the checkpoint')
    add('--top', type=int, default=5, help='count of most probable classes to print')
    add('--json', action='store_true', help='print one JSON line for each picture')
    add('--features', metavar='FILE', help='write the input of the classifier, a row a picture: .npz')
    add('--plot', metavar='FILE', help='draw at most 12 pictures and probabilities: .png, .svg, .pdf')
    add('--explain', metavar='FILE', help='draw also which pixels speak for a class (Grad-CAM)')
    add('--explain-class', metavar='CLASS', help='class to explain, name or number; unset: the most probable')
    add('--compare', metavar='PREFIX', help='another checkpoint, for answers beside the first')
    source.add_epoch(add, 'epoch of --compare', '--compare-epoch', 'the value of --epoch')
    return parser


def files_of(names):
    """Return the picture files of names and folders. Raises ValueError for a folder without any."""
    from ibnnet_mx.recordio.pixels.pictures import SUFFIXES

    files = []
    for name in names:
        if os.path.isdir(name):
            pictures = sorted(str(p) for p in Path(name).iterdir() if p.suffix.lower() in SUFFIXES)
            if not pictures:
                raise ValueError(f'--img {name} has no pictures in it')
            files += pictures
        else:
            files.append(name)
    return files


def class_names(given, networks, default, complain):
    """Return the names of each network's classes, each list as long as the network has classes.

    The first list of the right length is taken: of --synset, of the network, of the default file.
    """
    lines = None if given is None else _lines(given, complain)
    counts = sorted({network.classes for network in networks})
    if lines is not None and len(lines) not in counts:
        kinds = f'network {counts[0]}' if len(counts) == 1 else f'networks {" and ".join(map(str, counts))}'
        complain(
            f'--synset {given} has {len(lines)} names and the {kinds} classes: its own names, or numbers, are used'
        )
    default_names = _lines(default, None) if default and os.path.isfile(default) else None
    chosen = []
    for network in networks:
        fitting = [
            names
            for names in (lines, network.names, default_names)
            if names is not None and len(names) == network.classes
        ]
        chosen.append(fitting[0] if fitting else [f'class {i}' for i in range(network.classes)])
    return chosen


def _lines(path, complain):
    """Return the class names in a file, or None if it cannot be read."""
    from ibnnet_mx.recordio import lists

    try:
        return lists.read_names(path, 'strict')
    except (OSError, UnicodeDecodeError) as error:
        if complain:
            why = getattr(error, 'strerror', None) or 'it is not text'
            complain(f"--synset {path} cannot be read: {why}; the network's own names, or numbers, are used")
        return None


def tell(path, views, as_json, shift):
    """Print one picture's results. views: predictor.Result of each network. shift: the value of --shift."""
    if as_json:
        line = {'image': path, **({'shift': shift} if shift else {}), 'top': _rows(views[0].top)}
        for view in views[1:]:
            line['compare'] = {'network': view.network, 'top': _rows(view.top)}
        print(json.dumps(line), flush=True)
        return
    print(visible(f'{path}, {shift}' if shift else path))
    for view in views:
        top = view.top
        if len(views) > 1:
            print(f'By {view.network}:')
        print(f'Top1 result is: {top[0][1]} ({top[0][2]:.4f})')
        print(f'Top{len(top)} result is:')
        for _, name, probability in top:
            print(f'  {probability:.4f}  {name}', flush=True)


def _rows(top):
    return [{'label': label, 'name': name, 'probability': None if p != p else p} for label, name, p in top]


def _device(gpu):
    import mxnet as mx

    if gpu is None:
        return mx.cpu()
    if not (mx.runtime.Features().is_enabled('CUDA') and 0 <= gpu < mx.context.num_gpus()):
        options.tell(f'--gpu {gpu}: there is no such GPU, running on the CPU')
        return mx.cpu()
    return mx.gpu(gpu)


def shifts(text, seed):
    """Return the function of --shift: crops (n, S, S, 3), positions -> crops. Raises ValueError for several shifts."""
    from ibnnet_mx import shift

    if text is None:
        if seed is not None:
            raise ValueError(f'--seed {seed} is the seed of --shift: add --shift')
        return lambda crops, positions: crops
    chosen = shift.chosen(text)
    if len(chosen) != 1:
        raise ValueError(f'--shift {text} is {len(chosen)} shifts: name one, with its severity, such as fog:3')
    if seed is not None and seed < 0:
        raise ValueError(f'--seed {seed} must be at least 0')
    return lambda crops, positions: shift.apply(crops, positions, *chosen[0], seed or 0)


def crops_of(models, files, first, complain):
    """Return the positions of the next readable files, and for each network the crops of them."""
    positions, crops = [], []
    for position, path in enumerate(files[first : first + BATCH], first):
        try:
            crops.append([model.load(path) for model in models])
            positions.append(position)
        except ValueError as error:
            complain(f'--img {error}')
    return positions, list(zip(*crops))


def open_all(args, default_names, complain):
    """Return the Predictor of the network, and the one of --compare if it is given, prepared as the options say."""
    from ibnnet_mx.inference import opening
    from ibnnet_mx.inference.predictor import Features, Predictor

    context = _device(args.gpu)
    networks = [source.open_source(args, context), source.open_other(args, context, 'compare')]
    for network in filter(None, networks):
        options.check_image_size(network, args.image_size)
        if not args.features or args.compare or args.plot or args.explain:
            opening.need_classes(network, '`features` FILE.npz alone writes its numbers')
    for note in [note for network in filter(None, networks) for note in network.notes]:
        options.tell(dashed(note, options.option_name))
    predictors = [Predictor(network, args.crop, args.exif) for network in networks if network is not None]
    named = class_names(args.synset, [one.network for one in predictors], default_names, complain)
    for one, names in zip(predictors, named):
        one.names = names
        if args.explain:
            one.explain(args.explain_class)
    if args.features:
        predictors[0].features = Features(args.features, networks[0])
    return predictors


def embed(model, files, shifted, complain):
    """Write the embeddings of all pictures by a network without a classifier."""
    import numpy as np

    for first in range(0, len(files), BATCH):
        positions, crops = crops_of([model], files, first, complain)
        if positions:
            pictures = shifted(np.stack(crops[0]), positions)
            model.features.collect([files[i] for i in positions], pictures, model.network.input)
    model.features.write()


def check_drawings(args):
    """Return [(option, file)] of the drawings that are asked for. Raises ValueError for options that cannot be."""
    from ibnnet_mx.report import figures

    if args.top < 1:
        raise ValueError(f'--top {args.top} must be at least 1')
    drawings = [(name, path) for name, path in (('plot', args.plot), ('explain', args.explain)) if path]
    for drawing in drawings:
        figures.check_figure(*drawing)
    if args.explain and args.plot and os.path.abspath(args.explain) == os.path.abspath(args.plot):
        raise ValueError(f'--explain {args.explain} is the file of --plot too: name another')
    if args.explain_class is not None and not args.explain:
        raise ValueError(f'--explain-class {args.explain_class} needs --explain: add --explain FILE')
    return drawings


def draw(args, drawings, drawn, count):
    """Draw the first results, and say what is not on the drawings. count: of all pictures."""
    from ibnnet_mx.recordio.inspection import letters
    from ibnnet_mx.report import explanations

    for option, path in drawings:
        explained = option == 'explain'
        look = explanations.Look(explained or args.shift is not None, explained, args.shift, args.exif, count)
        explanations.draw_predictions(option, path, drawn, look)
        if count > explanations.MOST:
            options.tell(f'--{option} {path} shows the first {explanations.MOST} of {count:,} pictures')
    options.tell_missing(letters.missing(explanations.words_of(drawn)) if drawings else '')


def predict(args, default_names=None):
    """Classify every picture that can be read. Return 1 if there was any complaint."""
    import numpy as np

    from ibnnet_mx.report import explanations

    drawings = check_drawings(args)
    shifted, complaints = shifts(args.shift, args.seed), []

    def complain(text):
        complaints.append(text)
        options.tell(visible(text))

    files = files_of(args.img)
    outputs.spare_inputs(files, {**dict(drawings), 'features': args.features})
    models = open_all(args, default_names, complain)
    if models[0].network.embeds:
        embed(models[0], files, shifted, complain)
        return 1 if complaints else 0
    drawn: list[tuple] = []
    for first in range(0, len(files), BATCH):
        positions, crops = crops_of(models, files, first, complain)
        if not positions:
            continue
        paths, room = [files[i] for i in positions], explanations.MOST - len(drawn)
        views = [
            model.look(paths, shifted(np.stack(seen), positions), args.top, room) for model, seen in zip(models, crops)
        ]
        for path, *seen in zip(paths, *views):
            for view in seen:
                if any(p != p for _, _, p in view.top):
                    name = 'the network' if len(seen) == 1 else view.network
                    complain(f'--img {path}: {name} gives no numbers (NaN): its weights are damaged or diverged')
            tell(path, seen, args.json, args.shift)
            if drawings and len(drawn) < explanations.MOST:
                drawn.append((path, seen))
    if models[0].features:
        models[0].features.write()
    draw(args, drawings if drawn else [], drawn, len(files))
    return 1 if complaints else 0


def main(argv=None, default_names=None, prog='predict'):
    return options.run(lambda args: predict(args, default_names), make_parser(prog), argv)
