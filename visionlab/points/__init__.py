"""Learning on point clouds whose labels are partly wrong."""
