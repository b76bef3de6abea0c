"""Restorers: a loaded GPEN run by PyTorch or by ONNX Runtime."""
