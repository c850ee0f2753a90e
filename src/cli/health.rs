//! `eyeshot health`: whether a server answers, for those who keep it running.

use super::args::Shared;
use super::{Outcome, output};
use crate::error::{Error, Result};
use clap::Args;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Ask a running server whether its models answer
///
/// Prints what the server says; the exit code is 1 where it does not answer, or its models do not.
#[derive(Args)]
pub(super) struct Health {
    /// Where its web page listens
    #[arg(long, value_name = "ADDR", env = "EYESHOT_HTTP", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Its whole address instead, such as https://pictures.example.org
    #[arg(long, value_name = "URL", env = "EYESHOT_URL")]
    url: Option<String>,
    /// How long it may take, in seconds
    #[arg(long, value_name = "S", env = "EYESHOT_HEALTH_TIMEOUT", default_value_t = 8)]
    timeout: u64,
}

impl Health {
    pub fn run(&self, _shared: &Shared) -> Result<Outcome> {
        let base = self.url.clone().unwrap_or_else(|| format!("http://{}", reachable(self.http)));
        let address = format!("{}/health", base.trim_end_matches('/'));
        let failed = |reason: String| Error::Fetch { url: address.clone(), reason };
        let patience = Some(Duration::from_secs(self.timeout));
        let config = ureq::Agent::config_builder().timeout_global(patience).http_status_as_error(false);
        let agent: ureq::Agent = config.build().into();
        let mut response = agent.get(&address).call().map_err(|e| failed(e.to_string()))?;
        let said = response.body_mut().read_to_string().map_err(|e| failed(e.to_string()))?;
        match response.status().is_success() {
            true => output::text(said).map(|()| Outcome::Done),
            false => Err(failed(said)),
        }
    }
}

/// A server that listens on all addresses is asked on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let own: IpAddr = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(own, address.port())
}
