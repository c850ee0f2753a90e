#!/usr/bin/env bash
# Runs the clients against a server over the images that ship; part of .ci/run. Takes the program's path, and needs curl and Python;
# where buf is there too, it calls every RPC.
set -euo pipefail
cd "$(dirname "$0")/../.."
eyeshot=$(realpath "${1:-target/debug/eyeshot}")
home=$(mktemp -d)
server=
trap 'kill $server 2>/dev/null || true; wait; rm -rf "$home"' EXIT

export EYESHOT_DATA=$home/data EYESHOT_API_KEY=a-key-for-this-run-alone
"$eyeshot" index assets/scenes
mkfifo "$home/said"
"$eyeshot" serve --allow-root "$home" --json --http 127.0.0.1:0 --grpc 127.0.0.1:0 > "$home/said" &
server=$!
read -r addresses < "$home/said"
http=$(sed -E 's/.*"http":"([^"]+)".*/\1/' <<< "$addresses")
grpc=$(sed -E 's/.*"grpc":"([^"]+)".*/\1/' <<< "$addresses")

expect() {
    grep -q "$1" "$home/out" || { echo "the $2 client's answer has no $1:" >&2; cat "$home/out" >&2; exit 1; }
}

EYESHOT_URL=http://$http deploy/clients/curl/client.sh "two koalas" assets/sets/0001.jpg | tee "$home/out"
expect '"status":"serving"' curl
expect '"rank":1,"id":160' curl
EYESHOT_ASK=1 EYESHOT_URL=http://$http deploy/clients/curl/client.sh "is there a koala?" | tee "$home/out"
expect '"answer":"yes"' curl

python3 -m venv "$home/venv"
"$home/venv/bin/pip" install --quiet grpcio grpcio-tools
"$home/venv/bin/python" -m grpc_tools.protoc -I proto --python_out="$home" --grpc_python_out="$home" proto/eyeshot/v1/*.proto
PYTHONPATH=$home "$home/venv/bin/python" deploy/clients/python/client.py "two koalas" --address "$grpc" \
    --upload assets/sets/0002.jpg | tee "$home/out"
expect 'on disk' Python
expect '/assets/scenes/0161.jpg' Python
PYTHONPATH=$home "$home/venv/bin/python" deploy/clients/python/client.py "is there a koala?" --ask --address "$grpc" \
    | tee "$home/out"
expect '^yes' Python
expect '^  \[1\] .*/assets/scenes/' Python
if command -v buf > /dev/null; then
    mkdir "$home/few" && cp assets/scenes/000[1-9].jpg "$home/few"
    deploy/clients/buf/check.sh "$grpc" "$home/few"
else
    echo "buf is not there: its check of every RPC was left out"
fi
echo "the clients got what they asked for"
