"""Networks for devices: BatchNorm fusion, ONNX files, runtimes."""
