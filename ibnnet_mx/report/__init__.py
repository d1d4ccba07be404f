"""Pictures for people: curves, confusion, explanations, sheets."""
