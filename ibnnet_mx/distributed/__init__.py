"""The devices and processes of a run, and how values travel between them. mxnet comes in with connect()."""

from __future__ import annotations

from ibnnet_mx.distributed import job


def connect(kvstore='local', gpus='', cpus=1):
    """The cluster.Cluster of a command line, once its other workers are there. ValueError names the option."""
    job.check(kvstore)
    from ibnnet_mx.distributed import cluster, workers

    devices = cluster.contexts(gpus, cpus)
    return cluster.Cluster(kvstore, devices, workers.open_workers(kvstore))
