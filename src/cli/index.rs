//! `eyeshot index`: a folder's images into a collection.

use super::args::{Matching, Named, Shared};
use super::progress::{Downloads, Work};
use super::{Outcome, output};
use crate::engine::{CAPTIONER, DEFAULT_MODEL, Describer, MATCHER, load_captioner, load_matcher};
use crate::error::{Error, Result};
use crate::ingest::{self, Cancel, Captioned, Captions, IndexOptions, Shard, Summary};
use crate::types::uri;
use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::sync::Arc;

/// Embed the images of folders and keep them in a collection
///
/// A second run embeds only what is new or changed. Stop it with Ctrl-C whenever you like: what was
/// indexed stays, and the next run goes on. Captions come from files beside the images: cat.txt (one
/// a line) or cat.json ({"captions": [...], and any other fields, which --filter can then ask for}).
///
///   eyeshot index ~/Pictures --model openai/clip-vit-base-patch32
///   eyeshot index ~/Pictures --prune                  also forget what is gone
///   eyeshot index ~/Pictures --captions blip --captioner Salesforce/blip-image-captioning-base
///
/// With capfilt each item's payload says what became of its captions: --filter 'capfilt.verdict = dropped'.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct IndexVerb {
    /// Folders or image files
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<OsString>,
    /// The model of a new collection: a Hugging Face id, an OpenCLIP name, a directory, or demo (knows emoji scenes only)
    #[arg(long, value_name = "M", env = "EYESHOT_MODEL")]
    model: Option<String>,
    /// Where captions come from; several with commas
    #[arg(long, value_enum, env = "EYESHOT_CAPTIONS", value_delimiter = ',', default_value = "sidecar")]
    captions: Vec<CaptionsName>,
    /// What writes captions: a Hugging Face id such as Salesforce/blip-image-captioning-base, a directory, or demo [default:
    /// demo where the collection's model is demo, else none]
    #[arg(long, value_name = "M", env = "EYESHOT_CAPTIONER")]
    captioner: Option<String>,
    /// The least probability at which capfilt keeps a caption
    #[arg(long, value_name = "P", env = "EYESHOT_KEEP_MATCH", default_value_t = 0.5)]
    keep_match: f32,
    #[command(flatten)]
    matching: Matching,
    /// Remove what the sources no longer hold
    #[arg(long, env = "EYESHOT_PRUNE", value_parser = FalseyValueParser::new())]
    prune: bool,
    /// Take only part I of N, told by a hash of the key, to share the work among N runs (I from 0)
    #[arg(long, value_name = "I/N", env = "EYESHOT_SHARD")]
    shard: Option<String>,
    /// Images to a batch of the model
    #[arg(long, value_name = "N", env = "EYESHOT_BATCH", default_value_t = IndexOptions::default().batch)]
    batch: usize,
    #[command(flatten)]
    named: Named,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CaptionsName {
    /// Files beside the images
    Sidecar,
    /// Those, and for images without any a captioner writes one
    Blip,
    /// The same, and a matcher judges them: those that lie are replaced by a written one, or dropped
    Capfilt,
    /// No files; with blip, every image's caption is written
    None,
}

impl IndexVerb {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        let options = IndexOptions {
            captions: if self.says(CaptionsName::None) { Captions::None } else { Captions::Sidecar },
            prune: self.prune,
            shard: self.shard.as_deref().map(str::parse::<Shard>).transpose()?,
            batch: self.batch,
            ..IndexOptions::default()
        };
        let engine = shared.engine()?;
        let collection = engine.collection_or_new(&self.named.collection, self.model.as_deref())?;
        if collection.model() == DEFAULT_MODEL && self.model.is_none() {
            eprintln!(
                "model: demo, which knows emoji scenes only; for photographs: --model openai/clip-vit-base-patch32"
            );
        }
        let describer = self.describer(shared, collection.model())?;
        let options = IndexOptions { describer, ..options };
        let cancel = on_interrupt()?;
        let bar = Work::default();
        let summary = ingest::index(&collection, &self.sources, &options, &bar, &cancel)?;
        bar.finish();
        if !cancel.is_set() {
            collection.settle()?;
        }
        print(&summary, shared.json)?;
        if cancel.is_set() {
            return Err(Error::Cancelled);
        }
        Ok(if summary.refused.is_empty() { Outcome::Done } else { Outcome::Refused })
    }
}

impl IndexVerb {
    fn says(&self, name: CaptionsName) -> bool {
        self.captions.contains(&name)
    }

    /// What writes and judges captions for a collection whose pictures `model` embeds.
    fn describer(&self, shared: &Shared, model: &str) -> Result<Option<Arc<Describer>>> {
        let (writes, judges) = (self.says(CaptionsName::Blip), self.says(CaptionsName::Capfilt));
        if self.says(CaptionsName::None) && (self.says(CaptionsName::Sidecar) || judges) {
            let fix = "none leaves files beside the images unread: leave it out, or say none,blip";
            return Err(Error::invalid("--captions none with sidecar or capfilt", fix));
        }
        if !writes && !judges {
            return Ok(None);
        }
        if !(0.0..=1.0).contains(&self.keep_match) {
            return Err(Error::invalid(format!("--keep-match {}", self.keep_match), "expected 0 to 1"));
        }
        let (options, bar) = (self.matching.models(shared)?, Downloads::default());
        let named = |given: &Option<String>, flag, such| match given {
            Some(name) => Ok(name.clone()),
            None if model == DEFAULT_MODEL => Ok(DEFAULT_MODEL.to_owned()),
            None => {
                let what = format!("no model is named that knows pictures such as {model} embeds");
                Err(Error::invalid(what, format!("name one with {flag}, such as {such}")))
            }
        };
        let captioner = named(&self.captioner, "--captioner", CAPTIONER)?;
        let writer = Arc::new(load_captioner(&captioner, &options, &bar)?);
        let describer = Describer::new(writer.clone());
        if !judges {
            return Ok(Some(Arc::new(describer)));
        }
        let matcher = named(&self.matching.matcher, "--matcher", MATCHER)?;
        let judge = match matcher == captioner && writer.can_match() {
            true => writer,
            false => Arc::new(load_matcher(&matcher, &options, &bar)?),
        };
        Ok(Some(Arc::new(describer.judged_by(judge, self.keep_match))))
    }
}

/// Ctrl-C and a polite kill stop the work between items; a second one stops the program at once, which loses nothing that
/// was acknowledged.
fn on_interrupt() -> Result<Cancel> {
    let cancel = Cancel::default();
    let flag = cancel.clone();
    let handler = move || {
        if flag.is_set() {
            #[expect(clippy::exit, reason = "the user asked twice")]
            std::process::exit(130);
        }
        eprintln!("\nstopping after this batch; once more to stop at once");
        flag.set();
    };
    ctrlc::set_handler(handler)
        .map_err(|e| Error::invalid(format!("signals can't be handled: {e}"), "try again"))?;
    Ok(cancel)
}

pub(super) fn print(summary: &Summary, json: bool) -> Result<()> {
    for refusal in &summary.refused {
        // A name may hold a newline; a listing must stay one line a file.
        let name = uri::display(&refusal.key).replace('\n', "\\n");
        eprintln!("refused {name}: {}", refusal.reason);
    }
    if json {
        return output::json(summary);
    }
    let Summary { indexed, unchanged, removed, duplicates, refused, captions, seconds } = summary;
    if let Some(Captioned { written, kept, replaced, dropped }) = captions {
        output::text(format!(
            "captions: {written} written, {kept} kept, {replaced} replaced, {dropped} dropped"
        ))?;
    }
    let rate = *indexed as f64 / seconds.max(1e-9);
    output::text(format!(
        "{indexed} indexed ({duplicates} with bytes known before), {unchanged} unchanged, {removed} removed, {} refused, \
         in {seconds:.1} s ({rate:.0} images/s)",
        refused.len()
    ))
}
