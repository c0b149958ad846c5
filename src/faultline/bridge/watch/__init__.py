"""The Kubernetes watch as a fault source: list and watch objects, say what breaks and when it ends.

`symptoms.py`, `pods.py` and `workloads.py` detect, `board.py` waits, `occurrences.py` names,
`watcher.py` listens.
"""
