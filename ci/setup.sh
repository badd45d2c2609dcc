# Sourced by the scripts beside it: makes .venv with what is asked for, and builds the core in place.
#
#   source ci/setup.sh; prepare [EXTRA ...]     EXTRA: optional dependencies of pyproject.toml, e.g. test lint clients
#
# PYTHON names the interpreter for a new .venv (python3 otherwise). Needs Python 3.10 or newer with venv and its headers, and
# a C compiler: as root they are installed by apt, otherwise what is missing is named with the command that installs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONDONTWRITEBYTECODE # without bytecode every start compiles every module again
export PIP_DISABLE_PIP_VERSION_CHECK=1
root=$PWD
venv=$root/.venv

say() { printf '\n== %s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }
can_apt() { [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; }

apt_updated=
apt_install() { # PACKAGE ...
  if [[ -z $apt_updated ]]; then apt-get -qq update && apt_updated=1; fi
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}

missing_system_packages() { # prints the Debian packages that are missing to build with $1
  local python=$1
  command -v "${CC:-cc}" >/dev/null || command -v gcc >/dev/null || echo gcc libc6-dev
  if ! command -v "$python" >/dev/null; then echo python3 python3-venv python3-dev; return; fi
  "$python" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  "$python" - <<'PY' || echo python3-dev
import pathlib, sys, sysconfig
sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())
PY
}

need_system_packages() {
  local python=${PYTHON:-python3} missing
  [[ -x $venv/bin/python ]] && python=$venv/bin/python
  mapfile -t missing < <(missing_system_packages "$python" | tr ' ' '\n' | sort -u | sed '/^$/d')
  if ((${#missing[@]})); then
    can_apt || die "missing on this machine: ${missing[*]}
install it with: sudo apt-get install -y ${missing[*]}
then run this command again."
    say "installing ${missing[*]}"
    apt_install "${missing[@]}" || die "apt-get could not install ${missing[*]}"
  fi
  command -v "$python" >/dev/null || python=python3
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    die "$("$python" --version) is too old: kafkax needs Python 3.10 or newer; name one with PYTHON=/path/to/python3"
}

make_venv() { # EXTRA ...
  [[ -x $venv/bin/python ]] && "$venv/bin/python" -c 'import pip' 2>/dev/null ||
    { say "making .venv"; "${PYTHON:-python3}" -m venv --clear "$venv"; }
  local extras=$* stamp=$venv/.kafkax-installed wanted
  wanted="$extras $(cat "$root/pyproject.toml" | cksum)"
  [[ -e $stamp && $(<"$stamp") == "$wanted" ]] && return
  say "installing Python packages"
  "$venv/bin/python" - >"$venv/.kafkax-requirements" $extras <<'PY'
import re, sys
text = open("pyproject.toml").read()
def listed(key):
    body = re.search(rf"(?ms)^{key} = \[(.*?)\]$", text)
    if body is None:
        sys.exit(f"pyproject.toml has no list {key}")
    return re.findall(r'"([^"]+)"', body[1])
for key in ("requires", "dependencies", *sys.argv[1:]):
    print(*listed(key), sep="\n")
PY
  "$venv/bin/python" -m pip install -q -r "$venv/.kafkax-requirements"
  printf '%s' "$wanted" >"$stamp"
}

build_core() { # further arguments of build_ext
  "$venv/bin/python" setup.py -q build_ext -j"$(nproc)" "$@"
}

install_command() { # the kafkax command in .venv, running from this folder
  local site
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  [[ -e $site/kafkax.pth && $(<"$site/kafkax.pth") == "$root" && -x $venv/bin/kafkax ]] && return
  printf '%s\n' "$root" >"$site/kafkax.pth"
  printf '#!%s\nfrom kafkax.cli.main import main\n\nmain()\n' "$venv/bin/python" >"$venv/bin/kafkax"
  chmod +x "$venv/bin/kafkax"
}

prepare() { # EXTRA ...
  need_system_packages
  make_venv "$@"
  build_core --inplace
  install_command
  "$venv/bin/python" -m compileall -q kafkax
}
