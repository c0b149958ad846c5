"""Context sources: who knows about a fault. Each yields named bytes and keeps to `limits.py`."""
