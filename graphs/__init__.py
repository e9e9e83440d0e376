"""Shipped graphs, as package data: found by name (`wangraph run duplex`) or by path."""
