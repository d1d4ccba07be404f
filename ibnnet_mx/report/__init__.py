"""Draw results as pictures: curves, confusion, explanations, sheets."""
