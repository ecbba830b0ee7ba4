"""Pictures: reading them upright and whole, scaling them for a network, drawing what was found."""
