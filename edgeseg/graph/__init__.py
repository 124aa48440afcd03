"""ONNX graphs: the core, its frame graph, its quantised forms. Nothing here runs a network."""
