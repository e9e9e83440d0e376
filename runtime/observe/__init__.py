"""Traces of a run, and everything that reads them: figures, explanations, views. Imports `plan`, `schedule`."""
