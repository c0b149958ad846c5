"""One decision each: an event in, records read and written, at most one event out.

The order of a step's writes is its crash safety; `docs/contract.md` has it as a table. Which event
reaches which step stands in `infra/knative/triggers.yaml`.
"""
