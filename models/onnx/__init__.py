"""GPEN's published weights recovered from ONNX graphs."""
