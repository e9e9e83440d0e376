"""Cost of a preset by arithmetic, and the devices that hold it. Imports no torch."""
