"""What a run leaves behind, and everything that reads it: figures, explanations, views. Imports `plan`, `schedule`."""
