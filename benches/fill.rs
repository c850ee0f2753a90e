//! Fills a collection with items near its own, so that what comes before and after an embedding is measured at size.
//!
//! ```text
//! eyeshot --data D index assets/scenes -c demo
//! cargo bench --bench fill -- --data D --collection demo --items 100000 --vectors D/vectors.f32
//! ```
//!
//! No picture is drawn or embedded: each new vector is a mixture of two embeddings that are there and a step in a random
//! direction, written through the public store with a record of its own. `--vectors` writes all of them for other programs:
//! f32, little-endian, item by item.

use eyeshot::store::{Batch, Manifest, Store};
use eyeshot::types::{ContentHash, Item, ItemId, Modality};
use std::io::Write;

const BATCH: u64 = 256;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().collect();
    let of =
        |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1).cloned());
    let data = of("--data").ok_or("name a data directory with --data")?;
    let name = of("--collection").unwrap_or_else(|| "default".into());
    let items: u64 = of("--items").map_or(Ok(100_000), |n| n.parse())?;
    let store = Store::open(data.as_ref())?;
    fill(&store, &name, items)?;
    if let Some(path) = of("--vectors") {
        export(&store, &name, &path)?;
    }
    Ok(())
}

fn fill(store: &Store, name: &str, items: u64) -> Result<(), Failed> {
    let record = store.collection(name)?.ok_or("index something into the collection first")?;
    let space =
        record.spaces.iter().find(|space| space.modality == Modality::Image).ok_or("no image space")?;
    let known: Vec<(ItemId, Vec<f32>)> = store
        .vectors(space.id)
        .map(|row| row.map(|(_, row)| (row.item, row.vector)))
        .collect::<Result<_, _>>()?;
    let model: Vec<Item> = store.items(record.id).collect::<Result<_, _>>()?;
    let (first, mut slot) = (store.next_item(record.id)?, store.next_slot(space.id)?);
    let began = std::time::Instant::now();
    for batch_first in (first..first + items).step_by(BATCH as usize) {
        let mut batch = Batch::default();
        let end = (batch_first + BATCH).min(first + items);
        for id in batch_first..end {
            let mut dice = Dice(id);
            let (one, other) = (dice.of(&known), dice.of(&known));
            batch.put_vector(space.id, slot, ItemId(id), &mixed(&one.1, &other.1, &mut dice));
            slot += 1;
            let key = format!("file:///made/{id:07}.jpg");
            let item = Item {
                id: ItemId(id),
                hash: ContentHash::of(key.as_bytes()),
                key,
                ..dice.of(&model).clone()
            };
            let manifest =
                Manifest { source: "made:".into(), stamp: String::new(), hash: item.hash, item: item.id };
            batch.put_manifest(record.id, &item.key, &manifest)?;
            batch.put_item(record.id, &item)?;
        }
        batch.put_next_item(record.id, end);
        store.commit(batch)?;
        store.seal(space.id)?;
    }
    println!("{items} items near {} in {:.1} s", known.len(), began.elapsed().as_secs_f64());
    Ok(())
}

/// A unit vector near `a`, towards `b`.
fn mixed(a: &[f32], b: &[f32], dice: &mut Dice) -> Vec<f32> {
    let share = 0.1 + 0.4 * dice.roll();
    // A step of a fifth of their length, whatever the dimension.
    let step = 0.2 * (12.0 / a.len() as f32).sqrt();
    let mut out: Vec<f32> =
        a.iter().zip(b).map(|(a, b)| (1.0 - share) * a + share * b + step * (dice.roll() - 0.5)).collect();
    let norm = out.iter().map(|x| x * x).sum::<f32>().sqrt();
    out.iter_mut().for_each(|x| *x /= norm);
    out
}

fn export(store: &Store, name: &str, path: &str) -> Result<(), Failed> {
    let record = store.collection(name)?.ok_or("the collection is gone")?;
    let space =
        record.spaces.iter().find(|space| space.modality == Modality::Image).ok_or("no image space")?;
    let mut out = std::io::BufWriter::new(std::fs::File::create(path)?);
    for row in store.vectors(space.id) {
        for x in row?.1.vector {
            out.write_all(&x.to_le_bytes())?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Pseudo-random numbers (SplitMix64), the same in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0 to 1.
    fn roll(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[(self.next() % all.len() as u64) as usize]
    }
}
