"""Anybody's model as a subject of the checks: ONNX, torch, timm, Keras, scikit-learn, Hugging Face, XRV."""

from lungcls.audit.subjects.load import load_any
from lungcls.audit.subjects.seen import Seen

__all__ = ["Seen", "load_any"]
