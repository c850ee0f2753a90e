//! Captions and answers: a decoder that looks at a picture, or at a question that was read beside a picture.

use super::cross::Source;
use super::matcher::batch;
use super::network::Writer;
use super::text::Past;
use super::{Blip, Features};
use crate::models::generate::{self, Decoder, Decoding, Frame, Generated};
use crate::{Error, Result};
use candle_core::{Device, IndexOp, Tensor};

/// How many texts are written at once, each with its own keys and values of what it looks at: 42 MB in BLIP base.
const BATCH: usize = 8;

/// As [`Blip::caption`].
pub(super) fn caption(blip: &Blip, images: &[&Features], how: &Decoding) -> Result<Vec<Generated>> {
    let writer = match &blip.network.writer {
        Some(writer) if blip.can_caption() => writer,
        _ => return Err(blip.lacks("write captions", "BlipForConditionalGeneration")),
    };
    let mut captions = Vec::with_capacity(images.len());
    for images in images.chunks(BATCH) {
        let states = images.iter().map(|image| blip.states(image)).collect::<Result<Vec<_>>>()?;
        captions.extend(write(blip, writer, states, how)?);
    }
    Ok(captions)
}

/// As [`Blip::answer`].
pub(super) fn answer(blip: &Blip, questions: &[(&Features, &str)], how: &Decoding) -> Result<Vec<Generated>> {
    let (reader, writer) = match (&blip.network.reader, &blip.network.writer) {
        (Some(reader), Some(writer)) if blip.can_answer() => (reader, writer),
        _ => return Err(blip.lacks("answer questions", "BlipForQuestionAnswering")),
    };
    let mut answers = Vec::with_capacity(questions.len());
    for questions in questions.chunks(BATCH) {
        let mut sources = Vec::with_capacity(questions.len());
        let mut ids = Vec::with_capacity(questions.len());
        for (image, question) in questions {
            sources.push(Source::new(blip.states(image)?, 1));
            ids.push(blip.looking_ids(question)?);
        }
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let (tokens, mask) = batch(blip, &ids)?;
        let states = reader.read(&tokens, mask.as_ref(), &sources, reader.depth())?;
        // The answer looks at the question's own tokens: padding is cut off, not masked.
        let states =
            ids.iter().enumerate().map(|(row, ids)| Ok(states.i((row, ..ids.len()))?.contiguous()?));
        answers.extend(write(blip, writer, states.collect::<Result<Vec<_>>>()?, how)?);
    }
    Ok(answers)
}

/// A text for each of `states`, (length, width), which it looks at.
fn write(blip: &Blip, writer: &Writer, states: Vec<Tensor>, how: &Decoding) -> Result<Vec<Generated>> {
    how.check()?;
    let text = &blip.config.text;
    let frame = Frame { prompt: prompt(blip, how)?, end: text.sep_token_id };
    let room = blip.longest() - frame.prompt.len();
    let how = Decoding {
        max_new_tokens: how.max_new_tokens.min(room),
        min_new_tokens: how.min_new_tokens.min(room),
        ..how.clone()
    };
    let (texts, rows) = (states.len(), how.rows());
    let sources = states
        .into_iter()
        .map(|states| Source::new(states, rows).project(&writer.model))
        .collect::<Result<Vec<_>>>()?;
    let looks_at = (0..texts).flat_map(|text| std::iter::repeat_n(text, rows)).collect();
    let past = Past::new(writer.model.depth());
    let mut decoder = Pen { writer, past, sources, looks_at, device: &blip.device };
    let finish = |written: generate::Written| {
        let end = written.tokens.last() == Some(&frame.end);
        let words = written.tokens.len() - usize::from(end);
        let text = blip.tokenizer.decode(written.tokens.get(1..words).unwrap_or_default())?;
        Ok(Generated { text, token_ids: written.tokens, log_prob: written.log_prob })
    };
    generate::write(&mut decoder, texts, &frame, &how)?.into_iter().map(finish).collect()
}

/// The start token and the prefix.
fn prompt(blip: &Blip, how: &Decoding) -> Result<Vec<u32>> {
    let start = blip.config.text.bos_token_id;
    let Some(prefix) = &how.prefix else { return Ok(vec![start]) };
    let mut ids = blip.tokenizer.encode(prefix)?;
    let longest = blip.longest();
    if blip.excess(prefix)? > 0 {
        return Err(Error::invalid(format!("prefix {prefix:?}"), format!("fewer than {longest} tokens")));
    }
    ids.pop();
    if let Some(first) = ids.first_mut() {
        *first = start;
    }
    Ok(ids)
}

/// Several texts in the making.
struct Pen<'a> {
    writer: &'a Writer,
    past: Past,
    sources: Vec<Source>,
    /// Which source each row looks at, in ascending order.
    looks_at: Vec<usize>,
    device: &'a Device,
}

impl Decoder for Pen<'_> {
    fn read(&mut self, tokens: &[u32], rows: usize) -> Result<Vec<Vec<f32>>> {
        let length = tokens.len() / rows.max(1);
        let ids = Tensor::from_slice(tokens, (rows, length), self.device)?;
        let count = |source: usize| self.looks_at.iter().filter(|at| **at == source).count();
        let sources: Vec<Source> =
            self.sources.iter().enumerate().map(|(number, source)| source.with_rows(count(number))).collect();
        let states = self.writer.model.go_on(&ids, &mut self.past, &sources)?;
        let logits =
            self.writer.head.forward(&states.i((.., length - 1))?.contiguous()?)?.to_vec2::<f32>()?;
        if logits.iter().flatten().any(|logit| !logit.is_finite()) {
            let reason = "a logit is not finite; in f16 this is an overflow: try f32".to_owned();
            return Err(Error::Compute { reason });
        }
        Ok(logits)
    }

    fn keep(&mut self, kept: &[usize]) -> Result<()> {
        if kept.iter().copied().eq(0..self.looks_at.len()) {
            return Ok(());
        }
        self.looks_at = kept.iter().filter_map(|row| self.looks_at.get(*row).copied()).collect();
        let kept: Vec<u32> = kept.iter().map(|row| *row as u32).collect();
        self.past.keep(&Tensor::new(kept.as_slice(), self.device)?)
    }
}
