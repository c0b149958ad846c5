"""`python -m faultline`: the same as the command `faultline`."""

from faultline.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
