"""What a graph will do before it runs: profiles, resources, simulation, verdict. Imports `engine` and below."""
