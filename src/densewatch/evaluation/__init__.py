"""How good detections are: COCO's numbers."""

from densewatch.evaluation.coco_metrics import CocoMetrics, evaluate_coco

__all__ = ["CocoMetrics", "evaluate_coco"]
