"""Scores and reports of classification from numpy arrays, and why a result is near chance."""
