"""Data: real image sets, puzzles that isolate one idea, and batched transforms."""
