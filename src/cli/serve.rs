//! `eyeshot serve`: the collections of this machine, for other programs.

use super::args::{Answering, Bounds, Matching, Shared};
use super::{Outcome, output};
use crate::engine::fetch::Reach;
use crate::engine::{Engine, QueueOptions, Refetch, Serving};
use crate::error::{Error, Result};
use crate::serve::{self, Access, Bound, Keys, Settings, Tls};
use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Serve the collections: a web page, JSON and gRPC
///
/// Open http://127.0.0.1:8080/ in a browser, or try:
///
///   eyeshot serve &
///   curl '127.0.0.1:8080/v1/collections/default/search?q=a+red+car'
///   grpcurl -plaintext -d '{"terms": [{"text": "a red car"}]}' 127.0.0.1:50051 eyeshot.v1.Search/Query
///
/// /v1/openapi.json describes the JSON; gRPC clients are made from proto/eyeshot/v1, and reflection
/// and health are on.
///
/// Only this machine can reach it, until told otherwise; others must then show an API key:
///
///   EYESHOT_API_KEY=$(openssl rand -hex 24) eyeshot serve --http 0.0.0.0:8080 --tls-cert F --tls-key F
///
/// Ctrl-C and SIGTERM let requests in flight finish; a kill loses nothing that was acknowledged.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Serve {
    /// A TOML file with any of these settings under their names: queue = 100; flags and the environment come first
    #[arg(long, value_name = "F", env = "EYESHOT_CONFIG")]
    #[allow(dead_code, reason = "it is read before the others are: see cli::file")]
    config: Option<PathBuf>,
    /// Where gRPC listens; port 0 takes a free one and prints it
    #[arg(long, value_name = "ADDR", env = "EYESHOT_GRPC", default_value = "127.0.0.1:50051")]
    grpc: SocketAddr,
    /// Where the web page, JSON and pictures are served; `none` for nowhere
    #[arg(long, value_name = "ADDR", env = "EYESHOT_HTTP", default_value = "127.0.0.1:8080")]
    http: HttpAddress,
    /// A key that may do everything; several with commas
    #[arg(long, value_name = "K", env = "EYESHOT_API_KEY", value_delimiter = ',', hide_env_values = true)]
    api_key: Vec<String>,
    /// A key that may only search and look; several with commas
    #[arg(long, value_name = "K", env = "EYESHOT_READ_KEY", value_delimiter = ',', hide_env_values = true)]
    read_key: Vec<String>,
    /// A file of keys, one a line: read KEY or write KEY
    #[arg(long, value_name = "F", env = "EYESHOT_API_KEY_FILE")]
    api_key_file: Option<PathBuf>,
    /// Let other machines in without a key
    #[arg(long, env = "EYESHOT_INSECURE", value_parser = FalseyValueParser::new())]
    insecure: bool,
    /// The server's certificate, in PEM
    #[arg(long, value_name = "F", env = "EYESHOT_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "F", env = "EYESHOT_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Take only clients whose certificate this authority signed, in PEM
    #[arg(long, value_name = "F", env = "EYESHOT_TLS_CLIENT_CA", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// The model of new collections (default: demo)
    #[arg(long, value_name = "M", env = "EYESHOT_MODEL")]
    model: Option<String>,
    /// Let requests name files of this folder, beside those that were indexed; several with commas
    #[arg(long, value_name = "DIR", env = "EYESHOT_ALLOW_ROOT", value_delimiter = ',')]
    allow_root: Vec<PathBuf>,
    /// Let requests name http(s) URLs of the public internet, which the server then fetches
    #[arg(long, env = "EYESHOT_ALLOW_URLS", value_parser = FalseyValueParser::new())]
    allow_urls: bool,
    /// Let those URLs lead to private, loopback and link-local addresses too
    #[arg(long, env = "EYESHOT_ALLOW_PRIVATE_URLS", requires = "allow_urls", value_parser = FalseyValueParser::new())]
    allow_private_urls: bool,
    /// Fetch pictures that were indexed from buckets again, with this process's credentials, to show and to look at them; those
    /// behind URLs are fetched again with --allow-urls
    #[arg(long, env = "EYESHOT_REFETCH", value_parser = FalseyValueParser::new())]
    refetch: bool,
    /// How long one such picture may take to come, in seconds
    #[arg(long, value_name = "S", env = "EYESHOT_REFETCH_TIMEOUT", default_value_t = Refetch::default().time.as_secs())]
    refetch_timeout: u64,
    /// The longest message taken, in MiB
    #[arg(long, value_name = "MIB", env = "EYESHOT_MAX_MESSAGE", default_value_t = 64)]
    max_message: usize,
    /// How many requests are worked on at once; more are told to come back
    #[arg(long, value_name = "N", env = "EYESHOT_CONCURRENCY", default_value_t = Settings::default().concurrency)]
    concurrency: usize,
    /// How many texts or images of different callers share a forward pass
    #[arg(long, value_name = "N", env = "EYESHOT_QUERY_BATCH", default_value_t = QueueOptions::default().batch)]
    query_batch: usize,
    /// How many texts or images may wait for a model; more are told to come back
    #[arg(long, value_name = "N", env = "EYESHOT_QUEUE", default_value_t = QueueOptions::default().waiting)]
    queue: usize,
    /// How many recent texts keep their embeddings
    #[arg(long, value_name = "N", env = "EYESHOT_RECENT", default_value_t = QueueOptions::default().recent)]
    recent: usize,
    /// How long a JSON request may take, in seconds
    #[arg(long, value_name = "S", env = "EYESHOT_TIMEOUT", default_value_t = Settings::default().timeout.as_secs())]
    timeout: u64,
    /// How long a client may dawdle with its headers, with a body, or in taking what it is sent, in seconds
    #[arg(long, value_name = "S", env = "EYESHOT_PATIENCE", default_value_t = Settings::default().patience.as_secs())]
    patience: u64,
    /// Let pages of this origin call over HTTP (CORS), such as https://photos.example; several with commas, * for all
    #[arg(long, value_name = "ORIGIN", env = "EYESHOT_CORS_ORIGIN", value_delimiter = ',')]
    cors_origin: Vec<String>,
    #[command(flatten)]
    bounds: Bounds,
    /// How much memory thumbnails may take, in MiB
    #[arg(long, value_name = "MIB", env = "EYESHOT_THUMBNAILS", default_value_t = Settings::default().thumbnail_bytes >> 20)]
    thumbnails: u64,
    #[command(flatten)]
    matching: Matching,
    #[command(flatten)]
    answering: Answering,
    /// Do not keep the bytes of pictures that clients send: they can be found, and not be shown
    #[arg(long, env = "EYESHOT_FORGET_UPLOADS", value_parser = FalseyValueParser::new())]
    forget_uploads: bool,
    /// Write a JSON line to standard error for each request
    #[arg(short, long, env = "EYESHOT_VERBOSE", value_parser = FalseyValueParser::new())]
    verbose: bool,
    /// What share of queries that a graph answered is repeated by a scan, on a thread that rests nine tenths of the time, to
    /// show their recall in /metrics; 0 for none
    #[arg(long, value_name = "SHARE", env = "EYESHOT_RECALL_SAMPLE", default_value_t = Settings::default().recall_sample)]
    recall_sample: f64,
    /// Send traces to this OpenTelemetry collector (OTLP, protobuf over HTTP), such as http://127.0.0.1:4318 [default: what
    /// OTEL_EXPORTER_OTLP_ENDPOINT says, else nowhere]
    #[arg(long, value_name = "URL", env = "EYESHOT_OTLP")]
    otlp: Option<String>,
    /// How long requests in flight may take to finish when stopping, in seconds
    #[arg(long, value_name = "S", env = "EYESHOT_GRACE", default_value_t = Settings::default().grace.as_secs())]
    grace: u64,
}

/// An address, or none.
#[derive(Clone, Copy, Debug)]
struct HttpAddress(Option<SocketAddr>);

impl FromStr for HttpAddress {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" { Ok(HttpAddress(None)) } else { text.parse().map(|a| HttpAddress(Some(a))) }
    }
}

/// Serves until it is told to stop, and says where.
pub(super) fn run(engine: Engine, settings: &Settings, json: bool) -> Result<Outcome> {
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    serve::serve(engine, settings, |Bound { grpc, http }| {
        let page = http.map(|address| format!("{scheme}://{address}/"));
        // Whoever reads the addresses may have gone; the server stays.
        _ = match json {
            true => output::json(&json!({ "grpc": grpc.to_string(), "http": http.map(|a| a.to_string()) })),
            false => {
                let page = page.map(|page| format!("web page and JSON on {page}\n")).unwrap_or_default();
                output::text(format!("{page}gRPC on {grpc}"))
            }
        };
    })?;
    Ok(Outcome::Done)
}

impl Serve {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        if self.query_batch == 0 || self.queue == 0 || self.refetch_timeout == 0 {
            return Err(Error::invalid("a batch, queue or time of 0", "it is at least 1"));
        }
        let settings = self.settings()?;
        settings.check()?;
        let queue = QueueOptions { batch: self.query_batch, waiting: self.queue, recent: self.recent };
        let (matching, answering) = (self.matching.options(), self.answering.options());
        let models = self.matching.models(shared)?;
        let time = Duration::from_secs(self.refetch_timeout);
        let refetch = Refetch { buckets: self.refetch, urls: settings.urls, time };
        let serving = Serving { queue, matching, answering, refetch, limits: self.bounds.limits() };
        let engine = shared.engine_serving(shared.data.clone(), models, serving)?;
        run(engine, &settings, shared.json)
    }

    fn settings(&self) -> Result<Settings> {
        let mut keys = Keys::default();
        self.api_key.iter().try_for_each(|key| keys.add(key, Access::Write))?;
        self.read_key.iter().try_for_each(|key| keys.add(key, Access::Read))?;
        self.api_key_file.iter().try_for_each(|path| keys.add_file(path))?;
        keys.travel_by_tls(self.tls_cert.is_some());
        if self.tls_cert.is_some() != self.tls_key.is_some()
            || (self.tls_client_ca.is_some() && self.tls_cert.is_none())
        {
            return Err(Error::invalid("half of what TLS needs", "give both tls-cert and tls-key"));
        }
        if self.allow_private_urls && !self.allow_urls {
            return Err(Error::invalid("allow-private-urls without allow-urls", "give both"));
        }
        let tls = self.tls_cert.clone().zip(self.tls_key.clone());
        let urls = match (self.allow_urls, self.allow_private_urls) {
            (true, true) => Some(Reach::Anywhere),
            (true, false) => Some(Reach::Public),
            (false, _) => None,
        };
        Ok(Settings {
            grpc: self.grpc,
            http: self.http.0,
            keys,
            insecure: self.insecure,
            tls: tls.map(|(cert, key)| Tls { cert, key, client_ca: self.tls_client_ca.clone() }),
            message_bytes: self.max_message.saturating_mul(1 << 20),
            concurrency: self.concurrency,
            urls,
            roots: self.allow_root.clone(),
            model: self.model.clone(),
            timeout: Duration::from_secs(self.timeout),
            patience: Duration::from_secs(self.patience),
            cors: self.cors_origin.clone(),
            thumbnail_bytes: self.thumbnails.saturating_mul(1 << 20),
            log: self.verbose,
            recall_sample: self.recall_sample,
            traces: serve::traces_to(self.otlp.as_deref()),
            keep_uploads: !self.forget_uploads,
            grace: Duration::from_secs(self.grace),
            ..Settings::default()
        })
    }
}
