//! `eyeshot index`: images of folders, buckets, tars and lists into a collection; once, or whenever they change.

use super::args::{Bounds, Matching, Named, Shared};
use super::progress::{Downloads, Work};
use super::{Outcome, output, stages};
use crate::engine::{
    CAPTIONER, Collection, DEFAULT_MODEL, Describer, Engine, MATCHER, NewCollection, Patience, Shadow,
    load_captioner, load_matcher,
};
use crate::error::{Error, Result};
use crate::ingest::{
    self, Cancel, Captioned, Captions, ErrorReport, Event, FORMS, Failed, IndexOptions, Items, Reporter,
    Shard, Source, Summary, Watch,
};
use crate::types::{Codes, uri};
use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Embed images of folders, buckets, tars and lists, and keep them in a collection
///
/// A second run embeds only what is new or changed. Stop it with Ctrl-C whenever you like: what was
/// indexed stays, and the next run goes on. Captions come from files beside the images: cat.txt (one
/// a line) or cat.json ({"captions": [...], and any other fields, which --filter can then ask for}).
///
///   eyeshot index ~/Pictures --model openai/clip-vit-base-patch32
///   eyeshot index ~/Pictures --prune                  also forget what is gone
///   eyeshot index ~/Pictures --watch                  and go on whenever something changes
///   eyeshot index s3://bucket/2024 --errors failed.jsonl
///   eyeshot index s3://bucket/2024 --retry-failed failed.jsonl
///   eyeshot index 's3://bucket/{000..150}.tar'        webdataset shards: 0001.jpg beside 0001.txt or 0001.json
///   eyeshot index photos.parquet                      or .csv, .tsv, .jsonl: columns url (or path), caption, any others
///   find . -name '*.jpg' | eyeshot index -            a name or URL a line, or JSON lines
///   eyeshot index ~/Pictures --captions blip --captioner Salesforce/blip-image-captioning-base
///   eyeshot index ~/Pictures --model NEW --shadow     another model's vectors, beside those that go on serving; then:
///   eyeshot collection flip default                   the switch
///   eyeshot index s3://bucket --keep-thumbnails       keep small pictures; later: index --model NEW --shadow --from-thumbnails
///
/// Buckets are asked as their own tools ask: s3:// reads AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE, AWS_REGION,
/// AWS_ENDPOINT_URL (for stores that are not Amazon's), AWS_NO_SIGN_REQUEST=1 (for public buckets); gs:// reads
/// GOOGLE_APPLICATION_CREDENTIALS, STORAGE_EMULATOR_HOST (for emulators), CLOUDSDK_AUTH_DISABLE_CREDENTIALS=1 (for public buckets);
/// az:// reads AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, AZURE_STORAGE_ENDPOINT (for what is not at
/// blob.core.windows.net), or AZURE_STORAGE_CONNECTION_STRING, AZURE_SKIP_SIGNATURE=1 (for public containers). What fails in passing is
/// tried again, and as late as the store asks.
///
/// With capfilt each item's payload says what became of its captions: --filter 'capfilt.verdict = dropped'.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct IndexVerb {
    #[arg(required_unless_present = "shadow", value_name = "SOURCE", help = FORMS)]
    sources: Vec<OsString>,
    /// The model of a new collection, or of a new shadow: a Hugging Face id, an OpenCLIP name, a directory, or demo (knows emoji scenes only)
    #[arg(long, value_name = "M", env = "EYESHOT_MODEL")]
    model: Option<String>,
    /// How a new collection keeps vectors in memory: int8, or int4, which takes three quarters of that and finds 98 of 100 that are nearest
    #[arg(long, value_name = "CODES", env = "EYESHOT_CODES")]
    codes: Option<Codes>,
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
    /// Re-embed the collection's items with another model, beside the vectors that go on serving, until `eyeshot collection flip`
    /// switches. Takes only what is in the collection, as it is there, and keeps its captions; without a SOURCE, all items from
    /// where they lie. A rerun takes what is missing
    #[arg(long, env = "EYESHOT_SHADOW", value_parser = FalseyValueParser::new(), conflicts_with_all = ["dry_run", "prune"])]
    shadow: bool,
    /// Keep a small picture of each image, its shorter side PX pixels [default: 336]: the page shows them where the images can't be
    /// reached, and a later model can be tried on them. Images without one are taken once more
    #[arg(long, value_name = "PX", env = "EYESHOT_KEEP_THUMBNAILS", num_args = 0..=1, default_missing_value = "336",
          require_equals = true, conflicts_with = "shadow")]
    keep_thumbnails: Option<u32>,
    /// With --shadow, embed the small pictures that --keep-thumbnails kept, rather than fetch every image again
    #[arg(long, env = "EYESHOT_FROM_THUMBNAILS", value_parser = FalseyValueParser::new(), requires = "shadow",
          conflicts_with = "sources")]
    from_thumbnails: bool,
    /// Take only part I of N, told by a hash of the key, to share the work among N runs (I from 0)
    #[arg(long, value_name = "I/N", env = "EYESHOT_SHARD")]
    shard: Option<String>,
    /// Only say what there is to do
    #[arg(long, env = "EYESHOT_DRY_RUN", value_parser = FalseyValueParser::new())]
    dry_run: bool,
    /// Write each image that can't be taken to a file, a JSON line each: key, stage, reason, tries
    #[arg(long, value_name = "FILE", env = "EYESHOT_ERRORS")]
    errors: Option<PathBuf>,
    /// Of the same sources, take up only what the --errors file of an earlier run names
    #[arg(long, value_name = "FILE", env = "EYESHOT_RETRY_FAILED", conflicts_with_all = ["prune", "watch"])]
    retry_failed: Option<PathBuf>,
    /// Go on until Ctrl-C: folders are looked at when they change, and everything every SECONDS [default: 300]
    #[arg(long, value_name = "SECONDS", env = "EYESHOT_WATCH", num_args = 0..=1, default_missing_value = "300",
          require_equals = true, conflicts_with = "dry_run")]
    watch: Option<u64>,
    /// How often an image that can't be fetched is asked for
    #[arg(long, value_name = "N", env = "EYESHOT_FETCH_TRIES", default_value_t = Patience::default().tries,
          value_parser = clap::value_parser!(u32).range(1..=100))]
    fetch_tries: u32,
    /// How long a bucket or website may say nothing before it is asked again
    #[arg(long, value_name = "SECONDS", env = "EYESHOT_FETCH_TIMEOUT", default_value_t = Patience::default().silence.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    fetch_timeout: u64,
    #[command(flatten)]
    bounds: Bounds,
    /// Say how busy each step was, which one limited, and what to try
    #[arg(short, long, env = "EYESHOT_VERBOSE", value_parser = FalseyValueParser::new())]
    verbose: bool,
    /// Images to a batch of the model, on each device
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
        let options = self.options(shared.devices())?;
        let mut sources = ingest::open(&self.sources, options.patience)?;
        let (engine, collection, _gone) = self.collection(shared)?;
        let shadow = match self.shadow {
            true => Some(engine.shadow(collection.name(), self.model.as_deref())?),
            false => None,
        };
        if self.sources.is_empty() {
            if shadow.is_none() {
                return Err(Error::invalid("no SOURCE", format!("expected {FORMS}")));
            }
            sources.push(Box::new(match self.from_thumbnails {
                true => Items::small(collection.clone()),
                false => Items::of(collection.clone()),
            }));
        }
        if collection.model() == DEFAULT_MODEL && self.model.is_none() && shadow.is_none() {
            eprintln!(
                "model: demo, which knows emoji scenes only; for photographs: --model openai/clip-vit-base-patch32"
            );
        }
        let describer = self.describer(shared, collection.model())?;
        let options = IndexOptions { describer, shadow, ..options };
        let cancel = on_interrupt()?;
        let job = Job { verb: self, json: shared.json, collection, sources, options, cancel };
        match self.watch {
            Some(seconds) => job.go_on(Duration::from_secs(seconds.max(1))),
            None => {
                let summary = job.once()?;
                job.print(&summary)?;
                if job.cancel.is_set() {
                    return Err(Error::Cancelled);
                }
                Ok(if summary.refused.is_empty() { Outcome::Done } else { Outcome::Refused })
            }
        }
    }

    fn options(&self, devices: usize) -> Result<IndexOptions> {
        // The report of the last run may be where this one's goes, so it is read first.
        let only = self.retry_failed.as_deref().map(Failed::read).transpose()?.map(Arc::new);
        let errors = self.errors.as_deref().map(ErrorReport::create).transpose()?.map(Arc::new);
        Ok(IndexOptions {
            captions: if self.says(CaptionsName::None) { Captions::None } else { Captions::Sidecar },
            prune: self.prune,
            thumbnails: self.keep_thumbnails,
            shard: self.shard.as_deref().map(str::parse::<Shard>).transpose()?,
            dry_run: self.dry_run,
            errors,
            only,
            patience: Patience {
                tries: self.fetch_tries,
                silence: Duration::from_secs(self.fetch_timeout),
                whole: None,
            },
            batch: self.batch.saturating_mul(devices),
            limits: self.bounds.limits(),
            ..IndexOptions::default()
        })
    }

    /// The collection; for a run that only looks, one in a folder that goes away where there is none yet.
    fn collection(&self, shared: &Shared) -> Result<(Engine, Arc<Collection>, Option<TempDir>)> {
        let name = &self.named.collection;
        let engine = shared.engine()?;
        let missing = self.dry_run && matches!(engine.collection(name), Err(Error::NotFound { .. }));
        let (engine, gone) = match missing {
            true => {
                let dir = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
                (shared.engine_in(dir.path().to_owned())?, Some(dir))
            }
            false => (engine, None),
        };
        let collection = match self.shadow {
            true => {
                let collection = engine.collection(name)?;
                self.codes.map_or(Ok(()), |codes| collection.check_codes(codes))?;
                collection
            }
            false => engine
                .collection_or_new(name, NewCollection { model: self.model.as_deref(), codes: self.codes })?,
        };
        Ok((engine, collection, gone))
    }
}

/// A run, or one after another.
struct Job<'a> {
    verb: &'a IndexVerb,
    json: bool,
    collection: Arc<Collection>,
    sources: Vec<Box<dyn Source>>,
    options: IndexOptions,
    cancel: Cancel,
}

impl Job<'_> {
    fn once(&self) -> Result<Summary> {
        let told = Told { bar: Work::default(), json: self.json, indexed: AtomicU64::new(0) };
        let summary = ingest::sync(&self.collection, &self.sources, &self.options, &told, &self.cancel);
        told.bar.finish();
        let written = self.options.errors.as_ref().map_or(Ok(()), |errors| errors.finish());
        let indexed = told.indexed.into_inner();
        if summary.is_err() && indexed > 0 {
            eprintln!("{indexed} images were indexed before this, and stay; run it again to go on");
        }
        let mut summary = summary?;
        if !self.verb.verbose {
            summary.stages.clear();
        }
        written?;
        if !self.cancel.is_set() && !self.options.dry_run {
            match &self.options.shadow {
                None => self.collection.settle()?,
                Some(shadow) => self.tell_shadow(shadow)?,
            }
        }
        Ok(summary)
    }

    /// Makes a shadow ready, and says how far it is.
    fn tell_shadow(&self, shadow: &Shadow) -> Result<()> {
        shadow.settle()?;
        let (name, items) = (self.collection.name(), self.collection.info()?.items);
        let next = match items.saturating_sub(shadow.len()) {
            0 => format!("switch to it: eyeshot collection flip {name}"),
            missing => format!("{missing} are missing"),
        };
        eprintln!("shadow: {} of {items} items have vectors of {}; {next}", shadow.len(), shadow.model());
        Ok(())
    }

    /// Runs whenever there is a reason, until it is asked to stop.
    fn go_on(&self, every: Duration) -> Result<Outcome> {
        let watch = Watch::new(&self.sources, every)?;
        let mut refused = None;
        while !self.cancel.is_set() {
            match self.once() {
                Ok(summary) => {
                    let news = summary.indexed + summary.removed > 0;
                    if news || refused.replace(summary.refused.clone()) != Some(summary.refused.clone()) {
                        self.print(&summary)?;
                    }
                }
                // Places come back; a broken store or model does not.
                Err(
                    error @ (Error::Fetch { .. }
                    | Error::GaveUp { .. }
                    | Error::Forbidden { .. }
                    | Error::Io { .. }),
                ) => {
                    eprintln!("error: {error}; trying again in {} s", every.as_secs());
                }
                Err(error) => return Err(error),
            }
            watch.wait(&self.cancel);
        }
        Ok(Outcome::Done)
    }

    fn print(&self, summary: &Summary) -> Result<()> {
        if self.verb.verbose {
            eprintln!("{}", stages::table(&summary.stages));
        }
        print(summary, self.json)
    }
}

/// Draws the bar, counts what is safe, and tells what a run that only looks would do.
struct Told {
    bar: Work,
    json: bool,
    indexed: AtomicU64,
}

impl Reporter for Told {
    fn event(&self, event: Event<'_>) {
        let would = |what: &str, key: &str| {
            // A reader that went away is met again when the summary is printed.
            _ = match self.json {
                true => output::json(&json!({"would": what, "key": key})),
                false => output::text(format!("would {what} {}", uri::display(key).replace('\n', "\\n"))),
            };
        };
        match event {
            Event::Indexed(images) => _ = self.indexed.fetch_add(images, Ordering::Relaxed),
            Event::Due(key) => would("index", key),
            Event::Gone(key) => would("remove", key),
            _ => {}
        }
        self.bar.event(event);
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
    let Summary { indexed, unchanged, removed, duplicates, refused, captions, seconds, dry_run, .. } =
        summary;
    if *dry_run {
        return output::text(format!("{indexed} to index, {unchanged} unchanged, {removed} to remove"));
    }
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
