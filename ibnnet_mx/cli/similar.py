"""Find the name that a user means: by the words of other tools, by its beginning, or by few different letters."""

from __future__ import annotations

import difflib
from typing import Mapping, Sequence

# Options of other tools: the names that they may have here. The command that is called decides which one it is.
OPTIONS = {
    'resume continue restart go-on': ('retrain',),
    'gpu-id gpu-ids device devices cuda ctx': ('gpus', 'gpu'),
    'learning-rate lr-rate base-lr init-lr': ('lr',),
    'num-epochs num-epoch n-epochs max-epochs nepochs end-epoch': ('epochs',),
    'load-epoch start-epoch begin-epoch': ('model-load-epoch', 'epoch'),
    'img-size input-size imgsz resolution size crop image-shape data-shape': ('image-size',),
    'workers num-workers num-threads nthreads data-nthreads j': ('threads', 'jobs'),
    'jobs': ('threads',),
    'arch architecture network net backbone model-name': ('model',),
    'weights checkpoint ckpt load params model-path load-from': ('weights', 'init', 'prefix'),
    'pretrained': ('weights',),
    'finetune fine-tune': ('init', 'pretrained'),
    'output out-file save': ('out', 'model-prefix', 'json', 'plot'),
    'out-dir output-dir model-dir save-dir save-path checkpoint-dir work-dir save-prefix prefix': ('model-prefix',),
    'model-prefix model-dir': ('prefix',),
    'dataset data data-path data-root root rec-train data-train rec train-dir': ('data-dir',),
    'bs bsz batch batchsize': ('batch-size',),
    'weight-decay decay': ('wd',),
    'momentum': ('mom',),
    'optim opt': ('optimizer',),
    'classes nclass n-classes num-class num-classes': ('num-classes', 'classes'),
    'milestones lr-step lr-step-epochs lr-decay-epoch lr-decay-epochs': ('lr-steps',),
    'scheduler lr-scheduler sched lr-schedule lr-mode': ('schedule',),
    'warmup warm-up warmup-epoch': ('warmup-epochs',),
    'smoothing smooth': ('label-smoothing',),
    'mixup-alpha': ('mixup',),
    'clip-grad grad-clip max-norm clip-grad-norm': ('clip-gradient',),
    'amp fp16 bf16 half mixed-precision precision': ('dtype',),
    'accum grad-accum accum-steps iter-size update-freq gradient-accumulation-steps': ('accumulate',),
    'checkpointing gradient-checkpointing mirror': ('memonger',),
    'log logfile log-path': ('log-file', 'logs'),
    'log-interval print-freq disp-batches log-freq': ('frequent',),
    'save-freq save-interval checkpoint-interval': ('checkpoint-batches',),
    'aug augment augmentation auto-augment': ('aug-level',),
    'layers num-layers': ('depth',),
    'image images input picture file pictures img-path': ('img',),
    'topk top-k': ('top',),
    'labels names class-names classes-file label-file': ('synset',),
    'gradcam grad-cam cam heatmap': ('explain',),
    'embedding embeddings feature extract': ('features',),
    'tta ten-crop num-crop num-crops': ('crops',),
    'corruption corruptions corrupt': ('shift',),
    'jpeg-quality q': ('quality',),
    'ratio split train-split val-split val-ratio': ('train-ratio',),
    'dryrun dry': ('dry-run',),
    'tb logdir tensorboard-dir': ('tensorboard',),
    'sync-bn syncbn norm-layer': ('norm',),
    'random-seed manual-seed': ('seed',),
    'num-gpus nproc nproc-per-node nnodes': ('workers', 'gpus'),
    'hosts hostlist': ('hostfile',),
}
COMMANDS = {
    'fit run retrain resume finetune': ('train',),
    'eval test val validate validation': ('evaluate',),
    'infer inference classify classification demo explain': ('predict',),
    'im2rec im2rec-wrapper convert-data prepare pack-records': ('pack',),
    'export onnx import': ('convert',),
    'check verify rec record recordio inspect': ('records',),
    'list zoo model registry networks': ('models',),
    'curve curves plot-curve draw': ('plot',),
    'corrupt shift corruptions': ('shifts',),
    'distributed dist torchrun mpirun': ('launch',),
    'env info diagnose environment': ('doctor',),
    'completions complete': ('completion',),
    'compile make': ('build',),
}
VALUES = {
    'batchnorm batch batch-norm': ('bn',),
    'instancenorm instance instance-norm': ('in',),
    'layernorm layer layer-norm': ('ln',),
    'groupnorm group group-norm': ('gn',),
    'sync sync-bn syncbatchnorm': ('syncbn',),
    'renorm': ('brn',),
    'fp32 float': ('float32',),
    'bf16 fp16 float16 half': ('bfloat16',),
    'nesterov': ('nag',),
    'momentum': ('sgd',),
    'multistep steps piecewise factor': ('step',),
    'cos': ('cosine',),
    'poly': ('linear',),
    'centre': ('center',),
    'squash whole squeeze': ('resize',),
    'continue': ('go-on',),
    'none no off': ('ignore',),
}


def _plain(word: str) -> str:
    return word.lstrip('-').lower().replace('_', '-')


def nearest(word: str, known: Mapping[str, str], synonyms: Mapping[str, Sequence[str]], most: int = 2) -> list[str]:
    """Return the names that a word may mean, the likeliest first; [] if none is like it.

    known: {name: the name to show}; names may begin with dashes. synonyms: {words of other tools: names without them}.
    """
    names = {_plain(name): shown for name, shown in known.items()}
    asked = _plain(word)
    meant = [name for words, names_here in synonyms.items() if asked in words.split() for name in names_here]
    chosen = [names[name] for name in (asked, *meant) if name in names]
    if chosen:
        return list(dict.fromkeys(chosen))[:most]
    longer = [name for name in names if len(asked) > 2 and name.startswith(asked)]
    near = longer or difflib.get_close_matches(asked, names, most)
    return list(dict.fromkeys(names[name] for name in near[:most]))


def hint(word: str, known: Mapping[str, str], synonyms: Mapping[str, Sequence[str]]) -> str:
    """Return ': did you mean --retrain?', or '' if nothing is like the word. The arguments are those of nearest()."""
    near = nearest(word, known, synonyms)
    return f': did you mean {" or ".join(near)}?' if near else ''
