//! Connections: plain or TLS, HTTP/1.1 or HTTP/2, bounded in number and in patience.

use super::app::stopped;
use super::settings::{Settings, Tls};
use crate::error::{Error, Result};
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;

/// How HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The most headers that a request may bring, in bytes.
const HEADER_BYTES: u32 = 16 << 10;
/// How long to wait after the system would not give a connection: it has run out of something.
const BREATHER: Duration = Duration::from_millis(100);

/// How connections are taken.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// The most of them at once; others wait to be taken.
    pub connections: usize,
    /// The most requests on one HTTP/2 connection at once.
    pub streams: u32,
    /// How long a client may take to begin (a handshake, a request's first bytes and its headers), and to take what it is sent.
    pub patience: Duration,
}

impl From<&Settings> for Bounds {
    fn from(settings: &Settings) -> Self {
        // More than there are places, so that who is one too many is told when to come back, by a status.
        let streams = u32::try_from(settings.concurrency.saturating_mul(4)).unwrap_or(u32::MAX).max(256);
        let connections = settings.concurrency.saturating_mul(4).clamp(64, 1 << 16);
        Bounds { connections, streams, patience: settings.patience }
    }
}

/// Takes connections until the server stops, and returns when those that are left have ended.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    bounds: Bounds,
    stopping: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let graceful = GracefulShutdown::new();
    let stop = stopped(stopping.clone());
    tokio::pin!(stop);
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = next => accepted,
            () = &mut stop => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(BREATHER).await;
            continue;
        };
        _ = stream.set_nodelay(true);
        let (tls, router, watcher) = (tls.clone(), router.clone(), graceful.watcher());
        let stop = stopped(stopping.clone());
        tokio::spawn(async move {
            let _place = place;
            // Who takes too long to begin, or speaks something else, is hung up on: there is nobody to tell.
            let begun = tokio::select! {
                begun = tokio::time::timeout(bounds.patience, begin(stream, tls)) => begun.ok().flatten(),
                () = stop => None,
            };
            match begun {
                Some(Begun::Plain(stream, is_h2)) => talk(stream, is_h2, router, watcher, bounds).await,
                Some(Begun::Tls(stream, is_h2)) => talk(*stream, is_h2, router, watcher, bounds).await,
                None => {}
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// A connection that speaks, and whether HTTP/2.
enum Begun {
    Plain(TcpStream, bool),
    Tls(Box<TlsStream<TcpStream>>, bool),
}

async fn begin(stream: TcpStream, tls: Option<TlsAcceptor>) -> Option<Begun> {
    match tls {
        Some(tls) => {
            let stream = tls.accept(stream).await.ok()?;
            let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            Some(Begun::Tls(Box::new(stream), is_h2))
        }
        None => {
            let is_h2 = begins_h2(&stream).await?;
            Some(Begun::Plain(stream, is_h2))
        }
    }
}

/// Whether the first bytes are those of HTTP/2; None where the client has gone.
async fn begins_h2(stream: &TcpStream) -> Option<bool> {
    let mut first = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut first).await.ok().filter(|count| *count > 0)?;
        match first.get(..count) {
            Some(bytes) if PREFACE.starts_with(bytes) && count < PREFACE.len() => {
                // Peeking returns what is there at once, so that it cannot be waited on for more.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Some(bytes) => return Some(bytes == PREFACE),
            None => return None,
        }
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    is_h2: bool,
    router: Router,
    watcher: Watcher,
    bounds: Bounds,
) {
    let Bounds { streams, patience, .. } = bounds;
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(64 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_header_list_size(HEADER_BYTES)
        // Half-open connections are found and closed.
        .keep_alive_interval(patience)
        .keep_alive_timeout(patience);
    let builder = if is_h2 { builder.http2_only() } else { builder.http1_only() };
    // Who does not take what it asked for holds it no longer than this.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(patience));
    let talk = builder
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(router))
        .into_owned();
    // It ends badly where the client breaks off: nothing to do about it.
    _ = watcher.watch(talk).await;
}

/// What makes a plain connection a TLS one.
pub fn acceptor(tls: &Tls) -> Result<TlsAcceptor> {
    let unreadable = |path: &std::path::Path, why: String| {
        Error::invalid(format!("{}: {why}", path.display()), "give PEM files")
    };
    let certificates = |path: &std::path::Path| -> Result<Vec<CertificateDer<'static>>> {
        let pem = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        match all.map_err(|e| unreadable(path, e.to_string()))? {
            none if none.is_empty() => Err(unreadable(path, "there is no certificate in it".into())),
            all => Ok(all),
        }
    };
    let pem = std::fs::read(&tls.key).map_err(|e| Error::io(&tls.key, e))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|e| unreadable(&tls.key, e.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone());
    let config = config.with_safe_default_protocol_versions();
    let config = config.map_err(|e| Error::invalid(e.to_string(), "report it"))?;
    let config = match &tls.client_ca {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|e| unreadable(path, e.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            config.with_client_cert_verifier(verifier.map_err(|e| unreadable(path, e.to_string()))?)
        }
        None => config.with_no_client_auth(),
    };
    let config = config.with_single_cert(certificates(&tls.cert)?, key);
    let mut config = config.map_err(|e| unreadable(&tls.cert, e.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
