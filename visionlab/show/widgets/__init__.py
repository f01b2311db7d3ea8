"""Small widgets of our own: a Python file and one or more plain scripts each, no build, nothing from the network."""
