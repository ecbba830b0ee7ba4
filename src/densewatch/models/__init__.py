"""Networks, in PyTorch: one family a file, and the parts that families share."""
