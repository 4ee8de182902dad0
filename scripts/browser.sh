#!/bin/sh
# Install the browser in which the tests open reports, unless there is one.
set -eu

for name in chromium chromium-browser google-chrome chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
how="apt-get install -y --no-install-recommends chromium fonts-dejavu-core"
if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" -ne 0 ]; then
    printf 'the browser tests need Chromium; as root, run: %s\n' "$how" >&2
    exit 1
fi
apt-get update -qq >&2
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $how -qq >&2
