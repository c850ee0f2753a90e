//! Measures retrieval and prints tables.
