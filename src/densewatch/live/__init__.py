"""Live cameras: sources, one detector for many, tracking, zones and counts. No PyTorch."""
