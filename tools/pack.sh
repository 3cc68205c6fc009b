#!/usr/bin/env bash
# pack.sh BUILD ROOT: BUILD/sedge.tar.gz, the program and the libraries under ROOT that it needs, for machines on which
# nothing is installed. The program looks in lib/ beside itself (cmake/arm64.cmake). The compiler's own libraries, C and
# C++, stay the machine's: they come with every system, and newer ones run what older ones ran.
set -Eeuo pipefail
build=$(readlink -f "$1")
root=$(readlink -f "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
needed() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }

mkdir -p "$work/sedge/lib"
cp "$build/sedge" "$work/sedge/"
todo=("$work/sedge/sedge")
while [ ${#todo[@]} -gt 0 ]; do
  file=${todo[0]}
  todo=("${todo[@]:1}")
  for name in $(needed "$file"); do
    case "$name" in
      libc.so.* | libm.so.* | libdl.so.* | libpthread.so.* | librt.so.* | ld-linux* | libstdc++.so.* | libgcc_s.so.*) continue ;;
    esac
    [ ! -f "$work/sedge/lib/$name" ] || continue
    found=$(find "$root/lib" "$root/usr/lib" -name "$name" 2>/dev/null | head -n 1)
    [ -n "$found" ] || { echo "pack.sh: $name, which $(basename "$file") needs, is not under $root" >&2; exit 1; }
    cp -L "$found" "$work/sedge/lib/$name"
    todo+=("$work/sedge/lib/$name")
  done
done
tar -C "$work" -czf "$build/sedge.tar.gz" --owner=0 --group=0 sedge
