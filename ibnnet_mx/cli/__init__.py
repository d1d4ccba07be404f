"""The commands; nobody imports this package."""
