//! Traces for those who ask for them: a span for each request, below the caller's where it names one (W3C `traceparent`), and
//! below it what the engine did. They leave by OTLP (protobuf over HTTP), in batches, on a thread of their own.
//!
//! A collector that is slow or away costs spans, never requests: what does not fit the queue is dropped.

use crate::error::{Error, Result};
use axum::http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;

/// How long the collector may take for one batch.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the last spans may take to leave when the server stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// The most of an answer that is read.
const ANSWER: u64 = 1 << 20;
/// Where a collector takes traces.
const PATH: &str = "/v1/traces";
/// The gRPC codes that are the server's fault (OpenTelemetry's conventions for RPC servers).
const FAULTS: [&str; 6] =
    ["unknown", "deadline_exceeded", "unimplemented", "internal", "unavailable", "data_loss"];

/// Where spans go: `named`, else what OpenTelemetry's own variables say (`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`,
/// `OTEL_EXPORTER_OTLP_ENDPOINT`, unless `OTEL_SDK_DISABLED`); None for nowhere.
pub fn destination(named: Option<&str>) -> Option<String> {
    let said = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    let off = said("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let base = |url: &str| match url.trim_end_matches('/') {
        whole if whole.ends_with(PATH) => whole.to_owned(),
        base => format!("{base}{PATH}"),
    };
    match named {
        Some(url) => Some(base(url)),
        None if off => None,
        None => said("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .or_else(|| said("OTEL_EXPORTER_OTLP_ENDPOINT").map(|url| base(&url))),
    }
}

/// What sends spans, until it is dropped.
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Sends spans to `url` from now on. `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`,
    /// `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_BSP_*` are honoured.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what is no http(s) URL, or where this process has another subscriber already.
    pub fn start(url: &str) -> Result<Self> {
        let wrong =
            |why: String| Error::invalid(format!("traces to {url}: {why}"), "try http://127.0.0.1:4318");
        if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(wrong("no http(s) URL".to_owned()));
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_http_client(Collector::new())
            .with_endpoint(url)
            .build()
            .map_err(|e| wrong(e.to_string()))?;
        let provider = SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter);
        let provider = provider.build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(env!("CARGO_PKG_NAME")))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false);
        // What libraries say of themselves is not asked for.
        let ours = Targets::new().with_target(env!("CARGO_PKG_NAME"), LevelFilter::INFO);
        let subscriber = tracing_subscriber::registry().with(ours).with(layer);
        tracing::subscriber::set_global_default(subscriber).map_err(|e| wrong(e.to_string()))?;
        Ok(Traces(provider))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // Whoever is not there to take the last spans was told of already.
        _ = self.0.shutdown_with_timeout(FAREWELL);
    }
}

/// Who we are, where the environment does not say otherwise.
fn resource() -> Resource {
    let said = Resource::builder().build();
    let name = said.get(&"service.name".into()).map(|name| name.to_string());
    let known = name.is_some_and(|name| !name.starts_with("unknown_service"));
    let resource = if known { Resource::builder() } else { Resource::builder().with_service_name("eyeshot") };
    resource
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

/// The span of a request over HTTP.
pub fn of_http(method: &str, route: Option<&str>, path: &str, headers: &HeaderMap) -> Span {
    let name = || route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    let span = tracing::info_span!(
        "request",
        otel.name = name(),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        url.path = path,
        http.response.status_code = Empty,
    );
    below(span, headers)
}

/// The span of a call over gRPC, named `package.Service/Method`.
pub fn of_grpc(name: &str, headers: &HeaderMap) -> Span {
    let (service, method) = name.rsplit_once('/').unwrap_or((name, ""));
    let span = tracing::info_span!(
        "request",
        otel.name = name,
        otel.kind = "server",
        otel.status_code = Empty,
        rpc.system.name = "grpc",
        rpc.service = service,
        rpc.method = method,
        rpc.response.status_code = Empty,
    );
    below(span, headers)
}

/// Notes how a request ended: with an HTTP status, or a gRPC code in small letters.
pub fn ended(span: &Span, status: &str, is_grpc: bool) {
    let fault = match is_grpc {
        true => {
            span.record("rpc.response.status_code", status.to_ascii_uppercase());
            FAULTS.contains(&status)
        }
        false => {
            let code = status.parse::<i64>().ok();
            code.map(|code| span.record("http.response.status_code", code));
            code.is_some_and(|code| code >= 500)
        }
    };
    if fault {
        span.record("otel.status_code", "ERROR");
    }
}

/// The span below the one that the caller names, where it does.
fn below(span: Span, headers: &HeaderMap) -> Span {
    if !span.is_disabled() && headers.contains_key("traceparent") {
        let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        // Only a span that was entered before refuses.
        _ = span.set_parent(context);
    }
    span
}

/// The way to the collector.
#[derive(Debug)]
struct Collector {
    agent: ureq::Agent,
    /// Whether the last batch did not arrive: the operator hears of the first only.
    failing: AtomicBool,
}

impl Collector {
    fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Collector { agent: config.new_agent(), failing: AtomicBool::new(false) }
    }

    fn send(&self, request: Request<Bytes>) -> std::result::Result<Response<Bytes>, ureq::Error> {
        let (parts, body) = request.into_parts();
        let response = self.agent.run(Request::from_parts(parts, body.as_ref()))?;
        let (parts, mut body) = response.into_parts();
        let bytes = body.with_config().limit(ANSWER).read_to_vec()?;
        Ok(Response::from_parts(parts, bytes.into()))
    }
}

#[tonic::async_trait]
impl HttpClient for Collector {
    /// Blocks: the thread that sends spans does nothing else.
    async fn send_bytes(&self, request: Request<Bytes>) -> std::result::Result<Response<Bytes>, HttpError> {
        let url = request.uri().clone();
        let sent = self.send(request);
        let trouble = match &sent {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        let failed_before = self.failing.swap(trouble.is_some(), Ordering::Relaxed);
        match trouble {
            Some(why) if !failed_before => eprintln!("traces: {url} does not take them: {why}"),
            None if failed_before => eprintln!("traces: {url} takes them again"),
            _ => {}
        }
        sent.map_err(Into::into)
    }
}
