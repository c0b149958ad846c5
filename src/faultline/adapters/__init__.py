"""The outside, behind the ports: one folder per port, one vendor per file.

Adapters know their vendor and nothing of the steps; `bootstrap.py` chooses among them. Errors of a
vendor end here: what leaves is an error of `errors.py`.
"""
