"""JSON and YAML as text and back, the same bytes for the same value.

Times stay text, keys keep their order, aliases are never written. PyYAML's C parser is used where
it is there.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

depth_max = 100
values_max = 200_000  # in a document; aliases count as often as they are used


@cache
def _loader() -> type[Any]:
    import yaml

    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc,valid-type]
        """Safe, and without dates: a time in a cluster's object is text."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if not tag.endswith(":timestamp")]
        for first, pairs in base.yaml_implicit_resolvers.items()
    }
    return Loader


@cache
def _dumper() -> type[Any]:
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        """Block style; text of several lines as a block."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper


def load_yaml(text: str) -> list[Any]:
    """Return the documents of a YAML text. Raises ValueError if it is none."""
    import yaml

    from faultline.documents import deeper_than

    try:
        if deeper_than(depth_max, text):
            raise ValueError(f"expected at most {depth_max} levels")
        if "*" in text:  # else there is no alias, and nothing that could grow
            done: dict[int, int] = {}
            for root in yaml.compose_all(text, Loader=_loader()):
                _written_out(root, done)
        return list(yaml.load_all(text, Loader=_loader()))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"expected YAML, got {type(error).__name__}") from None


def _written_out(node: Any, done: dict[int, int]) -> int:
    """Count nodes as if aliases were written out. Raises ValueError for a bomb, or a circle."""
    if id(node) not in done:
        done[id(node)] = values_max  # an alias inside of its own anchor
        parts = [] if isinstance(node.value, str) else node.value
        flat = [part for each in parts for part in (each if isinstance(each, tuple) else (each,))]
        done[id(node)] = 1 + sum(_written_out(part, done) for part in flat)
    if done[id(node)] > values_max:
        raise ValueError(f"expected at most {values_max} values, aliases counted as they are used")
    return done[id(node)]


def dump_yaml(*documents: Any) -> str:
    """Return documents as YAML, keys in the order they have."""
    import yaml

    return str(
        yaml.dump_all(
            documents, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=10_000
        )
    )


def dump_json(value: Any) -> str:
    """Return JSON for people: two blanks per level, a line end at the end."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
