#!/usr/bin/env bash
# Holds a server over the shipped scenes to its own OpenAPI file: every operation, DELETE and Ask among them, every check of
# schemathesis, and calls in likely and unlikely orders. Takes the program's path and, if wanted, how many cases each operation gets.
#   pip install schemathesis && benches/serve/schema/check.sh target/debug/eyeshot 100
set -euo pipefail
cd "$(dirname "$0")/../../.."
eyeshot=$(realpath "${1:-target/debug/eyeshot}") cases=${2:-100}
home=$(mktemp -d)
server=
trap 'kill $server 2>/dev/null || true; wait; rm -rf "$home"' EXIT
export EYESHOT_DATA=$home/data
"$eyeshot" index assets/scenes
mkfifo "$home/said"
"$eyeshot" serve --allow-root "$PWD/assets" --json --http 127.0.0.1:0 --grpc 127.0.0.1:0 > "$home/said" &
server=$!
read -r addresses < "$home/said"
export EYESHOT_URL=http://$(sed -E 's/.*"http":"([^"]+)".*/\1/' <<< "$addresses")
export SCHEMATHESIS_HOOKS=$PWD/benches/serve/schema/hooks.py
cd "$home"
schemathesis run "$EYESHOT_URL/v1/openapi.json" --checks all --max-examples "$cases" --continue-on-failure \
    --request-timeout 60 --seed "${SEED:-1}" "${@:3}"
