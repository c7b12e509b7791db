# shellcheck shell=bash
#
# What the scripts beside this file share: where things are kept, and how a missing tool is named. To be sourced.
#
# TRAILLOAD_CACHE overrides the folder. It lies outside the tree, and for root outside of root's home too: both
# engines refuse to run as root, and the account that replaces it must be able to enter.

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# need TOOL DEBIAN-LINE MACOS-LINE: ends the script with both install lines when TOOL is not there.
need() {
  command -v "$1" >/dev/null 2>&1 || missing "$1 is needed and was not found" "$2" "$3"
}

# missing WHAT DEBIAN-LINE MACOS-LINE
missing() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  printf '  Debian, Ubuntu:  %s\n  macOS:           %s\n' "$2" "$3" >&2
  exit 1
}

need_cargo() {
  # rustup's own folder is often missing from PATH in a fresh shell.
  PATH=$PATH:${CARGO_HOME:-${HOME:-/nonexistent}/.cargo}/bin
  need cargo "sudo apt-get install rustup && rustup default stable   (older releases: https://rustup.rs)" \
    "brew install rustup && rustup default stable"
  need cc "sudo apt-get install build-essential" "xcode-select --install"
}

need_engine_tools() {
  need java "sudo apt-get install default-jre-headless" "brew install openjdk@21"
  need mvn "sudo apt-get install maven" "brew install maven"
  need curl "sudo apt-get install curl" "brew install curl"
}

# Finds Chromium, or installs it: as root and with apt-get, without a question.
need_chromium() {
  [[ -z ${TRAILLOAD_TEST_CHROMIUM:-} ]] || return 0
  local name
  for name in chromium chromium-browser google-chrome; do
    if TRAILLOAD_TEST_CHROMIUM=$(command -v "$name"); then
      export TRAILLOAD_TEST_CHROMIUM
      return 0
    fi
  done
  if ((EUID == 0)) && command -v apt-get >/dev/null && install_chromium; then
    need_chromium
  else
    missing "Chromium is needed and was not found" "sudo apt-get install chromium" \
      "brew install chromium, and TRAILLOAD_TEST_CHROMIUM=/Applications/Chromium.app/Contents/MacOS/Chromium"
  fi
}

install_chromium() {
  echo "installing Chromium" >&2
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update && apt-get install -y --no-install-recommends chromium; } >/dev/null && command -v chromium >/dev/null
}

cache_dir() {
  local folder
  if [[ -n ${TRAILLOAD_CACHE:-} ]]; then
    folder=$TRAILLOAD_CACHE
  elif ((EUID == 0)); then
    folder=/var/cache/trailload
  else
    folder=${XDG_CACHE_HOME:-$HOME/.cache}/trailload
  fi
  absolute "$folder"
}

# Makes the folder and prints its absolute path; `realpath -m` does not exist everywhere.
absolute() {
  mkdir -p "$1" && (cd "$1" && pwd -P)
}

# Closes all files of this shell but standard input, output and error. A server that stays must not keep those of its caller open, such as the
# lock of `flock` or the pipe of a command that reads to the end.
close_inherited_files() {
  local path
  for path in /dev/fd/*; do
    ((${path##*/} <= 2)) || eval "exec ${path##*/}>&-"
  done
}
