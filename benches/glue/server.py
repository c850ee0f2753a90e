"""The server that a user would write in an afternoon: FastAPI, the same CLIP in torch, the same vectors in hnswlib.

    pip install fastapi uvicorn torch transformers hnswlib numpy
    python server.py --model assets/models/demo-clip --vectors D/vectors.f32 --port 8090

`POST /search {"text": ..., "limit": 10}` answers ids, keys and scores, as Eyeshot's own search does. Endpoints are plain
functions, so that FastAPI runs them on its pool of threads beside one another, and torch gets every core.
"""

import argparse
import pathlib

import fastapi
import hnswlib
import numpy
import pydantic
import torch
import transformers
import uvicorn


class Question(pydantic.BaseModel):
    text: str
    limit: int = 10


def application(model_folder, vectors_path, threads):
    if threads:
        torch.set_num_threads(threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder)
    model = transformers.CLIPTextModelWithProjection.from_pretrained(model_folder, dtype=torch.float32).eval()
    vectors = numpy.fromfile(vectors_path, "<f4").reshape(-1, model.config.projection_dim)
    index = hnswlib.Index(space="cosine", dim=vectors.shape[1])
    built = pathlib.Path(vectors_path).with_suffix(".hnsw")
    if built.exists():
        index.load_index(str(built), max_elements=len(vectors))
    else:
        index.init_index(len(vectors), M=16, ef_construction=100)
        index.add_items(vectors)
        index.save_index(str(built))
    index.set_ef(64)
    # One search needs one thread; others' run beside it.
    index.set_num_threads(1)
    keys = [f"file:///made/{n:07}.jpg" for n in range(len(vectors))]
    app = fastapi.FastAPI()

    @app.post("/search")
    def search(question: Question):
        with torch.inference_mode():
            tokens = tokenizer([question.text], return_tensors="pt", truncation=True)
            embedding = model(**tokens).text_embeds[0].numpy()
        ids, distances = index.knn_query(embedding, k=question.limit)
        hits = zip(ids[0].tolist(), distances[0].tolist())
        return {"hits": [{"id": id, "key": keys[id], "score": 1 - distance} for id, distance in hits]}

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--vectors", required=True)
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--threads", type=int, default=0, help="torch's threads; 0 for its own choice")
    args = parser.parse_args()
    app = application(args.model, args.vectors, args.threads)
    uvicorn.run(app, host="127.0.0.1", port=args.port, log_level="warning")
