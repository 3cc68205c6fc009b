# For scripts that hold Sedge against stock llama.cpp: sourced, not run.
# node_llama_cpp WORK: prints a folder with node_modules/node-llama-cpp, that of SEDGE_NLC or WORK, installing it from npm
# where it is absent. Fails with 77, having said why, where that cannot be.
node_llama_cpp() {
  packages=${SEDGE_NLC:-$1}
  command -v node >/dev/null && command -v npm >/dev/null || {
    echo "skipped: node and npm are not installed" >&2
    return 77
  }
  if [ ! -d "$packages/node_modules/node-llama-cpp" ]; then
    case $(uname -m) in
      x86_64) binary=linux-x64 ;;
      aarch64) binary=linux-arm64 ;;
      *) echo "skipped: npm has no llama.cpp for $(uname -m)" >&2; return 77 ;;
    esac
    echo "installing node-llama-cpp from npm..." >&2
    (cd "$packages" && timeout 300 npm install --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error \
      node-llama-cpp "@node-llama-cpp/$binary" >npm.log 2>&1) || {
      echo "skipped: npm could not install node-llama-cpp: $(head -n 1 "$packages/npm.log")" >&2
      return 77
    }
  fi
  echo "$packages"
}

# plain_llama_cpp WORK PACKAGES: prints a copy of PACKAGES in WORK whose llama.cpp has no binary but that for any x86-64
# processor. What a newer one's instructions round elsewhere (197 of 200 best tokens equal with AVX512-FP16, 199 without)
# then does not hang on the machine. PACKAGES itself where npm's has a single binary anyway.
plain_llama_cpp() {
  bins=node_modules/@node-llama-cpp/linux-x64/bins/linux-x64
  [ -f "$2/$bins/libggml-cpu-x64.so" ] || { echo "$2"; return; }
  mkdir -p "$1/plain/node_modules/@node-llama-cpp"
  for part in "$2"/node_modules/*; do
    [ "${part##*/}" = @node-llama-cpp ] || cp -r "$part" "$1/plain/node_modules/"
  done
  cp -r "$2/node_modules/@node-llama-cpp/linux-x64" "$1/plain/node_modules/@node-llama-cpp/"
  find "$1/plain/$bins" -name 'libggml-cpu-*' ! -name libggml-cpu-x64.so -delete
  echo "$1/plain"
}

# drawn_ids: prints 200 tokens of the random models' vocabularies, the same each time, as a list.
drawn_ids() {
  node -e 'let x = 9; const ids = [1];
    while (ids.length < 200) { x = (x * 1103515245 + 12345) % 2147483648; ids.push(3 + Math.floor(x / 65536) % 509); }
    console.log(JSON.stringify(ids));'
}
