"""The dashboard and its documented routes, closed by default."""
