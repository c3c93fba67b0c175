"""Deployment: BatchNorm fusion, ONNX export and 8-bit quantisation, runtimes, latency benchmarks."""
