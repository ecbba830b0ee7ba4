"""A site: cameras, zones, retention, users and server, as one checked YAML file."""
