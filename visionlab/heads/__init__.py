"""Heads that make a backbone's pyramid into answers for each pixel or object."""
