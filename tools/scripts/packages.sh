#!/usr/bin/env bash
# The Debian packages that building and testing need. Other scripts source this file and install what is missing. It
# runs by itself where packages cannot be installed (no root, or no network where the program is built):
#   tools/scripts/packages.sh --into DIR [--no-gloo]
# unpacks the packages and their dependencies below DIR, with apt-get but without root. Without Gloo, for -DHR_GLOO=OFF,
# there is less to copy. Then configure, here or where DIR was copied to, with these variables in the environment:
#   CMAKE_PREFIX_PATH=DIR/usr LDFLAGS=-Wl,--disable-new-dtags
# The second one makes the dependencies of the libraries be found in DIR too. tools/gpu_check.sh finds a folder
# build-deps by itself, also as build-deps.tar.xz.
set -euo pipefail

hr_libraries=(libdnnl-dev libjpeg62-turbo-dev libstb-dev rapidjson-dev libcli11-dev libfmt-dev libgtest-dev
  libminizip-dev zlib1g-dev libssl-dev libyaml-cpp-dev libgloo-dev)
# Packages for reading and writing videos. --into does not unpack them, because they depend on many other packages and a
# build without them works, too.
hr_video_libraries=(libavformat-dev libavcodec-dev libavutil-dev libswscale-dev)
# For the window of predict --show. Not unpacked either: only its headers are needed, and a build without works, too.
hr_window_libraries=(libsdl2-dev)
hr_packages=(g++ cmake ninja-build pkg-config "${hr_libraries[@]}" "${hr_video_libraries[@]}" "${hr_window_libraries[@]}")

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

# Unpacks the libraries and their dependencies, except those that every machine with a compiler has.
unpack_packages() {
  local folder=$1 packages deb headers
  mkdir -p "$folder/debs"
  packages=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances "${hr_libraries[@]}" | grep -E '^(lib|zlib|rapidjson|ocl-icd)[a-z0-9.+-]*$' | sort -u |
    grep -vE '^lib(c6|c-|crypt|gcc|stdc|gomp|pam|tirpc|nsl|debian|newt|slang|se(linux|manage|pol)|krb|k5|gssapi|keyutils|com-err|db5|readline|tinfo|zstd|lzma|acl|audit|cap|bz2|md0|textwrap|pcre)')
  # shellcheck disable=SC2086
  (cd "$folder/debs" && apt-get download -qq $packages)
  for deb in "$folder"/debs/*.deb; do dpkg-deb -x "$deb" "$folder"; done
  rm -r "$folder/debs" "$folder/usr/share/doc" "$folder/usr/share/man"
  find "$folder" -name '*.a' ! -name 'libg*' -delete  # static libraries are not needed where there is a shared one
  cp -a "$folder/lib/." "$folder/usr/lib/" && rm -r "$folder/lib" && ln -s usr/lib "$folder/lib"
  # A compiler looks for the headers of an architecture only below /usr.
  for headers in "$folder"/usr/include/*-linux-gnu*/; do cp -a "$headers". "$folder/usr/include/" && rm -r "$headers"; done
  # Links to /lib/... are meant for installed packages. They are made relative, because the folder may be moved.
  find "$folder" -type l -lname '/*' -printf '%p %l\n' | while read -r link target; do ln -sfnr "$folder$target" "$link"; done
  echo "packages.sh: $(wc -w <<<"$packages") packages below $folder, $(du -sh "$folder" | cut -f1); configure with" \
    "CMAKE_PREFIX_PATH=$(cd "$folder" && pwd)/usr LDFLAGS=-Wl,--disable-new-dtags"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  if [ $# -eq 3 ] && [ "$3" = --no-gloo ]; then
    mapfile -t hr_libraries < <(printf '%s\n' "${hr_libraries[@]}" | grep -v '^libgloo-dev$')
    set -- "$1" "$2"
  fi
  if [ $# -eq 2 ] && [ "$1" = --into ]; then
    unpack_packages "$2"
  else
    echo "packages.sh: usage: tools/scripts/packages.sh --into DIR [--no-gloo] (sourced, it offers install_packages)" >&2
    exit 2
  fi
fi
