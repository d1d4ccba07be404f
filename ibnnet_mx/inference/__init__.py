"""From a network and pictures to answers: engines, the Predictor, evaluation on one data set, on several, on shifted pictures, Grad-CAM."""
