"""Write the folders of `examples/clusters/` that `examples/recordings/` describes, anew.

`python examples/make_clusters.py && python examples/make_capsules.py`; a test compares the bytes.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
sys.path.insert(0, str(EXAMPLES))

from recordings import controlling, healthy, network, placing, reaching, refusing, running  # noqa: E402
from recordings.recording import Recording  # noqa: E402

CASES: dict[str, Callable[[], Recording]] = {
    **placing.CASES,
    **refusing.CASES,
    **reaching.CASES,
    **running.CASES,
    **network.CASES,
    **controlling.CASES,
    **healthy.CASES,
}


def main() -> int:
    for name, made in CASES.items():
        target = EXAMPLES / "clusters" / name
        shutil.rmtree(target, ignore_errors=True)
        for path, data in made().files().items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_bytes(data)
    print(f"{len(CASES)} clusters")
    return 0


if __name__ == "__main__":
    sys.exit(main())
