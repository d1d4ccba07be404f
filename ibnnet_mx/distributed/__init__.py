"""The devices and processes of a run, and how values travel between them.

cluster.connect() opens them, and cluster imports mxnet. job reads what the environment says, and imports no mxnet.
"""
