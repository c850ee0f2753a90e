//! The bytes of a picture behind an `http(s)` URL, bounded in length and time.

use super::decode::Limits;
use crate::error::{Error, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use ureq::config::{Config, ConfigBuilder};
use ureq::http::Uri;
use ureq::typestate::AgentScope;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// How long a picture may take to come.
const PATIENCE: Duration = Duration::from_secs(30);
pub(super) const AGENT: &str = concat!("eyeshot/", env!("CARGO_PKG_VERSION"));

/// Whether `text` is a URL that [`url`] can fetch.
pub fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Which hosts a URL may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any, this machine and its neighbours too.
    Anywhere,
    /// Those of the public internet. Each name, of redirects too, is resolved once and its addresses are checked before they are
    /// connected to, so that neither a redirect nor a changing name leads inside. Proxies are not used: they would resolve.
    Public,
}

/// Fetches what `address` names, up to [`Limits::bytes`]. Redirects are followed, to any host: whoever lets others name the
/// address must ask [`url_within`] instead.
pub fn url(address: &str) -> Result<Vec<u8>> {
    url_within(address, Reach::Anywhere)
}

/// Fetches what `address` names, up to [`Limits::bytes`], as far as `reach` goes.
pub fn url_within(address: &str, reach: Reach) -> Result<Vec<u8>> {
    let failed = |reason: String| Error::Fetch { url: address.to_owned(), reason };
    let mut response = agent(reach).get(address).call().map_err(|e| failed(e.to_string()))?;
    let body = response.body_mut().with_config().limit(Limits::default().bytes);
    body.read_to_vec().map_err(|e| failed(e.to_string()))
}

fn agent(reach: Reach) -> ureq::Agent {
    let config =
        ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).max_redirects(5).user_agent(AGENT);
    reaching(config, reach)
}

/// An agent that goes as far as `reach` does.
pub(super) fn reaching(config: ConfigBuilder<AgentScope>, reach: Reach) -> ureq::Agent {
    match reach {
        Reach::Anywhere => config.build().new_agent(),
        Reach::Public => {
            let config = config.proxy(None).build();
            ureq::Agent::with_parts(config, DefaultConnector::default(), PublicOnly::default())
        }
    }
}

/// Resolves names as usual, and gives no address that is not public.
#[derive(Debug, Default)]
struct PublicOnly(DefaultResolver);

impl Resolver for PublicOnly {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.0.resolve(uri, config, timeout)?;
        if found.iter().all(|address| is_public(address.ip())) {
            return Ok(found);
        }
        let why = "it leads to an address that is not public, which this server does not fetch from";
        Err(ureq::Error::Other(why.into()))
    }
}

/// Whether an address is one of the public internet (IANA's special-purpose registries).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || matches!(
            (a, b, c),
            (0 | 224.., _, _) | (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99) | (198, 18 | 19, _)
        );
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, .., g, h] = address.segments();
    let embedded = |high: u16, low: u16| {
        let [w, x] = high.to_be_bytes();
        let [y, z] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(w, x, y, z))
    };
    match (a, b) {
        // 6to4 and NAT64 carry an IPv4 address that is where they lead.
        (0x2002, high) => embedded(high, address.segments()[2]),
        (0x64, 0xff9b) => embedded(g, h),
        // Teredo, documentation, benchmarking, ORCHID.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        // 2000::/3 is all that is given to the public so far; the rest, mapped IPv4 too, is not.
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn inner_addresses_are_told_from_public_ones() {
        let check = |text: &str, wanted| assert_eq!(is_public(text.parse().unwrap()), wanted, "{text}");
        for inner in [
            "127.0.0.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
        ] {
            check(inner, false);
        }
        for public in ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2002:808:808::"]
        {
            check(public, true);
        }
    }
}
