"""The disk and the network: whole files or none, .params bytes, downloads, what can be written. Imports nothing of the package."""
