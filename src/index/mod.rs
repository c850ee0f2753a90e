//! Vectors in memory: graph, exact scan, allowed sets. No I/O, no async, no images.
