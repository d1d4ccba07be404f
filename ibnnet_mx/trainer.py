"""The training step and the loops over an epoch. Nobody else calls autograd or gluon.Trainer's update."""

from __future__ import annotations

import random
import time

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from ibnnet_mx import finetune, memonger, norm, optim, profiling, recipe
from ibnnet_mx.scoring import scores


def evaluate(net, val, cluster, parts=1):
    """{metric: mean over all pictures of val}; the padding of the last batch is not counted.

    parts: in how many a context computes its share of a batch, for their memory.
    """
    total = {'samples': 0.0}
    for data, label, real in val.epoch():
        rows = [part for share in cluster.split(data) for part in cluster.cut(share, parts)]
        logits = np.concatenate([net(part).asnumpy() for part in rows])
        sums = dict(scores(logits[:real], label.asnumpy()[:real]), samples=float(real))
        total = {name: total.get(name, 0.0) + value for name, value in sums.items()}
    total = cluster.sum_over_workers(total)
    samples = total.pop('samples')
    return {name: value / max(samples, 1.0) for name, value in total.items()}


class Trainer:
    """A network being trained after a recipe on a cluster; epoch is the number of epochs that are done.

    The network is initialised here, from the recipe's seed, unless it already is. report: logs.Reporter or the like.
    start: called with the initialised network to put other weights into it; returns lines for the log.
    recompute: None, 'auto' or megabytes: memonger.Recompute's budget.
    """

    def __init__(self, net, plan, cluster, report, recompute=None, start=None):
        self.net, self.recipe, self.cluster, self.report, self.epoch = net, plan, cluster, report, 0
        self._learning = finetune.prepare(net, plan)
        mx.random.seed(plan.seed)
        net.initialize(ctx=cluster.contexts)
        for line in start(net) if start else ():
            report.info(line)
        net.hybridize(static_alloc=True, static_shape=True)
        self._params = net.collect_params()
        for name, param in self._params.items():
            param.wd_mult = 0.0 if name.endswith(tuple(plan.no_decay)) else 1.0
        self._classes = self._params['fc1_bias'].shape[0]
        self._soft = plan.label_smoothing > 0 or plan.mixup > 0
        self._loss = gluon.loss.SoftmaxCrossEntropyLoss(sparse_label=not self._soft)
        self._forward_backward = self._plain
        if recompute is not None:
            self._forward_backward = memonger.Recompute(net, self._loss, recompute, report.info)
        rates = dict(learning_rate=recipe.lr_at(plan, 0), momentum=plan.mom, wd=plan.wd)
        optimizer = optim.make(plan.optimizer, cluster.contexts, **rates)
        self._updates = cluster.connect(self._params, optimizer)
        self._sums = {}  # of a batch's parts, by context
        self._tick = lambda kind: None  # what a profiling.Clock hears

    def _plain(self, data, label):
        with autograd.record():
            logits = self.net(data)
            loss = self._loss(logits, label)
        loss.backward()
        return loss, logits

    def _targets(self, data, label, step):
        """Labels as classes, or as distributions where smoothing or mixup ask for them; mixup changes data as well."""
        if not self._soft:
            return data, label
        smooth = self.recipe.label_smoothing
        target = mx.nd.one_hot(label, self._classes, 1 - smooth + smooth / self._classes, smooth / self._classes)
        if self.recipe.mixup > 0:
            draw = np.random.RandomState([self.recipe.seed, self.epoch, step])
            share = draw.beta(self.recipe.mixup, self.recipe.mixup)
            other = mx.nd.array(draw.permutation(data.shape[0]))
            data = share * data + (1 - share) * mx.nd.take(data, other)
            target = share * target + (1 - share) * mx.nd.take(target, other)
        return data, target

    def step(self, data, label, rate):
        """One update at a learning rate with the mean gradient over the rows of data. Returns the logits by part."""
        shares = list(zip(self.cluster.split(data), self.cluster.split(label)))
        logits = [part for x, y in shares for part in self._gradient(x, y)]
        for context in self.cluster.contexts[len(shares) :]:
            self._no_gradient(context)
        self._updates.set_learning_rate(rate)
        self._updates.allreduce_grads()
        rows = data.shape[0]
        if self.recipe.clip_gradient:
            for context in self.cluster.contexts:
                grads = [p.grad(context) for p in self._params.values() if p.grad_req != 'null']
                gluon.utils.clip_global_norm(grads, self.recipe.clip_gradient * rows, check_isfinite=False)
        self._updates.update(rows)
        self._tick('optimiser')
        return logits

    def _gradient(self, data, label):
        """Gradients of one context's rows, computed in recipe.accumulate parts one after another; the parts' logits."""
        parts = list(zip(*(self.cluster.cut(array, self.recipe.accumulate) for array in (data, label))))
        logits = []
        for i, (x, y) in enumerate(parts, 1):
            self._tick('rest')
            logits.append(self._forward_backward(x, y)[1])
            if len(parts) > 1:
                self._add_up(data.context, i == 1, i == len(parts))
                self._tick('add and copy')
        return logits

    def _add_up(self, context, first, last):
        """Adds a part's gradients to those of the parts before; after the last the Parameters have the sum.

        Here and not by grad_req='add', which mxnet does not pass on to operators of ours: they would write. What is no
        gradient, a norm's State, is not of these: it has moved with each part.
        """
        grads = [p.grad(context) for p in self._params.values() if p.grad_req != 'null']
        if context not in self._sums:
            self._sums[context] = [mx.nd.empty(grad.shape, context, grad.dtype) for grad in grads]
        for total, grad in zip(self._sums[context], grads):
            if first:
                grad.copyto(total)
            else:
                mx.nd.elemwise_add(total, grad, out=grad if last else total)

    def profile(self, train):
        """The profiling.Profile of some steps over data.Iterator train; they are real ones and move the weights."""
        rate = recipe.lr_at(self.recipe, self.epoch + 0.5 / train.steps(self.epoch))

        def step(data, label):
            self.step(*self._targets(data, label, 0), rate)

        return profiling.measure(step, self._watch, profiling.full_batches(train, self.epoch), self.net)

    def _watch(self, clock):
        """From now on each operator of a step is waited for and told to a profiling.Clock."""
        if not isinstance(self._forward_backward, memonger.Recompute):
            self._forward_backward = memonger.Recompute(self.net, self._loss, float('inf'))  # which recomputes nothing
        self._forward_backward.watch(clock)
        self._tick = clock.tick

    def _no_gradient(self, context):
        """A context without a picture in a batch adds nothing."""
        for param in self._params.values():
            if param.grad_req != 'null':
                param.grad(context)[:] = 0
                param.data(context)._fresh_grad = True

    def _seed(self):
        """mxnet's generator cannot be saved, so each epoch starts from its own seed: a resumed run draws the same."""
        for seed in (mx.random.seed, np.random.seed, random.seed):
            seed((self.recipe.seed * 100003 + self.epoch) % 2**31)

    def train_epoch(self, train):
        """One epoch over data.Iterator train; its lines and bar go to the report."""
        begin, steps, done = time.time(), train.steps(self.epoch), None
        self._seed()
        self.report.start_epoch(self.epoch, steps)
        rate = 0.0
        for i, (data, label, real) in enumerate(train.epoch(self.epoch)):
            if not real:
                continue
            rate = recipe.lr_at(self.recipe, self.epoch + (i + 0.5) / steps)
            mixed, target = self._targets(data, label, i)
            logits = self.step(mixed, target, rate)
            if done:
                self._tell(*done)  # one batch late, so that the host reads while the next step computes
            done = i, label, logits
        if done:
            self._tell(*done)
        mx.nd.waitall()  # mxnet lets statistics of another device be read before its backward pass has written them
        for part in self._learning:  # the mean of equal values need not be that value: frozen ones stay out of it
            self.cluster.average([p for p in part.collect_params().values() if norm.is_state(p)])
        self.report.train(self.epoch, rate, time.time() - begin)
        self.epoch += 1

    def _tell(self, batch, label, logits):
        values = np.concatenate([part.asnumpy() for part in logits])
        self.report.batch(self.epoch, batch, len(values), scores(values, label.asnumpy()))

    def evaluate(self, val):
        """{metric: mean over all pictures of val}, told to the report."""
        begin = time.time()
        means = evaluate(self.net, val, self.cluster, self.recipe.accumulate)
        self.report.validation(self.epoch - 1, means, time.time() - begin)
        return means

    def states(self):
        """{parameter: NDArray}: the optimiser's state, and the norms' that prediction does not need.

        The optimiser has none before the first step.
        """
        names, context = list(self._params), self.cluster.contexts[0]
        found = {names[i]: state for i, state in self._updates._updaters[0].states.items() if state is not None}
        return {**found, **{name: self._params[name].data(context) for name in self._progress()}}

    def _progress(self):
        """Names of what only further training needs: counters and moments of MABN and the like."""
        return [name for name in self._params if name.endswith(norm.PROGRESS)]

    def set_states(self, states):
        """What states() gave, for every context; that of parameters which do not learn any more is dropped.

        ValueError where a name or shape does not fit.
        """
        wrong = [n for n, a in states.items() if n not in self._params or self._params[n].shape != tuple(a.shape)]
        if wrong:
            raise ValueError(f'the optimiser state does not fit the network: {", ".join(wrong)}')
        states = dict(states)
        for name in self._progress():
            if name not in states:
                raise ValueError(f'{name} is missing')
            self._params[name].set_data(mx.nd.array(states.pop(name)))
        index = {name: i for i, name in enumerate(self._params)}
        states = {name: state for name, state in states.items() if self._params[name].grad_req != 'null'}
        for context, updater in zip(self.cluster.contexts, self._updates._updaters):
            for name, state in states.items():
                updater.states[index[name]] = mx.nd.array(state, ctx=context, dtype=state.dtype)
                updater.states_synced[index[name]] = True
