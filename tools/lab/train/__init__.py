"""``wangraph train``: data from the world, then codecs, then the model, on a budget of hours.

`plan` says what is learned for how long; `workshop` holds what all stages need; `labels` and `data` make dialogues
and keep them on disk, `shards` draws batches from them; `codecs`, `interact` and `roll` are the stages, `partners` and
`told` what they talk with and are told; `drive` takes the steps, writes curves and checkpoints; `sheet` draws samples.
"""
