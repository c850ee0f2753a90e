//! What the server counts, and what the engine counts, as Prometheus reads it (the OpenMetrics text format).

use super::app::App;
use crate::engine::{Activity, BOUNDS, Load, RECALLS, Timed, Written};
use crate::ingest::Metered;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::fmt::{self, Debug};
use std::time::Duration;

/// What a text of these metrics is called.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `protocol`, `route`, `status`.
type Request = [(&'static str, String); 3];
/// `protocol`, `route`.
type Route = [(&'static str, String); 2];

/// All that is counted.
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Route, Histogram>,
    in_flight: Family<[(&'static str, String); 1], Gauge>,
}

impl Metrics {
    /// Nothing counted yet; `app` is asked at each reading.
    pub fn new(app: App) -> Self {
        let mut registry = Registry::with_prefix("eyeshot");
        let requests = Family::default();
        registry.register("requests", "Requests that have ended", requests.clone());
        let buckets = || Histogram::new(BOUNDS.into_iter().filter(|bound| bound.is_finite()));
        let seconds = Family::new_with_constructor(buckets as fn() -> Histogram);
        registry.register(
            "request_seconds",
            "From a request's headers to the end of its answer",
            seconds.clone(),
        );
        let in_flight = Family::default();
        registry.register("requests_in_flight", "Requests that have not ended", in_flight.clone());
        registry.register_collector(Box::new(Engine(app)));
        Metrics { registry, requests, seconds, in_flight }
    }

    /// A request has begun.
    pub fn began(&self, protocol: &'static str) {
        self.in_flight.get_or_create(&[("protocol", protocol.to_owned())]).inc();
    }

    /// A request that began has ended.
    pub fn ended(&self, protocol: &'static str, route: &str, status: &str, took: Duration) {
        let (protocol, route) = (("protocol", protocol.to_owned()), ("route", route.to_owned()));
        self.in_flight.get_or_create(std::array::from_ref(&protocol)).dec();
        self.seconds.get_or_create(&[protocol.clone(), route.clone()]).observe(took.as_secs_f64());
        self.requests.get_or_create(&[protocol, route, ("status", status.to_owned())]).inc();
    }

    /// All of it as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        _ = encode(&mut text, &self.registry);
        text
    }
}

/// What the engine knows, asked when someone reads.
struct Engine(App);

impl Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

/// Values of one metric with their labels.
type Values<L, V> = Vec<(L, V)>;

impl Collector for Engine {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        queues(&mut to, &self.0.engine.loads())?;
        answers(&mut to, &self.0.engine.written())?;
        let open = self.0.engine.open_collections();
        let all: Vec<(String, Activity)> = open.iter().map(|c| (c.name().to_owned(), c.activity())).collect();
        collections(&mut to, &all)?;
        stages(&mut to, &self.0.meter.read())?;
        let free = vec![([("kind", "work".to_owned())], self.0.work.free() as u64)];
        gauges(&mut to, "places_free", "Places for requests that are free", &free)
    }
}

fn queues(to: &mut DescriptorEncoder<'_>, loads: &[(String, &'static str, Load)]) -> fmt::Result {
    let labels = |model: &str, kind: &str| [("model", model.to_owned()), ("input", kind.to_owned())];
    let of = |value: fn(&Load) -> u64| -> Values<_, u64> {
        loads.iter().map(|(model, kind, load)| (labels(model, kind), value(load))).collect()
    };
    let seconds = |value: fn(&Load) -> Duration| -> Values<_, f64> {
        loads.iter().map(|(model, kind, load)| (labels(model, kind), value(load).as_secs_f64())).collect()
    };
    gauges(to, "queue_waiting", "Inputs that wait for a model", &of(|load| load.waiting as u64))?;
    counters(to, "queue_refused", "Requests that found a model's queue full", &of(|load| load.refused))?;
    counters(to, "queue_dropped", "Inputs whose caller left before their turn", &of(|load| load.dropped))?;
    counters(to, "queue_inputs", "Inputs that went through a model", &of(|load| load.inputs))?;
    counters(to, "encode_seconds", "Time spent in forward passes", &seconds(|load| load.busy))?;
    let waits = loads.iter().map(|(model, kind, load)| (labels(model, kind), &load.waited));
    histograms(to, "queue_wait_seconds", "How long inputs waited for a model", waits)?;
    let (name, help) = ("batch_inputs", "Inputs of each forward pass");
    let mut family = to.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (model, kind, load) in loads {
        let last = load.sizes.len() - 1;
        let bound = |at: usize| if at == last { f64::MAX } else { f64::from(1u32 << at) };
        let buckets: Vec<(f64, u64)> = load.sizes.iter().enumerate().map(|(at, n)| (bound(at), *n)).collect();
        let labels = labels(model, kind);
        let mut metric = family.encode_family(&labels)?;
        metric.encode_histogram::<NoLabelSet>(load.inputs as f64, load.batches, &buckets, None)?;
    }
    Ok(())
}

/// What answerers write, those that do so token by token.
fn answers(to: &mut DescriptorEncoder<'_>, written: &[(String, Written)]) -> fmt::Result {
    let of = |value: fn(&Written) -> u64| -> Values<_, u64> {
        written.iter().map(|(model, written)| ([("model", model.clone())], value(written))).collect()
    };
    gauges(to, "answers_waiting", "Questions that wait for a place", &of(|w| w.waiting as u64))?;
    gauges(to, "answers_open", "Answers that are being written", &of(|w| w.open as u64))?;
    counters(to, "answers_begun", "Answers that were begun", &of(|w| w.begun))?;
    counters(to, "answers_dropped", "Answers whose caller left before their end", &of(|w| w.dropped))?;
    counters(to, "answers_refused", "Questions that found the line full", &of(|w| w.refused))?;
    counters(to, "answer_tokens", "Tokens that were written", &of(|w| w.tokens))?;
    let seconds: Values<_, f64> = written
        .iter()
        .map(|(model, written)| ([("model", model.clone())], written.busy.as_secs_f64()))
        .collect();
    counters(to, "answer_seconds", "Time spent in writing", &seconds)
}

fn collections(to: &mut DescriptorEncoder<'_>, all: &[(String, Activity)]) -> fmt::Result {
    let times = |value: fn(&Activity) -> &Timed| {
        all.iter().map(move |(name, activity)| ([("collection", name.clone())], value(activity)))
    };
    let counts = |value: fn(&Activity) -> u64| -> Values<_, u64> {
        all.iter().map(|(name, activity)| ([("collection", name.clone())], value(activity))).collect()
    };
    counters(to, "ingest_items", "Items written", &counts(|a| a.written))?;
    let help = "A batch of items, from encoding to being visible";
    histograms(to, "ingest_seconds", help, times(|a| &a.ingests))?;
    histograms(to, "search_seconds", "Filter and search of an index", times(|a| &a.searches))?;
    histograms(to, "rerank_seconds", "Reranking of a query's hits", times(|a| &a.reranks))?;
    counters(to, "rerank_looked", "Hits that a matcher looked at", &counts(|a| a.looked))?;
    let help = "Hits looked at whose picture was remembered from an earlier look";
    counters(to, "rerank_remembered", help, &counts(|a| a.remembered))?;
    let spaces = |value: fn(&crate::engine::SpaceState) -> u64| -> Values<_, u64> {
        let one = |(name, activity): &(String, Activity)| -> Values<[(&'static str, String); 2], u64> {
            let labels = |s: &crate::engine::SpaceState| {
                [("collection", name.clone()), ("modality", s.modality.to_string())]
            };
            activity.spaces.iter().map(|space| (labels(space), value(space))).collect()
        };
        all.iter().flat_map(one).collect()
    };
    gauges(to, "index_vectors", "Vectors that can be found", &spaces(|s| s.vectors as u64))?;
    let help = "Removed vectors that still take room";
    gauges(to, "index_tombstones", help, &spaces(|s| s.tombstones as u64))?;
    let help = "Vectors that every search scans, since no graph links them yet";
    gauges(to, "index_unlinked", help, &spaces(|s| s.unlinked as u64))?;
    let help = "Linked vectors that no search comes to: they cost recall; 0 unless something is wrong";
    gauges(to, "index_unreachable", help, &spaces(|s| s.unreachable as u64))?;
    let help =
        "Breadth of a search, calibrated for recall when the graph was built; 0 where every search scans";
    gauges(to, "index_ef", help, &spaces(|s| s.ef as u64))?;
    let help = "Share of the ten nearest that this breadth found when the graph was built; 0 where every search scans";
    let mut family = to.encode_descriptor("index_recall", help, None, MetricType::Gauge)?;
    for (name, activity) in all {
        for space in &activity.spaces {
            let labels = [("collection", name.clone()), ("modality", space.modality.to_string())];
            family.encode_family(&labels)?.encode_gauge(&space.recall)?;
        }
    }
    gauges(to, "index_bytes", "Memory of an index", &spaces(|s| s.bytes as u64))?;
    recalls(to, all)
}

/// What runs of ingestion do: a step whose `busy` grows by as many seconds a second as it has threads is what limits.
fn stages(to: &mut DescriptorEncoder<'_>, all: &[Metered]) -> fmt::Result {
    let labels = |one: &Metered| [("stage", one.stage.name().to_owned())];
    let of = |value: fn(&Metered) -> u64| -> Values<_, u64> {
        all.iter().map(|one| (labels(one), value(one))).collect()
    };
    let busy: Values<_, f64> = all.iter().map(|one| (labels(one), one.busy.as_secs_f64())).collect();
    counters(
        to,
        "ingest_stage_busy_seconds",
        "Time that a step's threads worked, in runs of ingestion",
        &busy,
    )?;
    gauges(to, "ingest_stage_threads", "Threads that a step has now", &of(|one| one.threads as u64))?;
    let help = "What waits for a step now: images, and batches of them before the last";
    gauges(to, "ingest_stage_waiting", help, &of(|one| one.waiting))
}

/// What scans told of real queries.
fn recalls(to: &mut DescriptorEncoder<'_>, all: &[(String, Activity)]) -> fmt::Result {
    let help = "Share of a query's ten nearest that the graph found, of the queries that a scan repeated";
    let mut family = to.encode_descriptor("search_recall", help, None, MetricType::Histogram)?;
    for (name, activity) in all {
        for space in &activity.spaces {
            let labels = [("collection", name.clone()), ("modality", space.modality.to_string())];
            let told = &space.recalled;
            // All lie below the last bound, which the encoder wants beside.
            let buckets = RECALLS.into_iter().zip(told.buckets).chain([(f64::MAX, 0)]);
            let buckets: Vec<(f64, u64)> = buckets.collect();
            let mut metric = family.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(told.sum, told.count, &buckets, None)?;
        }
    }
    Ok(())
}

fn histograms<'a, const N: usize>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = ([(&'static str, String); N], &'a Timed)>,
) -> fmt::Result {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (labels, value) in values {
        timed(&mut family.encode_family(&labels)?, value)?;
    }
    Ok(())
}

fn timed(metric: &mut prometheus_client::encoding::MetricEncoder<'_>, timed: &Timed) -> fmt::Result {
    // The encoder knows the last bound by this value.
    let bound = |bound: f64| if bound.is_finite() { bound } else { f64::MAX };
    let buckets: Vec<(f64, u64)> = BOUNDS.iter().zip(timed.buckets).map(|(b, n)| (bound(*b), n)).collect();
    metric.encode_histogram::<NoLabelSet>(timed.total.as_secs_f64(), timed.count, &buckets, None)
}

fn gauges<const N: usize>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: &[([(&'static str, String); N], u64)],
) -> fmt::Result {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        family.encode_family(labels)?.encode_gauge(&i64::try_from(*value).unwrap_or(i64::MAX))?;
    }
    Ok(())
}

fn counters<const N: usize, V: prometheus_client::encoding::EncodeCounterValue>(
    to: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: &[([(&'static str, String); N], V)],
) -> fmt::Result {
    let mut family = to.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(value, None)?;
    }
    Ok(())
}
