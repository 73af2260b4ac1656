"""What a notebook shows of the generator's objects: HTML without scripts, for any theme."""
