"""From a network in PyTorch to one self-describing model file, with the proof that both see the same."""
