"""Search, upload and questions from Python, with classes generated from proto/ (see README.md beside this file).

    python client.py "a red car"                      the ten best hits
    python client.py "a red car" --upload a.jpg b.png  put pictures into the collection first
    python client.py "how many cars are there?" --ask  an answer, and what it rests on
"""

import argparse
import os
import pathlib
import sys

import grpc

from eyeshot.v1 import answer_pb2, answer_pb2_grpc, images_pb2, images_pb2_grpc, search_pb2, search_pb2_grpc


def main():
    parser = argparse.ArgumentParser(description="A small Eyeshot client")
    parser.add_argument("text", help="what to look for")
    parser.add_argument("--address", default="127.0.0.1:50051")
    parser.add_argument("--collection", default="default")
    parser.add_argument("--filter", default="", help="such as: width >= 800")
    parser.add_argument("--upload", nargs="*", default=[], type=pathlib.Path, metavar="FILE")
    parser.add_argument("--ask", action="store_true", help="the text is a question: answer it")
    args = parser.parse_args()

    key = os.environ.get("EYESHOT_API_KEY")
    metadata = [("authorization", f"Bearer {key}")] if key else []
    with grpc.insecure_channel(args.address) as channel:
        if args.upload:
            upload(channel, metadata, args.collection, args.upload)
        if args.ask:
            return ask(channel, metadata, args.collection, args.text)
        query = search_pb2.QueryRequest(
            collection=args.collection,
            terms=[search_pb2.Term(text=args.text)],
            filter={"expression": args.filter},
            with_captions=True,
        )
        response = search_pb2_grpc.SearchStub(channel).Query(query, metadata=metadata, timeout=30)
        for hit in response.hits:
            print(f"{hit.score:.3f}  {hit.id}  {hit.key}  {list(hit.captions)}")


def ask(channel, metadata, collection, question):
    request = answer_pb2.AskRequest(collection=collection, question=question)
    for part in answer_pb2_grpc.AnswerStub(channel).Ask(request, metadata=metadata, timeout=120):
        if part.HasField("text"):
            print(part.text, end="", flush=True)
        elif part.HasField("conclusion"):
            print()
            for cited in part.conclusion.citations:
                print(f"  [{cited.number}] {cited.id}  {cited.key}")


def upload(channel, metadata, collection, paths):
    requests = (
        images_pb2.UpsertRequest(collection=collection, key=path.resolve().as_uri(), bytes=path.read_bytes())
        for path in paths
    )
    for answer in images_pb2_grpc.ImagesStub(channel).Upsert(requests, metadata=metadata):
        if answer.HasField("accepted"):
            print(f"{answer.key}: item {answer.accepted.id}, on disk")
        else:
            print(f"{answer.key}: refused: {answer.refused.reason}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
