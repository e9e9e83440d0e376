"""Packets and decisions on disk: recorder, reader, playback, comparison. Imports `observe` and below."""
