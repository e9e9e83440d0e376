"""Forecast of a graph before it runs: profiles, resources, simulation, verdict. Imports `engine` and below."""
