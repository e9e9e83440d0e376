"""Drives the scheduler in real time, virtual time and replay: processes, lanes, supervisor, records."""
