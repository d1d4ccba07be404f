"""The disk and the network: whole files or none, .params bytes, downloads, what can be written. Knows no other room."""
