//! `tokenizer.model`: SentencePiece's own file, which Llama's first checkpoints bring and nothing else.
//!
//! A protobuf of three parts, of which little is needed: the pieces with their scores, and whether the text gets a space in
//! front. What comes out is the `tokenizer.json` that transformers' `LlamaConverter` makes of the same file.

use super::files::{ModelFiles, SENTENCE_PIECES, TOKENIZER_CONFIG};
use crate::Result;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// A piece's kinds, as far as they matter: bytes stand for themselves, control pieces are never in a text.
const NORMAL: u64 = 1;
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
/// `trainer_spec.model_type` of byte-pair encoding.
const BPE: u64 = 2;

struct Piece {
    text: String,
    score: f32,
    kind: u64,
}

/// The tokenizer of `files` as a `tokenizer.json`.
///
/// # Errors
/// [`crate::Error::Model`] when `tokenizer.model` is broken, or not of byte-pair encoding.
pub(super) fn describe(files: &ModelFiles) -> Result<Value> {
    let bytes = files.read(SENTENCE_PIECES)?;
    let config = if files.has(TOKENIZER_CONFIG) { files.json(TOKENIZER_CONFIG)? } else { Value::Null };
    build(&bytes, &config).ok_or_else(|| {
        files.error(format!("{SENTENCE_PIECES} is not a SentencePiece model of byte-pair encoding"))
    })
}

fn build(bytes: &[u8], config: &Value) -> Option<Value> {
    let (mut pieces, mut prefix) = (Vec::new(), true);
    for field in fields(bytes)? {
        match field {
            (1, Wire::Bytes(piece)) => pieces.push(Piece::read(piece)?),
            (2, Wire::Bytes(trainer)) => {
                let kind = fields(trainer)?.into_iter().find_map(|f| number(&f, 3));
                if kind.is_some_and(|kind| kind != BPE) {
                    return None;
                }
            }
            (3, Wire::Bytes(normalizer)) => {
                prefix = fields(normalizer)?.into_iter().find_map(|f| number(&f, 3)).is_none_or(|n| n != 0);
            }
            _ => {}
        }
    }
    let special = |(id, piece): (usize, &Piece)| {
        matches!(piece.kind, UNKNOWN | CONTROL).then(|| {
            json!({"id": id, "content": piece.text, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        })
    };
    let unknown = pieces.iter().find(|piece| piece.kind == UNKNOWN)?.text.clone();
    let start = config["bos_token"].as_str().or(config["bos_token"]["content"].as_str()).unwrap_or("<s>");
    let start_id = pieces.iter().position(|piece| piece.text == start)?;
    let mut normalizers = vec![json!({"type": "Prepend", "prepend": "▁"})];
    normalizers.retain(|_| prefix);
    normalizers.push(json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}));
    let vocab: Map<String, Value> =
        pieces.iter().enumerate().map(|(id, piece)| (piece.text.clone(), id.into())).collect();
    let single = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    let begin = json!({"SpecialToken": {"id": start, "type_id": 0}});
    let starts = config["add_bos_token"] != false;
    let framed: Vec<Value> = starts.then(|| begin.clone()).into_iter().chain([single("A")]).collect();
    let paired = framed.iter().cloned().chain([single("B")]).collect::<Vec<_>>();
    Some(json!({
        "version": "1.0",
        "added_tokens": pieces.iter().enumerate().filter_map(special).collect::<Vec<_>>(),
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null,
        "post_processor": {"type": "TemplateProcessing", "single": framed, "pair": paired,
                           "special_tokens": {start: {"id": start, "ids": [start_id], "tokens": [start]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": usize::from(prefix), "stop": 0},
        ]},
        "model": {"type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true,
                  "merges": merges(&pieces), "vocab": vocab},
    }))
}

/// Which pairs of pieces make a piece, the best first: each piece is made in every way that two others allow, of which the one
/// with the longer left part comes first.
fn merges(pieces: &[Piece]) -> Vec<[&str; 2]> {
    let known: HashSet<&str> = pieces.iter().map(|piece| piece.text.as_str()).collect();
    let mut merges = Vec::new();
    for piece in pieces.iter().filter(|piece| piece.kind == NORMAL) {
        let cuts = piece.text.char_indices().skip(1).map(|(at, _)| piece.text.split_at(at));
        let ways = cuts.filter(|(left, right)| known.contains(left) && known.contains(right));
        merges.extend(ways.map(|(left, right)| (piece.score, left.chars().count(), [left, right])));
    }
    // Stable: what is left of ties stays in the order of the vocabulary.
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    merges.into_iter().map(|(.., pair)| pair).collect()
}

impl Piece {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut piece = Piece { text: String::new(), score: 0.0, kind: NORMAL };
        for field in fields(bytes)? {
            match field {
                (1, Wire::Bytes(text)) => piece.text = std::str::from_utf8(text).ok()?.to_owned(),
                (2, Wire::Fixed(bits)) => piece.score = f32::from_bits(bits),
                (3, Wire::Number(kind)) => piece.kind = kind,
                _ => {}
            }
        }
        Some(piece)
    }
}

/// What a protobuf field holds.
enum Wire<'a> {
    Number(u64),
    Fixed(u32),
    Bytes(&'a [u8]),
    Other,
}

fn number(field: &(u64, Wire), wanted: u64) -> Option<u64> {
    match field {
        (at, Wire::Number(value)) if *at == wanted => Some(*value),
        _ => None,
    }
}

/// The fields of a protobuf message, in order; None when it is broken.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Wire<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Wire::Number(varint(&mut bytes)?),
            1 => take(&mut bytes, 8).map(|_| Wire::Other)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Wire::Bytes(take(&mut bytes, length)?)
            }
            5 => Wire::Fixed(u32::from_le_bytes(take(&mut bytes, 4)?.try_into().ok()?)),
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = take(bytes, 1)? else { return None };
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
