"""Use trained networks: engines, the Predictor, evaluation, domains, corruptions, Grad-CAM."""
