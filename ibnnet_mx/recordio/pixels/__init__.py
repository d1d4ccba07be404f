"""What happens to one picture: its headers, its pixels, rows of geometry, and both renderers."""
