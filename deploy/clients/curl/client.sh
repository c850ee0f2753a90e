#!/usr/bin/env bash
# Search, upload and health with curl alone.
#
#   curl/client.sh "a red car"                     the ten best hits
#   curl/client.sh "a red car" a.jpg b.png         put pictures into the collection first
#   EYESHOT_ASK=1 curl/client.sh "how many cars?"  an answer, as it is written
#
# EYESHOT_URL says where the server is, EYESHOT_COLLECTION which collection is meant, EYESHOT_API_KEY is its key.
set -euo pipefail

text=${1:?what to look for}
shift
base=${EYESHOT_URL:-http://127.0.0.1:8080}
collection=$base/v1/collections/${EYESHOT_COLLECTION:-default}
call=(curl --silent --show-error --fail-with-body)
if [ -n "${EYESHOT_API_KEY:-}" ]; then
    call+=(--header "Authorization: Bearer $EYESHOT_API_KEY")
fi

"${call[@]}" "$base/health"
echo
for picture in "$@"; do
    "${call[@]}" "$collection/items" --form "file=@$picture"
    echo
done
if [ -n "${EYESHOT_ASK:-}" ]; then
    question=$(sed 's/[\\"]/\\&/g' <<< "$text")
    exec "${call[@]}" --no-buffer "$collection/ask" --json "{\"question\": \"$question\"}"
fi
"${call[@]}" --get "$collection/search" --data-urlencode "q=$text" --data limit=10 --data with_captions=true
echo
