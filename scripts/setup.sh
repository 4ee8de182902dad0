#!/bin/sh
# Make .venv in the project's folder and install exo2micro into it, once.
# usage: scripts/setup.sh [EXTRAS]     e.g. scripts/setup.sh test,docs
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
venv="$here/.venv"
extras=${1:-}
oldest="3, 11"

say() { printf '%s\n' "$*" >&2; }
stop() { say "error: $*"; exit 1; }

is_new_enough() { "$1" -c "import sys; sys.exit(sys.version_info < ($oldest))" 2>/dev/null; }
makes_environments() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# The newest Python that is ready to make environments, else the newest that could be made ready.
find_python() {
    spare=""
    for name in ${PYTHON:-} python3.14 python3.13 python3.12 python3.11 python3 python; do
        command -v "$name" >/dev/null 2>&1 && is_new_enough "$name" || continue
        if makes_environments "$name"; then
            printf '%s\n' "$name"
            return
        fi
        spare=${spare:-$name}
    done
    [ -z "$spare" ] || printf '%s\n' "$spare"
}

advise_python() {
    found=$(python3 --version 2>/dev/null) || found=""
    case $(uname -s) in
        Darwin) how="install it from https://www.python.org/downloads/ or with: brew install python" ;;
        *) how="on Debian or Ubuntu: sudo apt-get install python3 python3-venv" ;;
    esac
    stop "exo2micro needs Python 3.11 or newer, found ${found:-none}; $how"
}

# Debian keeps venv in a package of its own.
add_venv_module() {
    package="$("$1" -c 'import sys; print(f"python3.{sys.version_info[1]}-venv")')"
    command="apt-get install -y $package"
    command -v apt-get >/dev/null 2>&1 ||
        stop "$1 cannot make virtual environments (no ensurepip); install its venv module"
    if [ "$(id -u)" -eq 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        as_root="sudo"
    else
        stop "$1 cannot make virtual environments; as root, run: $command"
    fi
    say "installing $package ($command)"
    $as_root apt-get update -qq >&2 && $as_root env DEBIAN_FRONTEND=noninteractive $command -qq >&2 ||
        stop "could not install $package; run as root: apt-get update && $command"
}

# A working environment, the same project file, the extras there: nothing to do.
wanted="$(cksum <"$here/pyproject.toml") $here"
stamp="$venv/installed"
if [ -x "$venv/bin/python" ] && is_new_enough "$venv/bin/python" && [ -f "$stamp" ] &&
    [ "$(sed -n 1p "$stamp")" = "$wanted" ]; then
    done_extras=$(sed -n 2p "$stamp")
else
    done_extras="-"
fi
missing=""
for extra in $(printf '%s' "$extras" | tr ',' ' '); do
    case ",$done_extras," in *",$extra,"*) ;; *) missing=yes ;; esac
done
[ "$done_extras" != "-" ] && [ -z "$missing" ] && exit 0

if ! is_new_enough "$venv/bin/python"; then
    python=$(find_python)
    [ -n "$python" ] || advise_python
    makes_environments "$python" || add_venv_module "$python"
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv" || stop "could not make $venv with $python"
fi
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$venv/bin/python" -m ensurepip >/dev/null ||
    stop "$venv has no pip; move it away and try again"

case $done_extras in -|"") all=$extras ;; *) all="$done_extras${extras:+,$extras}" ;; esac
say "installing exo2micro${all:+ with $all} into $venv (a few minutes the first time)"
rm -f "$stamp"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --editable "$here${all:+[$all]}" >&2 ||
    stop "pip could not install exo2micro; its message stands above (is the network up?)"
printf '%s\n%s\n' "$wanted" "$all" >"$stamp"
