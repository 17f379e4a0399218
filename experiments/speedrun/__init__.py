"""The parts of the CIFAR-10 speed run."""
