"""Training: the step, the epoch, what is saved and when. A Trainer is handed its parts."""
