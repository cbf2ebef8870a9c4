"""Export networks of checkpoints as graphs that run without this package: ONNX and torch.export."""
