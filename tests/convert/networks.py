"""Networks with the weights of the goldens, and files of them."""

import mxnet as mx
import numpy as np

from ibnnet_mx import convert, get_model
from ibnnet_mx.convert import names
from ibnnet_mx.files import atomic, params_file
from tests.goldens.generate import fill


def filled(name, classes=None, **options):
    net = get_model(name, classes, **options)
    convert.load_mxnet(net, {n: fill(n, p.shape) for n, p in net.collect_params().items()})
    return net


def arrays_of(net):
    return {n: p.data().asnumpy() for n, p in net.collect_params().items()}


def equal(one, other):
    return list(one) == list(other) and all(
        one[k].dtype == other[k].dtype and np.array_equal(one[k], other[k]) for k in one
    )


def official(name):
    """A state_dict as the original's code saves it, counters included."""
    params, found = get_model(name).collect_params(), {}
    for n, key in names.torch_keys(list(params)).items():
        found[key] = fill(key, params[n].shape)
        if key.endswith('running_var'):
            found[key.replace('running_var', 'num_batches_tracked')] = np.zeros((), np.int64)
    return found


def write_checkpoint(folder, symbol, arrays):
    aux = symbol.list_auxiliary_states()
    (folder / 'net-symbol.json').write_text(mx.sym.SoftmaxOutput(symbol, name='softmax').tojson())
    named = {('aux:' if n in aux else 'arg:') + n: a for n, a in arrays.items()}
    atomic.write_file(folder / 'net-0000.params', params_file.encode_params(named))
    return folder / 'net'
