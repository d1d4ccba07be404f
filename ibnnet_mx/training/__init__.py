"""Train a network: steps, epochs and checkpoints. A Trainer is given its parts."""
