"""What the lock brings, listed for others and held against known vulnerabilities.

    supply.py sbom  [LOCK]    a CycloneDX 1.4 bill of materials on standard output
    supply.py audit [LOCK …]  ask pip-audit, and believe no silence: exit 1 unless all was judged

pip-audit says "No known vulnerabilities found" and ends with 0 when it skipped a package, and when
the index has no advisories at all. So a package that is known to be bad goes first, and what was
judged has to be what the lock names.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = ROOT / "requirements/runtime.txt"
IMAGE = {  # where the lock is installed: the image of the top Dockerfile
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.0",
    "python_version": "3.11",
    "sys_platform": "linux",
}


class Pin(NamedTuple):
    """One requirement of a lock."""

    name: str
    version: str


KNOWN_BAD = Pin("requests", "2.19.0")  # CVE-2018-18074, fixed in 2.20.0


def pins(lock: str) -> list[Pin]:
    """Return what a lock installs in the image, by name. Raises ValueError for what is no pin."""
    found = []
    for line in re.sub(r"\\\n", " ", lock).splitlines():
        text = re.split(r"\s--hash=|\s#", line.strip())[0].strip()
        if not text or text.startswith("#"):
            continue
        wanted = Requirement(text)
        [pin] = [s.version for s in wanted.specifier if s.operator == "=="] or [""]
        if not pin:
            raise ValueError(f"expected name==version, got {text[:80]}")
        if wanted.marker is None or wanted.marker.evaluate(IMAGE):
            found.append(Pin(canonicalize_name(wanted.name), pin))
    return sorted(found)


def sbom(lock: str, version: str) -> dict[str, Any]:
    """Return the bill of materials (CycloneDX 1.4); the same lock gives the same bytes."""
    serial = uuid.uuid5(
        uuid.NAMESPACE_URL, hashlib.sha256(f"{version}\n{lock}".encode()).hexdigest()
    )
    ours = {"type": "application", "name": "faultline", "version": version}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.4",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": ours | _named("faultline", version)},
        "components": [
            {"type": "library", "name": pin.name, "version": pin.version}
            | _named(pin.name, pin.version)
            for pin in pins(lock)
        ],
    }


def _named(name: str, version: str) -> dict[str, str]:
    url = f"pkg:pypi/{name}@{version}"
    return {"bom-ref": url, "purl": url}


def wrong(report: dict[str, Any], expected: set[Pin]) -> list[str]:
    """Return what is wrong with what pip-audit reports of these packages: all that is not clean."""
    found: list[str] = []
    left = {pin.name: pin.version for pin in expected}
    for one in report.get("dependencies") or ():
        named = f"{one['name']} {one.get('version', '')}".strip()
        version = left.pop(canonicalize_name(one["name"]), "nothing")
        if "skip_reason" in one:
            found.append(f"{named} was skipped: {one['skip_reason']}")
        elif version != one["version"]:
            found.append(f"{named} was judged, where the lock has {version}")
        found += [f"{named} has {bad['id']}" for bad in one.get("vulns") or ()]
    return found + [f"{name} {version} was not judged" for name, version in sorted(left.items())]


def audit(locks: list[Path]) -> int:
    """Judge locks; say what is wrong and return 1, or 0 if everything was judged and is clean."""
    program = shutil.which("pip-audit")
    if program is None:
        sys.stderr.write("expected pip-audit on the path, found none: pipx install pip-audit\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder, "canary.txt")
        canary.write_text("==".join(KNOWN_BAD) + "\n")
        told = wrong(_asked(program, canary, hashed=False), {KNOWN_BAD})
        if not any(" has " in line for line in told):
            sys.stderr.write(
                f"{' '.join(KNOWN_BAD)} is known to be bad and was not found so: this index has no "
                f"advisories ({'; '.join(told) or 'it was called clean'})\n"
            )
            return 1
    found = [
        f"{lock.name}: {line}"
        for lock in locks
        for line in wrong(_asked(program, lock), set(pins(lock.read_text("utf-8"))))
    ]
    sys.stderr.writelines(f"{line}\n" for line in found)
    return int(bool(found))


def _asked(program: str, file: Path, *, hashed: bool = True) -> dict[str, Any]:
    more = ["--require-hashes"] if hashed else ["--no-deps"]
    command = [program, "--requirement", str(file), "--disable-pip", "--format", "json", *more]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        return {"dependencies": [{"name": file.name, "skip_reason": last}]}
    return found


def main(arguments: list[str]) -> int:
    match arguments:
        case ["sbom", *rest] if len(rest) < 2:
            import tomllib

            about = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
            lock = Path(rest[0]) if rest else RUNTIME
            made = sbom(lock.read_text("utf-8"), about["version"])
            sys.stdout.write(json.dumps(made, indent=1) + "\n")
            return 0
        case ["audit", *rest]:
            return audit([Path(name) for name in rest] or [RUNTIME])
    sys.stderr.write(__doc__ or "")
    return 2


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
