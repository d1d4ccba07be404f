"""The size of a run's pictures, and the network that fits it."""

from __future__ import annotations

from ibnnet_mx.size import SMALL, Size

PROBED = 512  # sides up to it are tried to find the smallest that a network takes


def chosen(args, facts):
    """Return the Size that --image-size or the checkpoint names; None: the network's own.

    Raises ValueError if they contradict each other.
    """
    before = Size.of(facts.size) if facts is not None and facts.size else None
    asked = None if args.image_size is None else Size.of(args.image_size)
    if before is not None and asked not in (None, before):
        raise ValueError(
            f'--image-size {asked}: the checkpoint was trained with {before}; leave it out, or begin a new run of that '
            'size from its weights by --init FILE.params'
        )
    return asked or before


def family_of(family, wanted, size, is_named):
    """Return the family of networks for pictures of a Size (None: the network's own).

    is_named: the user named the model, which may then have the stem for the other sizes.
    Raises ValueError for a CIFAR network where the pictures are ImageNet's.
    """
    if family.startswith('cifar_'):
        if size is None and wanted.data_type == 'imagenet':
            raise ValueError(
                f'--model {wanted.model} is a CIFAR network: use it with --data-type cifar10, or say the size of the '
                'pictures by --image-size'
            )
        return family
    if size is not None and not size.small:
        return family
    is_small = wanted.data_type == 'cifar10' or size is not None and not is_named
    return f'cifar_{family}' if is_small else family


def remarks(args, wanted, model):
    """Return lines about the network that --image-size has chosen, or that does not fit it."""
    if args.image_size is None or args.retrain:
        return []
    size, is_cifar = Size.of(args.image_size), model.shape.stem == 'cifar'
    option = f'--image-size {size}: '
    if size.small and not is_cifar:
        return [
            f'{option}the stem of {model.name} shrinks pictures to a quarter at once; --model cifar_resnet and '
            f'the like are made for up to {SMALL} pixels'
        ]
    if is_cifar and not size.small:
        return [
            f'{option}{model.name} is made for up to {SMALL} pixels; --model resnet and the like take less time and '
            'memory for more'
        ]
    if is_cifar and not wanted.model.startswith('cifar_') and wanted.data_type == 'imagenet':
        return [f'{option}{model.name} is taken, which is made for up to {SMALL} pixels; --model names another']
    if not is_cifar and wanted.data_type == 'cifar10':
        return [f'{option}{model.name} is taken, which is made for more than {SMALL} pixels; --model names another']
    return []


def check_network(net, model):
    """Raise ValueError if the pictures are so small that a network's poolings leave nothing of them."""
    from ibnnet_mx.graph import sizes

    size, symbol = Size.of(model.size), net.symbol()
    used = set(symbol.list_inputs())
    shapes = {name: param.shape for name, param in net.collect_params().items() if name in used}

    def fits(pixels):
        return sizes.infer(symbol, {**shapes, 'data': (1, 3, *pixels)}) is not None

    if not fits(size):
        least = next((side for side in range(1, PROBED) if fits((side, side))), PROBED)
        raise ValueError(f'--image-size {size}: {model.name} needs pictures of at least {least} pixels on each side')
