#!/usr/bin/env bash
# Eyeshot with and without batching and the Python server of this folder, over the same vectors, in turns.
#   compare.sh DATA [SECONDS [ROUNDS]]     after benches/fill.rs has written DATA and DATA/vectors.f32
# EYESHOT_BIN and LOAD name the programs, PYTHON one that has server.py's packages. The servers run one at a time.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$1 seconds=${2:-20} rounds=${3:-3}
python=${PYTHON:-python3} eyeshot=${EYESHOT_BIN:-target/release/eyeshot} load=${LOAD:?the load bench, built}
server=
trap '[ -z "$server" ] || kill "$server" 2> /dev/null || true' EXIT

until_up() {
    for _ in $(seq 600); do
        curl -so /dev/null "http://127.0.0.1:$1/openapi.json" && return
        kill -0 "$server" || exit 1
        sleep 0.5
    done
    exit 1
}

stop() {
    kill "$server"
    wait "$server" || true
    server=
}

eyeshot_run() {
    "$eyeshot" --data "$data" serve --http 127.0.0.1:8091 --grpc 127.0.0.1:8092 --query-batch "$1" > /dev/null 2>&1 &
    server=$!
    until_up 8091
    # The first query loads what is loaded lazily.
    "$load" --address http://127.0.0.1:8092 --collection demo --clients 4 --seconds 2 > /dev/null
    echo "eyeshot, batches of $1, gRPC: $("$load" --address http://127.0.0.1:8092 --collection demo --clients 64 --seconds "$seconds")"
    echo "eyeshot, batches of $1, HTTP: $("$load" --http http://127.0.0.1:8091/v1/collections/demo/search --clients 64 --seconds "$seconds")"
    stop
}

python_run() {
    "$python" benches/glue/server.py --model assets/models/demo-clip --vectors "$data/vectors.f32" --port 8093 --threads "$1" &
    server=$!
    until_up 8093
    "$load" --http http://127.0.0.1:8093/search --clients 4 --seconds 2 > /dev/null
    echo "Python, torch threads $1, HTTP: $("$load" --http http://127.0.0.1:8093/search --clients 64 --seconds "$seconds")"
    stop
}

for round in $(seq "$rounds"); do
    echo "round $round"
    eyeshot_run 64
    eyeshot_run 1
    python_run 0
    python_run 1
done
