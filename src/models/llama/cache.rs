//! The keys and values that a sequence has computed so far.

use crate::Result;
use candle_core::Tensor;
use candle_nn::kv_cache::KvCache;

/// One sequence's keys and values, a pair a layer. Memory is taken when the first tokens come, for all that it has room for.
pub struct Cache {
    layers: Vec<KvCache>,
}

impl Cache {
    pub(super) fn new(layers: usize, room: usize) -> Self {
        Cache { layers: (0..layers).map(|_| KvCache::new(1, room.max(1))).collect() }
    }

    /// How many tokens have gone through all layers.
    pub fn len(&self) -> usize {
        // The last layer: while a pass is under way, the first ones are ahead.
        self.layers.last().map_or(0, KvCache::current_seq_len)
    }

    /// Whether nothing has been seen yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds `k` and `v`, (key heads, new tokens, width of a head), to layer `n`; returns all of them.
    pub(super) fn append(&mut self, n: usize, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
        match self.layers.get_mut(n) {
            Some(layer) => Ok(layer.append(k, v)?),
            None => Ok((k.clone(), v.clone())),
        }
    }
}
