//! TLS and mutual TLS, with certificates made on the spot: gRPC and HTTP alike.

use crate::common;
use crate::served::{Process, indexed};
use eyeshot::serve::proto::v1 as pb;
use pb::search_client::SearchClient;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use std::path::Path;
use std::sync::Arc;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use ureq::tls::{self, ClientCert, PemItem, RootCerts, TlsConfig};

/// An authority, and what it signed, in PEM.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
struct Signed {
    cert: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    fn sign(&self) -> Signed {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Signed { cert, key: key.serialize_pem() }
    }
}

fn write(home: &Path, name: &str, text: &str) -> String {
    let path = home.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Whether gRPC answers one who trusts `authority` and shows `own`.
async fn grpc_answers(process: &Process, authority: &Authority, own: Option<&Signed>) -> bool {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.pem));
    let tls = match own {
        Some(own) => tls.identity(Identity::from_pem(&own.cert, &own.key)),
        None => tls,
    };
    let address = Channel::from_shared(format!("https://{}", process.grpc)).unwrap();
    let Ok(channel) = address.tls_config(tls).unwrap().connect().await else { return false };
    let kind = Some(pb::term::Kind::Text("a cat".into()));
    let terms = vec![pb::Term { kind, weight: None }];
    let asked = pb::QueryRequest { terms, ..Default::default() };
    SearchClient::new(channel).query(asked).await.is_ok_and(|answer| answer.into_inner().hits.len() == 3)
}

/// The same of HTTP.
fn http_answers(process: &Process, authority: &Authority, own: Option<&Signed>) -> bool {
    let certificate = |pem: &str| tls::Certificate::from_pem(pem.as_bytes()).unwrap();
    let roots = RootCerts::Specific(Arc::new(vec![certificate(&authority.pem)]));
    let own = own.map(|own| {
        let Some(Ok(PemItem::PrivateKey(key))) = tls::parse_pem(own.key.as_bytes()).next() else { panic!() };
        ClientCert::new_with_certs(&[certificate(&own.cert)], key)
    });
    let config = TlsConfig::builder().root_certs(roots).client_cert(own).build();
    let agent = ureq::Agent::config_builder().tls_config(config).build().new_agent();
    let url = format!("https://{}/v1/collections/default/search?q=a+cat", process.http);
    let Ok(mut answer) = agent.get(url).call() else { return false };
    answer.body_mut().read_to_string().unwrap().contains("two.jpg")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_who_can_prove_themselves_are_served() {
    let home = tempfile::tempdir().unwrap();
    indexed(home.path());
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = ours.sign();
    let cert = write(home.path(), "cert.pem", &server.cert);
    let key = write(home.path(), "key.pem", &server.key);
    let ca = write(home.path(), "ca.pem", &ours.pem);
    let (friend, stranger) = (ours.sign(), theirs.sign());
    let check = async |process: &Process, authority, own, wanted: bool, what: &str| {
        assert_eq!(grpc_answers(process, authority, own).await, wanted, "gRPC: {what}");
        assert_eq!(http_answers(process, authority, own), wanted, "HTTP: {what}");
    };
    {
        let process = Process::start(home.path(), &["--tls-cert", &cert, "--tls-key", &key]);
        check(&process, &ours, None, true, "the right authority").await;
        check(&process, &theirs, None, false, "another authority").await;
        let plain = ureq::get(format!("http://{}/health", process.http)).call();
        assert!(plain.is_err(), "plain text is not answered");
        assert!(healthy(home.path(), &process, &["--tls-cert", &cert]));
        assert!(!healthy(home.path(), &process, &[]), "it does not say that it speaks TLS");
    }
    let flags = ["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca];
    let process = Process::start(home.path(), &flags);
    check(&process, &ours, Some(&friend), true, "a client's certificate of the right authority").await;
    check(&process, &ours, Some(&stranger), false, "one of another authority").await;
    check(&process, &ours, None, false, "none").await;
    check(&process, &ours, Some(&friend), true, "and still the right one").await;
    let own = write(home.path(), "own.pem", &friend.cert);
    let own_key = write(home.path(), "own-key.pem", &friend.key);
    assert!(healthy(
        home.path(),
        &process,
        &["--tls-cert", &cert, "--client-cert", &own, "--client-key", &own_key]
    ));
    assert!(!healthy(home.path(), &process, &["--tls-cert", &cert]), "it does not say who it is");
}

/// What `eyeshot health` makes of it.
fn healthy(home: &Path, process: &Process, flags: &[&str]) -> bool {
    let usual = ["health", "--http", &process.http];
    common::run(home, usual.iter().chain(flags)).code == 0
}

#[test]
fn files_that_will_not_do_are_named() {
    let home = tempfile::tempdir().unwrap();
    let made = Authority::new("ours").sign();
    let cert = write(home.path(), "cert.pem", &made.cert);
    let key = write(home.path(), "key.pem", &made.key);
    let other = write(home.path(), "other.pem", &Authority::new("x").sign().key);
    let cases: [(&[&str], &str); 5] = [
        (&["--tls-cert", &cert], "--tls-key"),
        (&["--tls-cert", "absent.pem", "--tls-key", &key], "absent.pem"),
        (&["--tls-cert", &key, "--tls-key", &key], "no certificate"),
        (&["--tls-cert", &cert, "--tls-key", &cert], "cert.pem"),
        (&["--tls-cert", &cert, "--tls-key", &other], "cert.pem"),
    ];
    for (flags, part) in cases {
        let usual = ["serve", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"];
        let ran = common::run(home.path(), usual.iter().chain(flags));
        assert!(ran.code != 0 && ran.err.contains(part), "{flags:?}: {}", ran.err);
    }
}
