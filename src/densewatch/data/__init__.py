"""Labelled data sets: read, checked, and turned into typed samples."""
