"""Other toolkits' RetinaNet checkpoints: read without running code in them, and said in our words."""
