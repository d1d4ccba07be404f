"""The disk and the network: whole files or none, .params bytes, downloads, and whether a file can be written."""
