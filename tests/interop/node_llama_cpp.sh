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
