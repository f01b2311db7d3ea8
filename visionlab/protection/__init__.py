"""Backdoors and watermarks: how a network is made to carry a secret, and how one finds out."""
