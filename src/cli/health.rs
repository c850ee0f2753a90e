//! `eyeshot health`: whether a server answers, for those who keep it running.

use super::args::Shared;
use super::{Outcome, output};
use crate::error::{Error, Result};
use clap::Args;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use ureq::tls::{Certificate, ClientCert, PrivateKey, TlsConfig};

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
    /// As `serve` has it: there the server speaks TLS. Whose certificate it shows is not looked at, since nothing secret is sent;
    /// of --url it is
    #[arg(long, value_name = "F", env = "EYESHOT_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// A certificate to show to a server that asks for one, in PEM
    #[arg(long, value_name = "F", env = "EYESHOT_CLIENT_CERT", requires = "client_key")]
    client_cert: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, value_name = "F", env = "EYESHOT_CLIENT_KEY", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// How long it may take, in seconds
    #[arg(long, value_name = "S", env = "EYESHOT_HEALTH_TIMEOUT", default_value_t = 8)]
    timeout: u64,
}

impl Health {
    pub fn run(&self, _shared: &Shared) -> Result<Outcome> {
        let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
        let base = self.url.clone().unwrap_or_else(|| format!("{scheme}://{}", reachable(self.http)));
        let address = format!("{}/health", base.trim_end_matches('/'));
        let failed = |reason: String| Error::Fetch { url: address.clone(), reason };
        let patience = Some(Duration::from_secs(self.timeout));
        let tls = TlsConfig::builder().client_cert(self.shown()?).disable_verification(self.url.is_none());
        let config = ureq::Agent::config_builder().tls_config(tls.build());
        let config = config.timeout_global(patience).http_status_as_error(false);
        let agent: ureq::Agent = config.build().into();
        let mut response = agent.get(&address).call().map_err(|e| failed(e.to_string()))?;
        let said = response.body_mut().read_to_string().map_err(|e| failed(e.to_string()))?;
        match response.status().is_success() {
            true => output::text(said).map(|()| Outcome::Done),
            false => Err(failed(said)),
        }
    }
}

impl Health {
    /// What is shown to a server that asks who calls.
    fn shown(&self) -> Result<Option<ClientCert>> {
        let Some((cert, key)) = self.client_cert.as_ref().zip(self.client_key.as_ref()) else {
            return Ok(None);
        };
        let read = |path: &PathBuf| std::fs::read(path).map_err(|e| Error::io(path, e));
        let wrong = |path: &PathBuf| Error::invalid(path.display().to_string(), "give PEM files");
        let certificate = Certificate::from_pem(&read(cert)?).map_err(|_| wrong(cert))?;
        let private = PrivateKey::from_pem(&read(key)?).map_err(|_| wrong(key))?;
        Ok(Some(ClientCert::new_with_certs(&[certificate], private)))
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
