"""From a model file to `Detections`, without PyTorch: engines, candidates, NMS."""
