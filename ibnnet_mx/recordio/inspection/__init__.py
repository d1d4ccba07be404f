"""The inspection of record files: their soundness, and pictures of their contents."""
