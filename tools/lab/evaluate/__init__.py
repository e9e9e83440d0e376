"""``wangraph evaluate``: how well an agent converses, measured in dialogues that it holds by itself.

`talk` holds dialogues, `agents` are those that answer, `probes` what their users do, `turns` what should be answered;
`sound`, `recogniser` and `eyes` hear and see an agent; `measures` make `figures` of it all; `course` puts probe and
measures together, `rows` runs them, `report` and `plots` show them. `drift` is the long run, `recording` one's own
voice.
"""
