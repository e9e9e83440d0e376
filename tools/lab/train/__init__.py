"""``wangraph train``: data from the world, then codecs, then the model, on a budget of hours.

`plan` says what is learned for how long; `context` holds what all stages need; `labels` and `data` make dialogues
and keep them on disk, `shards` draws batches from them; `codecs`, `eyes`, `interact` and `roll` are the
stages, `views` what the eyes learn from, `partners` and `persona_prompt` what the model talks with and is prompted
with; `drive` takes the steps, writes curves and checkpoints; `contact_sheet` draws samples.
"""
