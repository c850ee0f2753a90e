//! `eyeshot eval ann`: recall and speed of the index.

use crate::cli::args::Shared;
use crate::cli::{Outcome, output};
use crate::error::{Error, Result};
use crate::eval::ann::{self, Settings};
use crate::eval::live::{self, Report};
use crate::types::Codes;
use clap::Args;
use std::path::PathBuf;

/// Recall and speed of the index, against scanning everything
///
/// Of a collection, asked with its own captions; it recommends an --ef for search:
///
///   eyeshot eval ann --collection default
///
/// Or of any arrays of unit vectors (.npy, f32, n x d):
///
///   eyeshot eval ann --base base.npy --queries queries.npy --ef 16,32,64
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Ann {
    /// The collection to measure
    #[arg(short, long, value_name = "NAME", env = "EYESHOT_COLLECTION", default_value = "default")]
    collection: String,
    /// Vectors to index instead of a collection's
    #[arg(long, value_name = "B.npy", requires = "queries")]
    base: Option<PathBuf>,
    /// Vectors to ask for
    #[arg(long, value_name = "Q.npy", requires = "base")]
    queries: Option<PathBuf>,
    /// Vectors like the queries, which guide the graph
    #[arg(long, value_name = "S.npy", requires = "base")]
    sample_queries: Option<PathBuf>,
    /// Which vectors may answer: bool, one row for all queries, or one for each
    #[arg(long, value_name = "A.npy", requires = "base")]
    allow: Option<PathBuf>,
    /// How vectors are kept in memory (with --base): int8, int4
    #[arg(long, value_name = "CODES", env = "EYESHOT_CODES", default_value_t)]
    codes: Codes,
    /// How many neighbours
    #[arg(short, value_name = "K", long, env = "EYESHOT_K", default_value_t = 10)]
    k: usize,
    /// Breadths to try (default: some around what the index chose)
    #[arg(long, value_name = "N,N,...", env = "EYESHOT_EF", value_delimiter = ',')]
    ef: Vec<usize>,
    /// Threads that search at the same time (with --base)
    #[arg(long, value_name = "N", env = "EYESHOT_THREADS", default_value_t = 1)]
    threads: usize,
}

impl Ann {
    pub fn run(&self, shared: &Shared) -> Result<Outcome> {
        if self.k == 0 || self.ef.contains(&0) || self.threads == 0 {
            return Err(Error::invalid("0 for --k, --ef or --threads", "each is at least 1"));
        }
        match (&self.base, &self.queries) {
            (Some(base), Some(queries)) => {
                let settings = Settings {
                    base: base.clone(),
                    queries: queries.clone(),
                    sample_queries: self.sample_queries.clone(),
                    allow: self.allow.clone(),
                    k: self.k,
                    ef: self.ef.clone(),
                    threads: self.threads,
                    codes: self.codes,
                };
                ann::run(&settings, shared.json, &mut std::io::stdout().lock())?;
            }
            _ => {
                let collection = shared.engine()?.collection(&self.collection)?;
                print(&live::run(&collection, self.k, &self.ef)?, shared.json)?;
            }
        }
        Ok(Outcome::Done)
    }
}

fn print(report: &Report, json: bool) -> Result<()> {
    for row in &report.rows {
        match json {
            true => output::json(row)?,
            false => output::text(format!(
                "ef {:<5} recall@{} {:.4}   {:>8.0} queries/s   p50 {:.0} us   p99 {:.0} us",
                row.ef, report.k, row.recall, row.qps, row.p50_us, row.p99_us
            ))?,
        }
    }
    if json {
        return output::json(report);
    }
    let scan = format!("a scan: {:.0} queries/s", report.exact_qps);
    if report.default_ef.is_some() && !report.unseen {
        output::text("asked are captions that may have guided the graph: new texts may fare worse")?;
    }
    let Some(default) = report.default_ef else {
        return output::text(format!("so few vectors that every search scans them; {scan}"));
    };
    output::text(match report.recommended_ef {
        Some(ef) => format!("--ef {ef} finds 99 of 100; the default is {default}; {scan}"),
        None => format!("none of these finds 99 of 100: try a larger --ef; the default is {default}; {scan}"),
    })
}
