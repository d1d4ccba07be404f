"""From a network and pictures to answers: engines, the Predictor, evaluation, domains, corruptions, Grad-CAM."""
