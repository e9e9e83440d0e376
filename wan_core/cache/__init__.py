"""Memory of a session: keys and values, the slices that carry them, and the way back to them when they are lost."""
