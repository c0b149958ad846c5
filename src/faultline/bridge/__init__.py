"""Foreign messages become fault events here: webhooks, streams, CloudEvents of others.

`alertmanager.py` and `mcp.py` only read bytes; `events.py` makes the event; `app.py` is
the HTTP door with `gate.py` before it, `follow.py` keeps streams open. What a fault leads to is
decided behind the broker, in `steps/`.
"""
