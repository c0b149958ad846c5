#!/bin/sh
# Installs the real servers and the browser that some tests start, where that is possible: Debian, root.
# Where it is not, those tests skip, and each says what is missing.
set -eu
missing=""
command -v prometheus >/dev/null 2>&1 || missing="$missing prometheus"
command -v prometheus-alertmanager >/dev/null 2>&1 || missing="$missing prometheus-alertmanager"
[ -x /usr/bin/chromium ] || missing="$missing chromium"
command -v git >/dev/null 2>&1 || { echo "git is missing: Faultline proposes changes with it. Install git and try again." >&2; exit 1; }
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "not installed:$missing. The tests that start them will be skipped (needs Debian's apt-get and root)."
  exit 0
fi
echo "== installing for the tests:$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
{ apt-get -qq update && timeout 600 apt-get -qq install -y --no-install-recommends $missing >/dev/null; } \
  || echo "could not install$missing. The tests that start them will be skipped."
