"""The web console: incidents, one incident, one record, dead letters, and what happens live.

`app.py` has the routes, `guard.py` stands before them, `shelf.py` keeps the list quick, `pages.py`
fills the templates, `acts.py` does what a person asks for, `live.py` tells browsers of new records.
It reads records and never `payloads/`; it writes `closed.json` and `cancel.json` and sends events.
"""
