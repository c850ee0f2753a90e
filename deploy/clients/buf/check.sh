#!/usr/bin/env bash
# Calls every RPC of a running server with `buf curl`, which knows them by reflection alone. Takes the address of gRPC, and a
# folder with pictures that the server may index; EYESHOT_API_KEY is the key. Needs buf: npm install --global @bufbuild/buf
set -euo pipefail
address=$1 pictures=$(realpath "$2")
out=$(mktemp)
trap 'rm -f "$out"' EXIT
called=()

# Service/Method, the message or several, and what the answer must have.
call() {
    local code=0
    buf curl --http2-prior-knowledge --protocol grpc --reflect-protocol "${reflection:-grpc-v1}" \
        --header "authorization: Bearer ${EYESHOT_API_KEY:-}" --data "$2" "http://$address/$1" > "$out" 2>&1 || code=$?
    grep -qE "$3" "$out" || { echo "$1 gave no $3 ($code):" >&2; cat "$out" >&2; exit 1; }
    called+=("$1")
}

of=eyeshot.v1 collection=by_buf
terms='"terms": [{"text": "a cat"}]'
picture=$(find "$pictures" -name '*.jpg' -o -name '*.png' | sort | head -1)
call $of.Collections/Create "{\"name\": \"$collection\"}" "\"name\": *\"$collection\""
call $of.Collections/Create "{\"name\": \"$collection\"}" already_exists
call $of.Collections/List '{}' "\"name\": *\"$collection\""
call $of.Collections/Get "{\"name\": \"$collection\"}" '"modality": *"image"'
call $of.Images/Index "{\"collection\": \"$collection\", \"sources\": [\"$pictures\"]}" '"summary"'
call $of.Images/Upsert "{\"collection\": \"$collection\", \"key\": \"one\", \"bytes\": \"$(base64 -w0 "$picture")\", \"captions\": [\"a cat\"]}
    {\"key\": \"two\", \"bytes\": \"bm90IGEgcGljdHVyZQ==\"}" '"accepted"'
grep -q '"refused"' "$out" || { echo "what is no picture was not refused" >&2; exit 1; }
id=$(tr -d ' \n' < "$out" | sed -E 's/.*"accepted":\{"id":"([0-9]+)".*/\1/')
call $of.Images/Get "{\"collection\": \"$collection\", \"ids\": [\"$id\", 999999], \"withCaptions\": true}" '"missing"'
call $of.Search/Query "{\"collection\": \"$collection\", $terms, \"limit\": 3, \"filter\": {\"expression\": \"width >= 8\"}}" '"score"'
call $of.Search/Query "{\"collection\": \"$collection\", \"terms\": []}" invalid_argument
call $of.Search/QueryBatch "{\"queries\": [{\"collection\": \"$collection\", $terms}, {\"collection\": \"nowhere\", $terms}]}" '"error"'
# A server that was told of no model to answer with says so.
call $of.Answer/Ask "{\"collection\": \"$collection\", \"question\": \"is there a cat?\"}" '"conclusion"|unimplemented|failed_precondition|invalid_argument'
call $of.Images/Delete "{\"collection\": \"$collection\", \"ids\": [\"$id\"]}" '"removed": *"1"'
call $of.Collections/Flip "{\"name\": \"$collection\"}" not_found
call $of.Collections/DropShadow "{\"name\": \"$collection\"}" not_found
reflection=grpc-v1alpha call $of.Collections/Delete "{\"name\": \"$collection\"}" '^\{\}'
call grpc.health.v1.Health/Check "{\"service\": \"$of.Search\"}" '"SERVING"'

# Every method that reflection lists was called.
for service in Answer Collections Images Search; do
    buf curl --http2-prior-knowledge --protocol grpc --reflect-protocol grpc-v1 --list-methods "http://$address" | tr -d ' ' | grep "^$of.$service/" > "$out" || true
    [ -s "$out" ] || { echo "reflection lists nothing of $service" >&2; exit 1; }
    while read -r method; do
        printf '%s\n' "${called[@]}" | grep -qx "$method" || { echo "$method was not called" >&2; exit 1; }
    done < "$out"
done
echo "buf called $(printf '%s\n' "${called[@]}" | sort -u | wc -l) methods"
