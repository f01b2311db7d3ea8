"""Small widgets of our own: one Python file and one plain ES module each, no build, nothing from the network."""
