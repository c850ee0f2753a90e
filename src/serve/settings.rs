//! How a server is set: checked once, here.

use super::auth::Keys;
use crate::engine::fetch::Reach;
use crate::error::{Error, Result};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The settings of a server. The default is safe: only this machine reaches it, and it reaches nothing.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where gRPC listens; port 0 takes a free one.
    pub grpc: SocketAddr,
    /// Where HTTP listens; None for nowhere.
    pub http: Option<SocketAddr>,
    /// Who may call; none for all who can reach it.
    pub keys: Keys,
    /// Whether others than this machine may call without a key.
    pub insecure: bool,
    /// TLS; None for plain text.
    pub tls: Option<Tls>,
    /// The longest message that is taken, in bytes.
    pub message_bytes: usize,
    /// How many requests are worked on at once; at least 1.
    pub concurrency: usize,
    /// How far `http(s)` URLs of requests may reach; None for not at all.
    pub urls: Option<Reach>,
    /// Folders whose files requests may name, beside those that were indexed.
    pub roots: Vec<PathBuf>,
    /// The model of new collections; None for the engine's default.
    pub model: Option<String>,
    /// How long requests in flight may take to finish when the server stops.
    pub grace: Duration,
    /// How long a JSON request may take.
    pub timeout: Duration,
    /// How long a client may dawdle: with its headers, between two pieces of a body, or in taking what it is sent.
    pub patience: Duration,
    /// Which origins' pages may call over HTTP (CORS): `https://photos.example`, or `*` for all; none for this server's own.
    pub cors: Vec<String>,
    /// How many bytes of thumbnails are remembered.
    pub thumbnail_bytes: u64,
    /// Whether the bytes of pictures that came as bytes are kept, so that they can be shown.
    pub keep_uploads: bool,
    /// Whether each request is a JSON line on standard error.
    pub log: bool,
    /// Where OTLP takes traces: the URL as [`super::traces_to`] gives it; None for nowhere.
    pub traces: Option<String>,
    /// What share of the queries that graphs answer is repeated by a scan, to know their recall: 0 to 1.
    pub recall_sample: f64,
    /// How often health tries the models.
    pub probe: Duration,
}

/// The files of TLS, in PEM.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The server's certificate and what leads to its root.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who must have signed clients' certificates; None to ask for none.
    pub client_ca: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            grpc: (Ipv4Addr::LOCALHOST, 50051).into(),
            http: Some((Ipv4Addr::LOCALHOST, 8080).into()),
            keys: Keys::default(),
            insecure: false,
            tls: None,
            message_bytes: 64 << 20,
            concurrency: 256,
            urls: None,
            roots: vec![],
            model: None,
            grace: Duration::from_secs(20),
            timeout: Duration::from_secs(60),
            patience: Duration::from_secs(30),
            cors: vec![],
            thumbnail_bytes: 128 << 20,
            keep_uploads: true,
            log: false,
            traces: None,
            recall_sample: 0.01,
            probe: Duration::from_secs(10),
        }
    }
}

impl Settings {
    /// That they can be met, and that they are safe or were said to be meant.
    pub fn check(&self) -> Result<()> {
        if self.concurrency == 0 || self.message_bytes == 0 || self.patience.is_zero() {
            return Err(Error::invalid("a limit of 0", "it is at least 1"));
        }
        if !(0.0..=1.0).contains(&self.recall_sample) {
            return Err(Error::invalid(
                "recall-sample is no share",
                "give 0 for none, 1 for all, or between",
            ));
        }
        let proven = !self.keys.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        self.check_origins(proven)?;
        let open = [Some(self.grpc), self.http].into_iter().flatten().find(|a| !a.ip().is_loopback());
        match open {
            Some(address) if !proven && !self.insecure => Err(Error::invalid(
                format!("{address} lets other machines in, and no key is asked of them"),
                "give --api-key (or --tls-client-ca), listen on 127.0.0.1, or say --insecure",
            )),
            _ => Ok(()),
        }
    }

    /// Origins as browsers write them; all of them only where callers prove who they are, since any page could ask.
    fn check_origins(&self, proven: bool) -> Result<()> {
        let plain = |origin: &str| {
            let name = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            name.is_some_and(|name| !name.is_empty() && !name.contains(['/', '*', ' ', '?', '#', '@']))
        };
        if let Some(wrong) = self.cors.iter().find(|origin| *origin != "*" && !plain(origin)) {
            let what = format!("{wrong:?} is no origin");
            return Err(Error::invalid(what, "give scheme and host, without a path: https://photos.example"));
        }
        match self.cors.iter().any(|origin| origin == "*") && !proven && !self.insecure {
            true => Err(Error::invalid(
                "every page of the web may call, and no key is asked of them",
                "name the origins, give --api-key, or say --insecure",
            )),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Access;
    use super::*;

    #[test]
    fn other_machines_need_a_key() {
        let mut settings = Settings { grpc: "0.0.0.0:0".parse().unwrap(), ..Settings::default() };
        assert!(Settings::default().check().is_ok());
        assert!(settings.check().unwrap_err().to_string().contains("--insecure"));
        settings.insecure = true;
        assert!(settings.check().is_ok());
        settings.insecure = false;
        settings.keys.add("a-good-key", Access::Read).unwrap();
        assert!(settings.check().is_ok());
        let cors = |origin: &str| Settings { cors: vec![origin.into()], ..Settings::default() };
        for origin in ["http://localhost:3000", "https://photos.example"] {
            assert!(cors(origin).check().is_ok(), "{origin}");
        }
        for wrong in ["photos.example", "https://photos.example/", "https://*.example", "null", "", "*"] {
            assert!(cors(wrong).check().is_err(), "{wrong}");
        }
        let all = Settings { keys: settings.keys.clone(), ..cors("*") };
        assert!(all.check().is_ok(), "who calls has a key");
        let http = Some("0.0.0.0:0".parse().unwrap());
        let settings = Settings { http, ..Settings::default() };
        assert!(settings.check().unwrap_err().to_string().contains("--insecure"));
    }
}
