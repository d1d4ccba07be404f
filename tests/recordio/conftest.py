"""Tests of the reader alone run without mxnet (make test-reader); these files compare with it, or look at commands."""

from importlib.util import find_spec

NEED_MXNET = ['test_declared_sizes.py', 'test_face_packing.py', 'test_labels.py', 'test_lists.py']
collect_ignore = [] if find_spec('mxnet') else NEED_MXNET
