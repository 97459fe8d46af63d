"""Studies: planned, run, recorded, analysed."""
