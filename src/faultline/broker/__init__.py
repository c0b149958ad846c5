"""The embedded broker: Knative's rules for Brokers and Triggers in one process.

`ingress.py` takes events in, `triggers.py` says who wants them, `broker.py` delivers them with
`delivery.py`'s judgement, and `journal.py` remembers what is still owed. It never learns a feature
that Knative's brokers do not have. The rules are knative/specs:specs/eventing/data-plane.md; each
has a test of its name in `tests/contract/test_broker_clauses.py`.
"""
