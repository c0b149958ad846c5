"""The gateway: all that the pod of an agent run talks to, beside the API server of its cluster."""
