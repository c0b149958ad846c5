"""A model through the gateway: its address and this pod's token stand where a key would.

Pure, but for the token's file. The kubelet writes that anew before the token ends. The loop reads
it for each question; an engine that has the token in its environment keeps the one it began with,
so its run ends before the token does, or its last questions are refused.
"""

from __future__ import annotations

from collections.abc import Mapping

from faultline.adapters.stores.gateway import MODEL_TOKEN, TOKENS, TOKENS_VARIABLE, bearer

_KEYS = ("FAULTLINE_MODEL_KEY", "CLAUDE_API_KEY", "GOOGLE_API_KEY")  # would be taken before a token


def through(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment as the engines are to see it: with FAULTLINE_GATEWAY set, each finds
    the gateway and the token for the models, and no key that was there.

    Raises Rejected if the token cannot be read.
    """
    ours = dict(environment)
    url = environment.get("FAULTLINE_GATEWAY", "").rstrip("/")
    if not url:
        return ours
    folder = environment.get(TOKENS_VARIABLE) or TOKENS
    token = bearer(MODEL_TOKEN, environment)
    for name in _KEYS:
        ours.pop(name, None)
    return ours | {
        TOKENS_VARIABLE: folder,
        "FAULTLINE_MODEL_URL": f"{url}/model/service",
        "FAULTLINE_MODEL_KEY_FILE": f"{folder}/{MODEL_TOKEN}",
        "ANTHROPIC_BASE_URL": f"{url}/model/anthropic",
        "ANTHROPIC_API_KEY": token,
        "OPENAI_BASE_URL": f"{url}/model/openai/v1",
        "OPENAI_API_KEY": token,
        "GOOGLE_GEMINI_BASE_URL": f"{url}/model/gemini",
        "GEMINI_API_KEY": token,
    }
