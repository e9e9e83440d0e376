"""``wangraph evaluate``: how well an agent converses, measured in dialogues that it holds by itself.

`talk` holds dialogues, `agents` are those that answer, `probes` what their users do, `turns` what should be answered;
`sound`, `recogniser` and `face_reader` hear and see an agent; `measures` make `figures` of it all; `tasks` put probe
and measures together, `runners` hold their dialogues with other agents, `rows` run them all, `report` and `plots` show
them. `drift` is the long run, `recording` one's own voice.
"""
