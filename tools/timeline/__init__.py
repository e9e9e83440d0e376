"""``wangraph timeline``: a trace becomes one self-contained page, or a file for Perfetto; a run is followed live.

In data-flow order: `facts` reads the trace and says what happened to each unit, `story` who made units miss, `columns`
packs it for the page, `html` puts data, style and scripts (``page/``) into one file, `perfetto` writes Chrome-trace
JSON, `serve` gives the page of a run that goes on, `following` finds that run. Imports the trace
records, their explanation and the unit clock of the runtime; no model, no torch.
"""
