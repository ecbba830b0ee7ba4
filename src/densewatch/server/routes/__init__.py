"""The routes, a file a topic. Each says who may use it."""
