"""The training step and the loops over an epoch. Nobody else calls autograd or gluon.Trainer's update."""

from __future__ import annotations

import random
import time
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.gluon import nn

from ibnnet_mx import norm, recipe
from ibnnet_mx.metrics import classification
from ibnnet_mx.training import agreement, memonger, optimiser, profiling, setup, state
from ibnnet_mx.training.finite import NotFinite
from ibnnet_mx.training.objective import of_classifier


class Trainer:
    """A network being trained after a recipe on a cluster; epoch, batch: how many are done, batches of the next epoch.

    The network is initialised here, from the recipe's seed, unless it already is. report: logs.Reporter or the like.
    start: called with the initialised network to put other weights into it; returns lines for the log.
    recompute: None, 'auto' or megabytes: memonger.Recompute's budget.
    nan: 'stop', 'skip' or 'rollback'; 'skip' leaves weights and norms as they were before the batch, the others raise
    NotFinite, one batch late. left_out: {(epoch, batch)} that are not trained on. stage: called with what is waited for
    from then on.
    """

    def __init__(self, net, wanted, cluster, report, recompute=None, start=None, nan='stop', objective=None):
        self.net, self.recipe, self.cluster, self.report = net, wanted, cluster, report
        self.nan, self.left_out, self.stage = nan, set(), lambda name: None
        self.go_on(0)
        self._learning = setup.prepare(net, wanted)
        mx.random.seed(wanted.seed)
        net.initialize(ctx=cluster.contexts)
        for line in start(net) if start else ():
            report.info(line)
        net.hybridize(static_alloc=True, static_shape=True)
        self._params = net.collect_params()
        for name, param in self._params.items():
            param.wd_mult = 0.0 if name.endswith(tuple(wanted.no_decay)) else 1.0
        self.objective = objective or of_classifier(net, wanted)
        self._forward_backward = self._plain
        if recompute is not None:
            self._forward_backward = memonger.Recompute(net, self.objective.loss, recompute, report.info)
        rates = dict(learning_rate=recipe.lr_at(wanted, 0), momentum=wanted.mom, wd=wanted.wd)
        optimizer = optimiser.make(wanted.optimizer, cluster.contexts, **rates)
        self._updates = cluster.connect(self._params, optimizer)
        self._sums = {}  # of a batch's parts, by context
        self.finite = mx.nd.ones((1,), cluster.contexts[0])
        self._loss_sum: Any = None  # of this worker's pictures in a step
        drawing = []
        net.apply(lambda block: drawing.append(isinstance(block, nn.Dropout)))
        self._draws = any(drawing)
        self._tick = lambda kind: None  # what a profiling.Clock hears

    def go_on(self, epoch, batch=0, sums=None):
        """From there on: epochs and batches of the next one are done, with such sums over pictures (Reporter's)."""
        self.epoch, self.batch, self._before = epoch, batch, sums or [0, {}]

    def _plain(self, data, label):
        with autograd.record():
            logits = self.net(data)
            loss = self.objective.loss(logits, label)
        loss.backward()
        return loss, logits

    def _targets(self, data, label, step):
        """Return the pictures of a batch and their targets; what is drawn for them hangs on seed, epoch and step."""
        return self.objective.targets(data, label, lambda: np.random.RandomState([self.recipe.seed, self.epoch, step]))

    def step(self, data, label, rate, message=None):
        """One update at a learning rate with the mean gradient over all rows. Returns the logits of data by part.

        data, label: None where this worker has no picture. message: cluster.tell() of the step; None: data is all.
        finite is 1 afterwards where loss and gradient were, else 0; nan='skip' does without the update then.
        """
        before = self._statistics() if self.nan == 'skip' else ()
        shares = [] if data is None else list(zip(self.cluster.split(data), self.cluster.split(label)))
        self._loss_sum = mx.nd.zeros((1,), self.cluster.contexts[0])
        logits = [part for x, y in shares for part in self._gradient(x, y)]
        for context in self.cluster.contexts[len(shares) :]:
            self._no_gradient(context)
        self._updates.set_learning_rate(rate)
        self.cluster.sum_gradients(self._updates, self._gradients, self._loss_sum)
        self.stage('kvstore')
        rows = data.shape[0] if message is None else message.rows
        self.stage('step')
        grads = {c: self._gradients(c) for c in self.cluster.contexts}
        if self.recipe.clip_gradient:
            for arrays in grads.values():
                gluon.utils.clip_global_norm(arrays, self.recipe.clip_gradient * rows, check_isfinite=False)
        whole = grads[self.cluster.contexts[0]]  # after the sum they are equal on all devices
        self.finite = optimiser.all_finite([*whole, self._loss_sum])
        if self.nan == 'skip' and not self.finite.asscalar():
            for array, old in before:
                old.copyto(array)
            return logits
        self._updates.update(rows)
        self._tick('optimiser')
        return logits

    def _gradients(self, context):
        return [p.grad(context) for p in self._params.values() if p.grad_req != 'null']

    def _statistics(self):
        """Return [(array, its copy)] of what a forward pass moves."""
        moving = [p for p in self._params.values() if norm.is_state(p)]
        return [(array, array.copy()) for param in moving for array in param.list_data()]

    def _gradient(self, data, label):
        """Gradients of one context's rows, computed in recipe.accumulate parts one after another; the parts' logits."""
        parts = list(zip(*(self.cluster.cut(array, self.recipe.accumulate) for array in (data, label))))
        logits = []
        for i, (x, y) in enumerate(parts, 1):
            self._tick('rest')
            loss, values = self._forward_backward(x, y)
            self._loss_sum += loss.sum().as_in_context(self._loss_sum.context)
            logits.append(values)
            if len(parts) > 1:
                self._add_up(data.context, i == 1, i == len(parts))
                self._tick('add and copy')
        return logits

    def _add_up(self, context, first, last):
        """Adds a part's gradients to those of the parts before; after the last the Parameters have the sum.

        Here and not by grad_req='add', which mxnet does not pass on to operators of ours: they would write. What is no
        gradient, a norm's State, is not of these: it has moved with each part.
        """
        grads = self._gradients(context)
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
            pictures, targets = self._targets(data, label, 0)
            self.step(pictures, targets, rate)

        return profiling.measure(step, self._watch, profiling.full_batches(train, self.epoch), self.net)

    def _watch(self, clock):
        """From now on each operator of a step is waited for and told to a profiling.Clock."""
        if not isinstance(self._forward_backward, memonger.Recompute):
            self._forward_backward = memonger.Recompute(
                self.net, self.objective.loss, float('inf')
            )  # which recomputes nothing
        self._forward_backward.watch(clock)
        self._tick = clock.tick

    def _no_gradient(self, context):
        """A context without a picture in a batch adds nothing."""
        for param in self._params.values():
            if param.grad_req != 'null':
                param.grad(context)[:] = 0
                param.data(context)._fresh_grad = True

    def _seed(self, batch=None):
        """Seed an epoch: mxnet's generator cannot be saved, and a resumed run must draw the same.

        A network that draws gets one for each batch too.
        """
        seed = (self.recipe.seed * 100003 + self.epoch) % 2**31
        if batch is None:
            for each in (mx.random.seed, np.random.seed, random.seed):
                each(seed)
        elif self._draws:
            rank = [self.cluster.rank] if self.cluster.rank else []  # else all workers would drop the same
            mx.random.seed(int(np.random.RandomState([seed, batch, *rank]).randint(2**31)))

    def train_epoch(self, train, keeper=None):
        """One epoch over data.Iterator train, from self.batch on; its lines and bar go to the report.

        keeper: keeper.asked() gives the signal that this worker was asked to end by, 0; keeper.due(batches done, what
        all workers told each other) says whether keeper.save() shall be called then. What that raises ends the epoch,
        and self is as it stood after that batch.
        """
        begin, steps, done, rate = time.time(), train.steps(self.epoch), None, 0.0
        self._seed()
        self.report.start_epoch(self.epoch, steps, self.batch, self._before)
        self.stage('data')
        for i, data, label, real in train.numbered(self.epoch, self.batch):
            self.stage('step')
            used = 0 if (self.epoch, i) in self.left_out else real
            message = self.cluster.tell(used, keeper.asked if keeper is not None else int)
            if used or message.rows:
                rate = recipe.lr_at(self.recipe, self.epoch + (i + 0.5) / steps)
                self._seed(i)
                pictures, targets = self._targets(data, label, i) if used else (None, None)
                logits = self.step(pictures, targets, rate, message)
                if done:
                    self._tell(*done)  # one batch late, so that the host reads while the next step computes
                done = i, label, logits, self.finite
            self.batch = i + 1
            if keeper is not None and keeper.due(self.batch, message):
                if done:
                    self._tell(*done)
                done = None
                mx.nd.waitall()
                self.stage('checkpoint')
                keeper.save()
            self.stage('data')
        if done:
            self._tell(*done)
        self._settle()
        self.report.train(self.epoch, rate, time.time() - begin)
        self.go_on(self.epoch + 1)

    def _settle(self):
        """At the end of an epoch: one set of running statistics, the same weights everywhere, sums over all workers."""
        mx.nd.waitall()  # mxnet lets statistics of another device be read before its backward pass has written them
        # The mean of equal values need not be that value: frozen ones stay out of it.
        learning = [param for part in self._learning for param in part.collect_params().values()]
        self.cluster.average([param for param in learning if norm.is_state(param)])
        if self.cluster.num_workers > 1:
            agreement.hold_weights(self)
        total = self.cluster.sum_over_workers(self.sums())
        self.report.sums.samples = int(total.pop('samples'))
        self.report.sums.values = total if self.report.sums.samples else {}

    def sums(self):
        """Return {metric: sum over this worker's pictures of the epoch so far, 'samples': how many these are}."""
        sums = self.report.sums
        return {
            **dict.fromkeys(self.objective.names, 0.0),
            **sums.values,
            'samples': float(sums.samples),
        }

    def _tell(self, batch, label, logits, finite):
        whole = bool(finite.asscalar())
        if whole and logits:
            values = np.concatenate([part.asnumpy() for part in logits])
            self.report.batch(self.epoch, batch, len(values), self.objective.scores(values, label.asnumpy()))
        elif not whole and self.nan == 'skip':
            self.report.warn(f'epoch {self.epoch}, batch {batch}: the gradient is not finite, its update was skipped')
        elif not whole:
            raise NotFinite(self.epoch, batch)

    def evaluate(self, val, between=None):
        """Return {metric: mean over all pictures of val}, and tell the report. between() is called after each batch."""
        begin = time.time()
        tally = classification.evaluate(self._predict, val.epoch(), self.objective.tally(), between=between)
        sums = self.cluster.sum_over_workers({**dict.fromkeys(self.objective.names, 0.0), **tally.sums()})
        count = max(sums.pop('samples'), 1.0)
        means = {name: value / count for name, value in sums.items()}
        self.report.validation(self.epoch - 1, means, time.time() - begin)
        return means

    def _predict(self, data):
        """Return the outputs of a batch as numpy's, each device's share computed in recipe.accumulate chunks."""
        chunks = [c for share in self.cluster.split(data) for c in self.cluster.cut(share, self.recipe.accumulate)]
        return np.concatenate([self.net(chunk).asnumpy() for chunk in chunks])

    def states(self):
        """Return {name: NDArray} of what a checkpoint holds beside the weights; see state.states()."""
        return state.states(self._params, self._updates, self.cluster, within=self.batch > 0)

    def set_states(self, states):
        """Restore what states() returned. Raises ValueError if it does not fit."""
        state.set_states(states, self._params, self._updates, self.cluster)
