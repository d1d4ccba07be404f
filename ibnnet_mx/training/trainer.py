"""The training step and the loops over epochs. No other file calls autograd or updates weights."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from mxnet.gluon import nn

from ibnnet_mx import norm, recipe
from ibnnet_mx.metrics import classification
from ibnnet_mx.training import agreement, finite, memonger, memory, optimiser, profiling, setup, state
from ibnnet_mx.training.finite import NotFinite
from ibnnet_mx.training.objective import of_classifier


class Trainer:
    """Trains a network by a recipe on a cluster.

    epoch: count of finished epochs. batch: count of finished batches of the next epoch. report: logs.Reporter or alike.
    The network is initialised here from the recipe's seed, unless it already is.
    start: called with the initialised network to put other weights into it; returns lines for the log.
    recompute: the budget of memonger.Recompute: None, 'least' or megabytes.
    nan: what a non-finite batch does. 'skip' leaves weights and norms as they were before it; 'stop' and 'rollback'
    raise NotFinite, one batch late. left_out: {(epoch, batch)}, the batches that are not used.
    stage: function that is told what the trainer does or waits for next.
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
        if start:
            finite.check_first_weights(net)
        net.hybridize(static_alloc=True, static_shape=True)
        self._params = net.collect_params()
        for name, param in self._params.items():
            param.wd_mult = 0.0 if name.endswith(tuple(wanted.no_decay)) else 1.0
        self.objective = objective or of_classifier(net, wanted)
        self.economise(wanted.accumulate, recompute)
        rates = dict(learning_rate=recipe.lr_at(wanted, 0), momentum=wanted.mom, wd=wanted.wd)
        optimizer = optimiser.make(wanted.optimizer, cluster.contexts, **rates)
        self._updates = cluster.connect(self._params, optimizer)
        self._sums = {}  # context: sums of the chunks' gradients
        self.finite = mx.nd.ones((1,), cluster.contexts[0])
        self._loss_sum: Any = None  # over this worker's pictures of a step
        drawing = []
        net.apply(lambda block: drawing.append(isinstance(block, nn.Dropout)))
        self._draws = any(drawing)
        self._tick = lambda kind: None  # profiling.Clock.tick while profiling

    def go_on(self, epoch, batch=0, sums=None):
        """Set the place: finished epochs, and batches of the next one. sums: theirs, [pictures, {metric: sum}]."""
        self.epoch, self.batch, self._before = epoch, batch, sums or [0, {}]

    def economise(self, chunks, recompute):
        """Compute a device's share in `chunks`, each within memonger's budget `recompute`; None: keep everything."""
        self.recipe = replace(self.recipe, accumulate=chunks)
        self._forward_backward: Any = self._plain
        if recompute is not None:
            self._forward_backward = memonger.Recompute(self.net, self.objective.loss, recompute, self.report.info)

    def planned_megabytes(self, data, label):
        """Return the megabytes of memonger's plan for a chunk; None without memonger. Nothing is computed."""
        step = self._forward_backward
        return step.megabytes(data, label) if isinstance(step, memonger.Recompute) else None

    def _plain(self, data, label):
        with autograd.record():
            logits = self.net(data)
            loss = self.objective.loss(logits, label)
        loss.backward()
        return loss, logits

    def _targets(self, data, label, step):
        """Return the pictures of a batch and their targets. Random draws depend on seed, epoch and step only."""
        return self.objective.targets(data, label, lambda: np.random.RandomState([self.recipe.seed, self.epoch, step]))

    def step(self, data, label, rate, message=None):
        """Update the weights once by the mean gradient over all rows. Return the logits of each chunk.

        rate: learning rate. data, label: None if this worker has no picture. message: the step's cluster.tell(); None:
        no other worker has rows. Sets self.finite to 1 if loss and gradient are finite, else to 0; with nan='skip'
        the update is then left out.
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
        summed = grads[self.cluster.contexts[0]]  # equal on all devices
        self.finite = optimiser.all_finite([*summed, self._loss_sum])
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
        """Return [(array, its copy)] of the statistics and states that a step moves."""
        moving = [p for p in self._params.values() if norm.is_state(p)]
        return [(array, array.copy()) for param in moving for array in param.list_data()]

    def _gradient(self, data, label):
        """Compute the gradients of one device's share in recipe.accumulate chunks. Return the chunks' logits."""
        chunks = list(zip(*(self.cluster.cut(array, self.recipe.accumulate) for array in (data, label))))
        logits = []
        for i, (x, y) in enumerate(chunks, 1):
            self._tick('rest')
            loss, values = self._forward_backward(x, y)
            self._loss_sum += loss.sum().as_in_context(self._loss_sum.context)
            logits.append(values)
            if len(chunks) > 1:
                self._add_up(data.context, i == 1, i == len(chunks))
                self._tick('add and copy')
        return logits

    def _add_up(self, context, first, last):
        """Add a chunk's gradients to those of the chunks before. After the last one the Parameters hold the sum.

        grad_req='add' cannot do it, because mxnet does not pass it to our operators; they would overwrite. The State of
        a norm is not a gradient and is not added: it moves with each chunk.
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
        """Return the profiling.Profile of some steps over data.Iterator train. These real steps move the weights."""
        rate = recipe.lr_at(self.recipe, self.epoch + 0.5 / train.steps(self.epoch))

        def step(data, label):
            pictures, targets = self._targets(data, label, 0)
            self.step(pictures, targets, rate)

        return profiling.measure(step, self._watch, profiling.full_batches(train, self.epoch), self.net)

    def _watch(self, clock):
        """Make all further steps wait for each operator and report it to a profiling.Clock."""
        if not isinstance(self._forward_backward, memonger.Recompute):
            # With this budget nothing is recomputed.
            self._forward_backward = memonger.Recompute(self.net, self.objective.loss, float('inf'))
        self._forward_backward.watch(clock)
        self._tick = clock.tick

    def _no_gradient(self, context):
        """Set the gradients of a context without a picture in this batch to zero."""
        for param in self._params.values():
            if param.grad_req != 'null':
                param.grad(context)[:] = 0
                param.data(context)._fresh_grad = True

    def _seed(self, batch=None):
        """Seed the generators for an epoch, because mxnet's cannot be saved and a resumed run must draw the same.

        batch: seed for a batch instead, if the network draws (dropout).
        """
        seed = (self.recipe.seed * 100003 + self.epoch) % 2**31
        if batch is None:
            for each in (mx.random.seed, np.random.seed, random.seed):
                each(seed)
        elif self._draws:
            rank = [self.cluster.rank] if self.cluster.rank else []  # so that workers do not all drop the same
            mx.random.seed(int(np.random.RandomState([seed, batch, *rank]).randint(2**31)))

    def train_epoch(self, train, keeper=None):
        """Train one epoch over data.Iterator train, from self.batch on. Lines and progress go to the report.

        keeper: a Saver. keeper.asked() returns the signal that asked this worker to end, or 0. keeper.due(finished
        batches, cluster.tell()'s result) returns True if keeper.save() should be called. If save() raises, the epoch
        ends and the trainer stays as it was after that batch.
        """
        begin, steps, done, rate = time.monotonic(), train.steps(self.epoch), None, 0.0
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
        self.report.train(self.epoch, rate, time.monotonic() - begin)
        self.go_on(self.epoch + 1)

    def _settle(self):
        """End an epoch: average running statistics, give all workers the same weights, sum metrics over workers."""
        mx.nd.waitall()  # else statistics of another device could be read before its backward pass has written them
        # Rounding may change the mean of equal values, so frozen statistics are not averaged.
        learning = [param for part in self._learning for param in part.collect_params().values()]
        self.cluster.average([param for param in learning if norm.is_state(param)])
        if self.cluster.num_workers > 1:
            agreement.hold_weights(self)
        total = self.cluster.sum_over_workers(self.sums())
        self.report.sums.samples = int(total.pop('samples'))
        self.report.sums.values = total if self.report.sums.samples else {}

    def sums(self):
        """Return {metric: sum over this worker's pictures of the epoch so far, 'samples': their count}."""
        sums = self.report.sums
        return {
            **dict.fromkeys(self.objective.names, 0.0),
            **sums.values,
            'samples': float(sums.samples),
        }

    def _tell(self, batch, label, logits, finite):
        """Report a finished batch. Raises NotFinite unless it was finite or nan is 'skip'."""
        is_finite = bool(finite.asscalar())
        if is_finite and logits:
            values = np.concatenate([part.asnumpy() for part in logits])
            self.report.batch(self.epoch, batch, len(values), self.objective.scores(values, label.asnumpy()))
        elif not is_finite and self.nan == 'skip':
            self.report.warn(f'epoch {self.epoch}, batch {batch}: the gradient is not finite, its update was skipped')
        elif not is_finite:
            raise NotFinite(self.epoch, batch)

    def evaluate(self, val, between=None):
        """Return {metric: mean over all pictures of val}, and report it. between() is called after each batch."""
        begin = time.monotonic()
        tally = classification.evaluate(self._predict, val.epoch(), self.objective.tally(), between=between)
        sums = self.cluster.sum_over_workers({**dict.fromkeys(self.objective.names, 0.0), **tally.sums()})
        count = max(sums.pop('samples'), 1.0)
        means = {name: value / count for name, value in sums.items()}
        self.report.validation(self.epoch - 1, means, time.monotonic() - begin)
        return means

    def _predict(self, data):
        """Return a batch's outputs as a numpy array. Each device's share is computed in prediction_chunks()."""
        least = self.recipe.accumulate
        cuts = [self.cluster.cut(x, memory.prediction_chunks(x.shape, least)) for x in self.cluster.split(data)]
        return np.concatenate([self.net(chunk).asnumpy() for chunks in cuts for chunk in chunks])

    def arrays(self):
        """Return [(name, [NDArray of each device])] of the weights, statistics and optimiser states of this worker."""
        weights = [(name, param.list_data()) for name, param in self._params.items()]
        return [*weights, *state.optimiser_arrays(self._params, self._updates)]

    def states(self):
        """Return the states {name: NDArray} that a checkpoint holds besides the weights; see state.states()."""
        return state.states(self._params, self._updates, self.cluster, within=self.batch > 0)

    def set_states(self, states):
        """Restore what states() returned. Raises ValueError if the states do not fit."""
        state.set_states(states, self._params, self._updates, self.cluster)
