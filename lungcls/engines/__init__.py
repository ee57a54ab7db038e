"""What runs a network: one interface for torch, ONNX Runtime and OpenVINO.

Importing this package loads none of them.
"""

from lungcls.engines.load import ENGINES, PRECISIONS, load_network, torch_module
from lungcls.engines.network import Network

__all__ = ["ENGINES", "PRECISIONS", "Network", "load_network", "torch_module"]
