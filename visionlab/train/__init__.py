"""The one training loop (on Lightning Fabric), its data streams, its schedule, and checkpoints that survive a kill."""
