"""What a recorded study says: shards to arrays, policies, ``summary.json`` and ``policy.json``."""
