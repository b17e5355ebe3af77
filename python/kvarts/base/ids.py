"""Ids that rooms which do not see each other must agree on."""

from typing import NewType

NodeId = NewType("NodeId", int)
"""A node of a cluster. Never reused; 0 stands for "none"."""

NODE_NONE = NodeId(0)
