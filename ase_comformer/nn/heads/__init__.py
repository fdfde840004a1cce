"""Heads: node features -> the tensor of one property, one module per family of properties.

The registry names the head of each property (``TensorProperty.head``); ``generic`` serves any index formula.
"""
