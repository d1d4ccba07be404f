"""From record files to batches: records by position, the order of an epoch, the reader, the public Loader."""
