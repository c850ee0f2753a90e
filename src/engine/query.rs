//! Query: terms become one vector, conditions an allowed set; sides are searched, the best looked at again, hits dressed.

use super::batched::Words;
use super::caller::Caller;
use super::collection::Collection;
use super::guides::guides;
use super::rerank::{self, Ranked};
use super::words;
use crate::error::{Error, Result};
use crate::index::{QueryKind, SearchOptions};
use crate::types::{ContentHash, Hit, ItemId, Query, Side, Term, TermKind};
use std::time::Instant;

/// The most hits that one query may skip and return: what a result page or an export needs, and bounded.
pub const MAX_HITS: usize = 100_000;

impl Collection {
    /// The hits of `query`, best first.
    pub fn query(&self, query: &Query) -> Result<Vec<Hit>> {
        self.query_for(query, &Caller::default())
    }

    /// The hits of `query`, best first, for a caller who may leave.
    pub fn query_for(&self, query: &Query, caller: &Caller) -> Result<Vec<Hit>> {
        check(query)?;
        let words = self.words(query.terms.iter(), caller)?;
        self.answer(query, &words, caller)
    }

    /// The embeddings of the words of a query that has nothing else to be embedded, waited for without a thread that sleeps; None where it
    /// has, or the encoder is yet to be loaded.
    ///
    /// # Errors
    /// Where the query makes no sense, and where there are too many already who wait.
    pub fn ahead(
        &self,
        query: &Query,
        caller: &Caller,
    ) -> Result<Option<impl Future<Output = Result<Words>> + Send + use<>>> {
        check(query)?;
        let texts: Option<Vec<&str>> = query.terms.iter().map(|term| term.kind.text()).collect();
        let (Some(texts), Some(encoder)) = (texts, self.encoder.get()) else { return Ok(None) };
        Ok(Some(encoder.seek(&texts, caller)?.wait()))
    }

    /// [`Collection::query_for`] where the embeddings of its words came [ahead](Collection::ahead) of it.
    pub fn query_with(&self, query: &Query, words: &Words, caller: &Caller) -> Result<Vec<Hit>> {
        check(query)?;
        self.answer(query, words, caller)
    }

    /// The hits of each query, whose words are encoded together. One that fails costs only itself.
    pub fn query_many(&self, queries: &[Query], caller: &Caller) -> Result<Vec<Result<Vec<Hit>>>> {
        let sound = queries.iter().filter(|query| check(query).is_ok());
        let words = self.words(sound.flat_map(|query| &query.terms), caller)?;
        let answer = |query| check(query).and_then(|()| self.answer(query, &words, caller));
        Ok(queries.iter().map(answer).collect())
    }

    /// The unit vector of weighted terms: the normalised sum of `weight * unit vector`.
    pub fn vector(&self, terms: &[Term]) -> Result<Vec<f32>> {
        let caller = Caller::default();
        self.compose(terms, &self.words(terms.iter(), &caller)?, &caller)
    }

    fn answer(&self, query: &Query, words: &Words, caller: &Caller) -> Result<Vec<Hit>> {
        let vector = self.compose(&query.terms, words, caller)?;
        caller.check()?;
        let seen = query.offset + query.limit;
        let deep = query.rerank.as_ref().map_or(seen, |rerank| rerank.top.max(seen));
        let began = Instant::now();
        let mut found = {
            let _span =
                tracing::info_span!("search", collection = self.name(), side = ?query.side, k = deep as i64)
                    .entered();
            let allowed = query.filter.as_ref().map(|filter| self.allowed(filter)).transpose()?;
            self.search(query, &vector, allowed.as_ref(), deep)?
        };
        self.counts.searches.note(began.elapsed());
        found.retain(|(_, score)| query.min_score.is_none_or(|least| *score >= least));
        let ranked = match &query.rerank {
            Some(rerank) => self.rerank(rerank, &query.terms, found, seen, caller)?,
            None => found.into_iter().map(Ranked::unseen).collect(),
        };
        let page = ranked.into_iter().skip(query.offset).take(query.limit);
        let _span = tracing::info_span!("store", op = "read").entered();
        page.filter_map(|hit| self.dress(hit).transpose()).collect()
    }

    /// The `k` items whose pictures are nearest to the unit vector of a text, best first, with their cosines: what
    /// [`Collection::query`] does between encoding and dressing, for those who measure it.
    pub fn nearest(
        &self,
        vector: &[f32],
        k: usize,
        ef: Option<usize>,
        exact: bool,
    ) -> Result<Vec<(ItemId, f32)>> {
        let kind = QueryKind::Sampled;
        self.images.search(vector, k, &SearchOptions { ef, kind, exact, ..SearchOptions::default() })
    }

    /// Up to `most` caption vectors, spread evenly over the items: samples of what text queries look like. Only those that guided no graph, where
    /// `unseen`.
    pub fn caption_vectors(&self, most: usize, unseen: bool) -> Vec<Vec<f32>> {
        self.captions.sample(most, |slot| !unseen || !guides(slot))
    }

    /// The breadth that a text's search among pictures has where none is asked for; None where every search scans.
    pub fn default_ef(&self) -> Option<usize> {
        Some(self.images.default_ef(QueryKind::Sampled)).filter(|ef| *ef > 0)
    }

    /// The embeddings of the terms that are words.
    fn words<'a>(&self, terms: impl Iterator<Item = &'a Term>, caller: &Caller) -> Result<Words> {
        let texts: Vec<&str> = terms.filter_map(|t| t.kind.text()).collect();
        if texts.is_empty() { Ok(Words::none()) } else { self.batched()?.seek(&texts, caller)?.block() }
    }

    fn compose(&self, terms: &[Term], words: &Words, caller: &Caller) -> Result<Vec<f32>> {
        let mut sum = vec![0f32; self.images.record.dim];
        let mut add = |vector: &[f32], weight: f32| {
            sum.iter_mut().zip(vector).for_each(|(s, v)| *s += weight * v);
        };
        for term in terms {
            match &term.kind {
                TermKind::Text(text) => {
                    let missing = || Error::Compute { reason: format!("no vector came for {text:?}") };
                    add(words.get(text).ok_or_else(missing)?, term.weight);
                }
                TermKind::Image(bytes) => add(&self.vector_of_bytes(bytes, caller)?, term.weight),
                TermKind::Item(id) => add(&self.vector_of_item(*id)?, term.weight),
            }
        }
        let norm = sum.iter().map(|x| x * x).sum::<f32>().sqrt();
        if norm < 1e-6 {
            return Err(Error::invalid(
                "the terms cancel each other out",
                "change a weight, or leave one out",
            ));
        }
        sum.iter_mut().for_each(|x| *x /= norm);
        Ok(sum)
    }

    /// An encoded picture's vector: the stored one where an item has the same bytes.
    fn vector_of_bytes(&self, bytes: &[u8], caller: &Caller) -> Result<Vec<f32>> {
        let known = self.known(&ContentHash::of(bytes))?.and_then(|item| self.images.vector_of(item.id));
        if let Some(vector) = known {
            return Ok(vector);
        }
        let decoded = self.memory.decode(bytes)?;
        let pixels = self.prepare(&decoded.image)?;
        self.batched()?.picture(pixels, caller)
    }

    fn vector_of_item(&self, id: ItemId) -> Result<Vec<f32>> {
        self.images.vector_of(id).ok_or_else(|| Error::NotFound {
            kind: "item",
            name: id.to_string(),
            fix: "ids are in the `id` field of search results".into(),
        })
    }

    /// A hit with what the store knows of it; None where the item went away meanwhile.
    fn dress(&self, hit: Ranked) -> Result<Option<Hit>> {
        let Ranked { id, score, matched, unmatched } = hit;
        let dressed = |item| Hit { item, score, matched, unmatched };
        Ok(self.store.item(self.record.id, id)?.map(dressed))
    }
}

fn check(query: &Query) -> Result<()> {
    let blank = |term: &Term| term.kind.text().is_some_and(|t| t.trim().is_empty());
    if query.terms.is_empty() || query.terms.iter().any(blank) {
        return Err(Error::invalid("the query is empty", "give some words, an --image, or both"));
    }
    if query.terms.iter().any(|t| !t.weight.is_finite() || t.weight == 0.0) {
        return Err(Error::invalid(
            "a term's weight is zero or not finite",
            "use weights such as 2, 0.5 or -1",
        ));
    }
    if query.terms.iter().all(|t| t.weight < 0.0) {
        return Err(Error::invalid("every term pushes away", "add one to look for"));
    }
    if query.limit == 0 || query.limit.saturating_add(query.offset) > MAX_HITS {
        let what = format!("limit {} with offset {}", query.limit, query.offset);
        return Err(Error::invalid(
            what,
            format!("the limit is at least 1, and both together at most {MAX_HITS}"),
        ));
    }
    if query.min_score.is_some_and(f32::is_nan) {
        return Err(Error::invalid("the least score is not a number", "cosines lie between -1 and 1"));
    }
    query.rerank.as_ref().map_or(Ok(()), |rerank| rerank::check(rerank, &query.terms))?;
    if query.side == Side::Words { words::check(&query.terms) } else { Ok(()) }
}
