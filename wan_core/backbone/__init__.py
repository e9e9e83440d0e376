"""The Transformer of both halves: blocks, attention, positions, masks, and what flow time does to them."""
