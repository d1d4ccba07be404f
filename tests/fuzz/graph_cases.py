"""Cases of -symbol.json files: each damages one, runs commands on the checkpoint and gives one of place.OUTCOMES.
Finding: a command did what it must not, or believed what is wrong."""

from __future__ import annotations

import json

import numpy as np

from tests.fuzz import damage
from tests.fuzz.mutate import pick
from tests.fuzz.place import EQUAL, REFUSED, UNKNOWN, Finding
from tests.fuzz.weights_cases import copied, same_as_whole, uses

OPERATORS = (
    'null',
    'Custom',
    'Dropout',
    'Pooling',
    'RNN',
    '_plus',
    'Reshape',
    'BatchNorm',
    'FullyConnected',
    'Flatten',
)
OPERATORS += ('Convolution', 'Deconvolution', '_zeros', 'Embedding', '_foreach', '_copyto', 'SoftmaxOutput', 'softmax')
OPERATORS += (
    'InstanceNorm',
    'LayerNorm',
    'Concat',
    'SliceChannel',
    'BlockGrad',
    '_sg_mkldnn_conv',
    'UpSampling',
    'sum',
)
ATTRIBUTES = (b'0', b'-1', b'(0, 0)', b'(-1, -1)', b'(1000000, 1000000)', b'1000000000', b'True', b'None', b'', b'nan')
ATTRIBUTES += (b'(1, 1)', b'(3, 3)', b'2', b'1', b'(1, 1, 1)', b'()', b'1e-30', b'channels_last', b'9' * 30)


def _hurt_symbol(random, place):
    whole = place.whole
    data = whole.read(f'{whole.prefix}-symbol.json')
    if random.randint(2):
        return damage.json_bytes(random, data, whole.other(random))
    return json.dumps(_other_graph(random, json.loads(data))).encode()


def _other_graph(random, graph):
    """Operators, attributes, edges and tables of a graph, changed so that it is one still, for a parser."""
    nodes = graph['nodes']
    places = (-1, 0, 1, len(nodes) - 1, len(nodes), 1 << 20, (1 << 32) - 1, 1 << 32, 1 << 63)
    for _ in range(pick(random, (1, 1, 2, 4))):
        node, what = pick(random, [node for node in nodes if node['op'] != 'null']), random.randint(7)
        if what < 2 and node.get('attrs'):
            key = pick(random, sorted(node['attrs']))
            old = node['attrs'][key].encode()
            new = pick(random, (damage.number(random, old, b''), pick(random, ATTRIBUTES)))
            node['attrs'][key] = new.decode('utf-8', 'replace')
        elif what == 2:
            node['op'] = pick(random, OPERATORS)
        elif what < 5 and node['inputs']:
            edge = pick(random, node['inputs'])
            value = pick(random, places) if random.randint(3) == 0 else random.randint(len(nodes))
            edge[pick(random, (0, 0, 0, 1, 2))] = value
        elif what == 5:
            inputs = node['inputs']
            inputs.pop() if random.randint(2) and inputs else inputs.append([random.randint(len(nodes)), 0, 0])
        else:
            table = graph[pick(random, ('arg_nodes', 'node_row_ptr'))]
            table[random.randint(len(table))] = pick(random, places)
            graph['heads'][0][pick(random, (0, 1))] = pick(random, (*places, random.randint(len(nodes))))
    return graph


def symbol(random, place):
    """A symbol beside a .json, which has its sum: another one is refused."""
    prefix, way = copied(place), uses(random, place, place.whole.prefix)
    place.write('net-symbol.json', _hurt_symbol(random, place))
    ran = place.run(*way(prefix))
    if ran.code:
        return REFUSED
    if not same_as_whole(place, ran, way):
        raise Finding('a damaged symbol is used')
    return EQUAL


def _graph(data):
    """What a graph computes: operators, attributes and edges; names only of the variables."""
    value = json.loads(data)
    nodes = [
        (node['op'], node.get('attrs') or node.get('param') or {}, [edge[:2] for edge in node['inputs']], node['name'])
        for node in value['nodes']
    ]
    return [(*node[:3], node[3] if node[0] == 'null' else '') for node in nodes], [head[:2] for head in value['heads']]


def bare_symbol(random, place):
    """A symbol without a .json, as of 2016: a graph that is another may be a legal one; one that is the same computes
    the same."""
    prefix, way, whole = copied(place), uses(random, place, place.whole.prefix), place.whole
    changed = _hurt_symbol(random, place)
    (place.folder / 'net-0001.json').unlink()
    place.write('net-symbol.json', changed)
    words = ('--img', whole.pictures['png'], '--json', '--top', 4, '--crop', 'center', '--pixels', 'imagenet')
    entry = ('predict', *words, '--prefix', prefix, '--epoch', 1)
    ran = place.run(*entry)
    if ran.code == 0 and random.randint(4) == 0:
        place.run(*way(prefix))
    if ran.code:
        return REFUSED
    try:
        same = _graph(changed) == _graph(whole.read(f'{whole.prefix}-symbol.json'))
    except Exception as error:  # of any kind: it is no such file
        raise Finding(f'is loaded, and is no graph: {error!r}') from None
    if not same:
        return UNKNOWN
    found = [row['probability'] for row in json.loads(ran.out)['top']]
    usual = whole.usual(*entry[:-4], '--prefix', whole.prefix, '--epoch', 1)
    if not np.allclose(found, [row['probability'] for row in json.loads(usual)['top']], atol=1e-4):
        raise Finding('the same graph, another result')
    return EQUAL
