//! Bars on standard error, drawn only where it is a terminal.

use crate::ingest::{Event, Reporter};
use crate::models::Progress;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::sync::Mutex;
use std::time::Duration;

/// Ingestion's bar: done of found, rate, time left.
pub(super) struct Work(ProgressBar);

impl Default for Work {
    fn default() -> Self {
        let bar = ProgressBar::new(0);
        bar.set_style(style("{wide_bar} {pos}/{len} images, {rate}/s, {eta} left"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Work(bar)
    }
}

impl Reporter for Work {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Listed { images, .. } => self.0.set_length(images),
            Event::Indexed(images) => self.0.inc(images),
            Event::Unchanged(_) | Event::Refused(_) | Event::Due(_) => self.0.inc(1),
            Event::Removed(_) | Event::Gone(_) => {}
        }
    }
}

impl Work {
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// A bar of a known number of steps.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub fn new(what: &'static str, steps: usize) -> Self {
        let bar = ProgressBar::new(steps as u64);
        bar.set_style(style("{wide_bar} {pos}/{len} {msg}, {rate}/s, {eta} left"));
        bar.set_message(what);
        Bar(bar)
    }

    pub fn step(&self) {
        self.0.inc(1);
    }

    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// Downloads' bar: one file after another.
#[derive(Default)]
pub(super) struct Downloads(Mutex<Option<ProgressBar>>);

impl Progress for Downloads {
    fn start(&self, file: &str, total: Option<u64>) {
        let bar = ProgressBar::new(total.unwrap_or(0));
        bar.set_style(style("{msg} {wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left"));
        bar.set_message(file.to_owned());
        *self.bar() = Some(bar);
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = self.bar().as_ref() {
            bar.inc(bytes);
        }
    }

    fn finish(&self) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
        }
    }
}

impl Downloads {
    fn bar(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        _ = write!(out, "{:.0}", state.per_sec())
    })
}
