"""What schemathesis cannot know of a server over the shipped scenes: which items there are, what a picture is, and which rules
stand between fields, in prose alone."""

import base64
import json
import os
import urllib.request
from pathlib import Path

import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode

ROOT = Path(__file__).resolve().parents[3]
SCENES = sorted((ROOT / "assets/scenes").glob("*.jpg"))
PICTURES = [base64.b64encode(path.read_bytes()).decode() for path in SCENES[:3]]
spare = 0


def ask(method, path, body=None):
    request = urllib.request.Request(os.environ["EYESHOT_URL"] + path, method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("content-type", "application/json")
    with urllib.request.urlopen(request) as answer:
        return answer.read()


formats = {
    "picture": st.sampled_from(PICTURES),
    "picture-uri": st.sampled_from(["data:image/jpeg;base64," + PICTURES[0], SCENES[3].as_uri()]),
    "filter": st.sampled_from(["width >= 100", "background = red", "count > 1 and not caption contains cat", "taken < 2024"]),
    "folder": st.sampled_from([str(SCENES[0].parent), SCENES[0].parent.as_uri(), str(SCENES[5])]),
    "terms": st.sampled_from(["a lion", "lion + 2:night - grass", "id:7 + snow", "an 'odd' \"query\" \u00e9"]),
    "captions": st.sampled_from(['["a cat"]', "[]"]),
    "payload": st.sampled_from(['{"count": 2, "deep": {"er": [1, "a", null]}}', "{}"]),
}
for name, strategy in formats.items():
    schemathesis.openapi.format(name, strategy)


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Most calls are about what is there."""
    if path_parameters and "collection" in path_parameters:
        name = path_parameters["collection"]
        if isinstance(name, str) and sum(map(ord, name)) % 4:
            path_parameters["collection"] = "default"
        if isinstance(path_parameters.get("id"), int):
            path_parameters["id"] = path_parameters["id"] % 300 + 1
    return path_parameters


# What prose says of a filter and a schema cannot: there is the field, and one test that suits it.
FILTERS = [
    "background = red and not caption contains cat",
    {"must": [{"field": "background", "match": "red"}]},
    {"must": [{"field": "count", "in": [1, 2]}], "must_not": [{"field": "caption", "contains": "cat"}]},
    {"should": [{"field": "count", "range": {"gte": 1, "lt": 4}}, {"field": "path", "prefix": "/"}]},
    {"must": [{"should": [{"field": "taken", "datetime_range": {"gte": "2024-05"}}, {"field": "exif.gps", "exists": False}]}]},
    {"must_not": [{"field": "gps", "geo_radius": {"lat": 48.9, "lon": 2.3, "radius_metres": 1000}}], "expression": "width > 8"},
]


def sound(path, body):
    """Has a body that the schema passes keep the rules between its fields, too, which only prose tells."""
    if body.get("filter") is not None:
        body["filter"] = FILTERS[len(str(body)) % len(FILTERS)]
    for term in [*(body.get("terms") or []), *(body.get("about") or [])]:
        kinds = [kind for kind in ("id", "image", "uri", "text") if term.get(kind) is not None]
        for kind in kinds[1:]:
            del term[kind]
        if not kinds:
            term["id"] = 7
        if term.get("id") is not None:
            term["id"] = term["id"] % 300 + 1
        if term.get("weight") is not None:
            term["weight"] = 1 + abs(term["weight"]) % 9
    for term in body.get("about") or []:
        if term.pop("text", None) is not None:
            term["id"] = 7
    if path.endswith("/search"):
        body["rerank"] = bool(body.get("rerank")) and any(term.get("text") for term in body["terms"])
        if not body["rerank"]:
            body["match_threshold"] = None
        if body.get("side") == "words" and not any(term.get("text") for term in body["terms"]):
            body["side"] = "all"
    if path.endswith("/ask"):
        body["stop"] = [text for text in body.get("stop") or [] if text]
        if body.get("top_p") is not None:
            # What is above 0, and no longer so as the server's 32 bits have it.
            body["top_p"] = max(body["top_p"], 1e-6)
    if path.endswith("/index"):
        # A shadow wants another model than the one that there is here.
        body["shadow"] = body["from_thumbnails"] = False
        body["sources"] = body.get("sources") or [str(SCENES[7])]
    if path.endswith("/items") and "items" not in body and not body.get("file"):
        body["file"] = ["no picture"]
    if path.endswith("/items"):
        for item in body.get("items") or []:
            item.pop("uri" if item.get("image") is not None else "image", None)
            if item.get("uri") is None and item.get("image") is None:
                item["image"] = PICTURES[0]
    return body


def whole(value):
    """The same with 7 for 7.0: to a schema both are whole, to this server only the first is."""
    if isinstance(value, dict):
        return {key: whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


@schemathesis.hook
def before_call(context, case, kwargs):
    """Keeps prose's rules where a call is meant to be sound; and has a collection removed that was made for it alone."""
    global spare
    if all(part.mode == GenerationMode.POSITIVE for part in case.meta.components.values()):
        if isinstance(case.body, dict):
            case.body = whole(sound(case.operation.path, case.body))
        if case.query and not case.query.get("rerank") in (True, "true"):
            case.query.pop("match_threshold", None)
    if case.method == "DELETE" and case.operation.path == "/v1/collections/{collection}" and case.path_parameters.get("collection") == "default":
        spare += 1
        case.path_parameters["collection"] = f"spare-{spare}"
        ask("POST", "/v1/collections", {"name": f"spare-{spare}"})
