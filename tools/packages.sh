#!/usr/bin/env bash
# Installs the Debian packages that building and testing need and that are not there yet. Sourced by the other scripts.
set -euo pipefail

hr_packages=(g++ cmake ninja-build pkg-config libdnnl-dev libjpeg62-turbo-dev libstb-dev rapidjson-dev libcli11-dev
  libspdlog-dev libfmt-dev libgtest-dev libminizip-dev zlib1g-dev libssl-dev libgloo-dev)

install_packages() {
  local missing=() package
  for package in "${hr_packages[@]}" "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  echo "installing: ${missing[*]}"
  local sudo=""
  [ "$(id -u)" -eq 0 ] || sudo="sudo"
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
