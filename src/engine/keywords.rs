//! The very words: captions and file names by BM25 (Robertson & Zaragoza, 2009), for what vectors blur: names, numbers, codes.
//!
//! 1. An index in memory is built from the store when words are first searched; whoever never searches them never pays.
//!    It is derived, and never stored, so that no kill can leave it behind what the store holds.
//! 2. Writers keep it in step; what they put becomes visible with the next search, all of a batch at once.
//! 3. A query's words are looked up in captions and names; an item answers where it has at least half of them.

use crate::error::{Error, Result};
use crate::types::{Item, ItemId, uri};
use roaring::RoaringTreemap;
use std::sync::{Arc, Mutex, PoisonError};
use tantivy::collector::{FilterCollector, TopDocs};
use tantivy::query::{BooleanQuery, BoostQuery, Occur, Query, TermQuery};
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{AsciiFoldingFilter, LowerCaser, RemoveLongFilter, SimpleTokenizer, TextAnalyzer};
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, TantivyDocument, TantivyError, Term};

/// What the writer gathers before it makes a segment: tantivy's least.
const ARENA: usize = 15_000_000;
/// Longer words are no words.
const LONGEST: usize = 64;
/// The field of item ids, and the name of our way to cut text into words.
const ID: &str = "id";
const WORDS: &str = "words";

/// Captions and names of a collection's items.
pub(super) struct Keywords {
    id: Field,
    captions: Field,
    name: Field,
    reader: IndexReader,
    writer: Mutex<Writer>,
}

struct Writer {
    inner: IndexWriter,
    /// Whether something was put that searches do not see yet.
    pending: bool,
}

impl Keywords {
    /// The words of `items`.
    pub fn build(items: impl Iterator<Item = Result<Item>>) -> Result<Self> {
        let mut schema = Schema::builder();
        let text = || {
            let words = TextFieldIndexing::default().set_tokenizer(WORDS);
            TextOptions::default().set_indexing_options(words.set_index_option(IndexRecordOption::WithFreqs))
        };
        let id = schema.add_u64_field(ID, INDEXED | FAST);
        let (captions, name) =
            (schema.add_text_field("captions", text()), schema.add_text_field("name", text()));
        let index = Index::builder().schema(schema.build()).create_in_ram()?;
        index.tokenizers().register(WORDS, analyzer());
        let inner = index.writer_with_num_threads(1, ARENA)?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let writer = Mutex::new(Writer { inner, pending: true });
        let keywords = Keywords { id, captions, name, reader, writer };
        for item in items {
            keywords
                .writer
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .inner
                .add_document(keywords.document(&item?))?;
        }
        Ok(keywords)
    }

    /// Puts items, each in the place of what it was before.
    pub fn put<'a>(&self, items: impl Iterator<Item = &'a Item>) -> Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        for item in items {
            writer.inner.delete_term(Term::from_field_u64(self.id, item.id.0));
            writer.inner.add_document(self.document(item))?;
        }
        writer.pending = true;
        Ok(())
    }

    /// Takes items away.
    pub fn remove(&self, ids: impl Iterator<Item = ItemId>) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        ids.for_each(|id| _ = writer.inner.delete_term(Term::from_field_u64(self.id, id.0)));
        writer.pending = true;
    }

    /// The `k` items that have most of the weighed texts' words, best first; those that have all words of a text with a
    /// negative weight are left out.
    pub fn search(
        &self,
        texts: &[(&str, f32)],
        k: usize,
        allowed: Option<RoaringTreemap>,
    ) -> Result<Vec<(ItemId, f32)>> {
        let parts: Vec<(Occur, Box<dyn Query>)> =
            texts.iter().filter_map(|(text, weight)| self.part(text, *weight)).collect();
        if k == 0 || !parts.iter().any(|(occur, _)| *occur == Occur::Should) {
            return Ok(vec![]);
        }
        self.catch_up()?;
        let (searcher, query) = (self.reader.searcher(), BooleanQuery::new(parts));
        let top = TopDocs::with_limit(k).order_by_score();
        let found = match allowed {
            Some(allowed) => {
                let allowed = Arc::new(allowed);
                let within = move |id: u64| allowed.contains(id);
                searcher.search(&query, &FilterCollector::new(ID.to_owned(), within, top))?
            }
            None => searcher.search(&query, &top)?,
        };
        let mut items = Vec::with_capacity(found.len());
        for (score, place) in found {
            let ids = searcher.segment_reader(place.segment_ord).fast_fields().u64(ID)?;
            items.extend(ids.first(place.doc_id).map(|id| (ItemId(id), score)));
        }
        // Equal scores stand in the order of ids, however the segments lie.
        items.sort_by(|a: &(ItemId, f32), b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Ok(items)
    }

    /// Makes visible what was put.
    fn catch_up(&self) -> Result<()> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.pending {
            writer.inner.commit()?;
            self.reader.reload()?;
            writer.pending = false;
        }
        Ok(())
    }

    fn document(&self, item: &Item) -> TantivyDocument {
        let mut document = TantivyDocument::new();
        document.add_u64(self.id, item.id.0);
        item.captions.iter().for_each(|caption| document.add_text(self.captions, caption));
        // Folders are part of how people name pictures. Those that all items share weigh next to nothing.
        document.add_text(self.name, uri::display(&item.key));
        document
    }

    /// One text's words; None where it has none.
    fn part(&self, text: &str, weight: f32) -> Option<(Occur, Box<dyn Query>)> {
        let words = words(text);
        let least = match words.len() {
            0 => return None,
            // Articles and prepositions alone are no answer.
            n if weight > 0.0 => n.div_ceil(2),
            n => n,
        };
        let anywhere = |word: &String| -> (Occur, Box<dyn Query>) {
            let field = |field| -> Box<dyn Query> {
                Box::new(TermQuery::new(Term::from_field_text(field, word), IndexRecordOption::WithFreqs))
            };
            (Occur::Should, Box::new(BooleanQuery::union(vec![field(self.captions), field(self.name)])))
        };
        let query = BooleanQuery::with_minimum_required_clauses(words.iter().map(anywhere).collect(), least);
        Some(match weight > 0.0 {
            true => (Occur::Should, Box::new(BoostQuery::new(Box::new(query), weight))),
            false => (Occur::MustNot, Box::new(query)),
        })
    }
}

/// Letters and digits that stand together, in lower case, without accents.
fn analyzer() -> TextAnalyzer {
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(LONGEST))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .build()
}

/// The words of `text`, each once.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut analyzer = analyzer();
    let mut stream = analyzer.token_stream(text);
    while stream.advance() {
        words.push(stream.token().text.clone());
    }
    words.sort_unstable();
    words.dedup();
    words
}

impl From<TantivyError> for Error {
    fn from(error: TantivyError) -> Self {
        Error::Compute { reason: format!("searching words: {error}") }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::types::ContentHash;

    fn item(id: u64, name: &str, captions: &[&str]) -> Item {
        Item {
            id: ItemId(id),
            key: format!("file:///photos/{name}"),
            hash: ContentHash::of(name.as_bytes()),
            size: 1,
            width: 1,
            height: 1,
            format: "png".into(),
            taken: None,
            captions: captions.iter().map(|c| (*c).to_owned()).collect(),
            exif: Default::default(),
            payload: Default::default(),
        }
    }

    fn all() -> Vec<Item> {
        vec![
            item(1, "IMG_1234.jpg", &["a cat left of a dog", "a cat"]),
            item(2, "paris/IMG_1235.jpg", &["Café at night"]),
            item(3, "a%20b.png", &[]),
            item(4, "dog.jpg", &["a dog"]),
        ]
    }

    #[test]
    fn words_of_captions_and_names_are_found() {
        let keywords = Keywords::build(all().into_iter().map(Ok)).unwrap();
        let check = |texts: &[(&str, f32)], wanted: &[u64]| {
            let found = keywords.search(texts, 10, None).unwrap();
            assert_eq!(found.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), wanted, "{texts:?}");
        };
        check(&[("img_1234", 1.0)], &[1, 2]);
        check(&[("IMG_1235.jpg", 1.0)], &[2, 1]);
        check(&[("1235", 1.0)], &[2]);
        check(&[("paris", 1.0)], &[2]);
        check(&[("cafe", 1.0)], &[2]);
        check(&[("CAFÉ", 1.0)], &[2]);
        check(&[("dog", 1.0)], &[4, 1]);
        check(&[("dog", 1.0), ("cat", -1.0)], &[4]);
        check(&[("a cat left of a dog", 1.0)], &[1]);
        check(&[("b", 1.0)], &[3]);
        check(&[("unicorn", 1.0)], &[]);
        check(&[("?!", 1.0)], &[]);
        check(&[("cat", -1.0)], &[]);
        check(&[("cat", 1.0), ("night", 5.0)], &[2, 1]);
        let allowed: RoaringTreemap = [1, 3].into_iter().collect();
        assert_eq!(keywords.search(&[("dog", 1.0)], 10, Some(allowed)).unwrap().len(), 1);
        assert_eq!(keywords.search(&[("img", 1.0)], 1, None).unwrap().len(), 1);
    }

    #[test]
    fn what_is_put_and_removed_is_seen_at_once() {
        let keywords = Keywords::build(all().into_iter().map(Ok)).unwrap();
        let ids = |text| -> Vec<u64> {
            keywords.search(&[(text, 1.0)], 10, None).unwrap().into_iter().map(|(id, _)| id.0).collect()
        };
        assert_eq!(ids("dog"), [4, 1]);
        keywords.put([item(4, "dog.jpg", &["a horse"]), item(5, "x.png", &["a horse"])].iter()).unwrap();
        assert_eq!((ids("horse"), ids("dog")), (vec![4, 5], vec![4, 1]));
        keywords.remove([ItemId(4), ItemId(77)].into_iter());
        assert_eq!((ids("horse"), ids("dog")), (vec![5], vec![1]));
    }
}
