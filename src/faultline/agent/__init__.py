"""The runtime of a run, in a Job or in a child process: `python -m faultline.agent`.

`__main__.py` goes through the run; `workspace.py` lays out what the engine finds and collects what
it leaves, `process.py` runs and stops it, `outcome.py` judges how it ended, `engines.py` knows the
commands. The contract for engines of your own is `agent-job/README.md`.
"""
