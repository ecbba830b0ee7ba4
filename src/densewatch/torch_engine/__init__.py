"""PyTorch as an engine: model files and checkpoints on the CPU and on NVIDIA GPUs."""
