"""The way from record files to batches: records by position, samplers, the reader, the public Loader."""
