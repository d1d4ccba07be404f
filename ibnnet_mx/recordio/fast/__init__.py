"""The C reader: its build, and its functions for Python."""
