"""Networks registered with timm; each file is plain PyTorch, importable and readable alone against its paper."""
