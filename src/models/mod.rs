//! Weights, tokenizers, preprocessing and the networks. Knows nothing of ids, collections or queries.
