"""Users who look and sound like life: photographs and recordings of real people and places, animated and filmed.

`material` reads a folder of them and splits its people; `portrait` animates a photograph of a face; `props` are what
is held up, and what only looks like it; `lens` is the camera; `scene` puts these together. Nothing of the folder is
copied into the package, and without one the world is drawn as it always was.
"""
