//! Bytes, keys, atomic batches. The only folder that names sled.
