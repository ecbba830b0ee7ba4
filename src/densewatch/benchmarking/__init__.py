"""Clocks: whole pictures, from JPEG bytes to boxes, and what they were measured on."""
