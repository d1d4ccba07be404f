"""The work on one picture: its headers, its pixels, rows of geometry, and both renderers."""
