"""Measuring a network while it trains, on the same path that users' pictures take."""
def validate(*a): return {}
