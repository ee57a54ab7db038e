"""Faces that users of torchxrayvision and MONAI expect."""
