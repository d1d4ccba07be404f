"""How the records of a file are found: its index, the heads of its records, notes beside it, tables of faces."""
