"""The disk and the network: whole files or none, .params bytes, downloads, and checks that a file can be written."""
