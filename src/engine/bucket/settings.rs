//! Where a store is and who asks it, from the environment, under the names that the stores' own tools read.

use super::google::Google;
use crate::error::{Error, Result};
use crate::types::uri::Scheme;
use opendal::Operator;
use opendal::services::{Azblob, Gcs, S3};

/// A bucket as the environment says that it is reached.
///
/// # Errors
/// [`Error::Invalid`] where the environment lacks something, which it names.
pub(super) fn operator(scheme: Scheme, name: &str) -> Result<Operator> {
    let store = match scheme {
        Scheme::S3 => Operator::new(s3(name)),
        Scheme::Gs => Operator::new(gcs(name)),
        Scheme::Az => Operator::new(azure(name)?),
    };
    store.map_err(|e| Error::invalid(format!("{scheme}://{name}: {}", e.message()), hint(scheme)))
}

fn s3(bucket: &str) -> S3 {
    // Region, keys, profiles, roles and AWS_ENDPOINT_URL are read from the environment by the library; what it lacks follows.
    let mut builder = S3::default().bucket(bucket);
    if let Some(endpoint) = env(&["AWS_ENDPOINT_URL_S3"]) {
        builder = builder.endpoint(&endpoint);
    }
    if env(&["AWS_REGION", "AWS_DEFAULT_REGION"]).is_none() {
        builder = builder.region("us-east-1");
    }
    if is_set("AWS_NO_SIGN_REQUEST") {
        builder = builder.skip_signature();
    }
    builder
}

fn gcs(bucket: &str) -> Gcs {
    let builder = Gcs::default().bucket(bucket);
    match env(&["STORAGE_EMULATOR_HOST"]) {
        // As Google's own clients do, a host alone is taken too, and no credentials are sent there.
        Some(host) if !host.contains("://") => builder.endpoint(&format!("http://{host}")).skip_signature(),
        Some(endpoint) => builder.endpoint(endpoint.trim_end_matches('/')).skip_signature(),
        None if is_set("CLOUDSDK_AUTH_DISABLE_CREDENTIALS") => builder.skip_signature(),
        None => builder.credential_provider(Google::default()),
    }
}

fn azure(container: &str) -> Result<Azblob> {
    if let Some(connection) = env(&["AZURE_STORAGE_CONNECTION_STRING"]) {
        // What the library says of it may hold the key.
        let form =
            "expected AccountName=...;AccountKey=...;EndpointSuffix=core.windows.net, as the portal shows it";
        let wrong = |_| Error::invalid("AZURE_STORAGE_CONNECTION_STRING is none", form);
        return Ok(Azblob::from_connection_string(&connection).map_err(wrong)?.container(container));
    }
    let mut builder = Azblob::default().container(container);
    let account = env(&["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"]);
    let endpoint = env(&["AZURE_STORAGE_ENDPOINT", "AZURE_STORAGE_SERVICE_ENDPOINT"]);
    match (endpoint, &account) {
        (Some(endpoint), _) => builder = builder.endpoint(&endpoint),
        (None, Some(account)) => {
            builder = builder.endpoint(&format!("https://{account}.blob.core.windows.net"))
        }
        (None, None) => {
            return Err(Error::invalid(format!("az://{container}: no storage account"), hint(Scheme::Az)));
        }
    }
    if let Some(account) = account {
        builder = builder.account_name(&account);
    }
    if let Some(key) = env(&["AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"]) {
        builder = builder.account_key(&key);
    }
    if let Some(token) = env(&["AZURE_STORAGE_SAS_TOKEN"]) {
        // The portal shows it with the question mark of the URL that it goes into.
        builder = builder.sas_token(token.trim_start_matches('?'));
    }
    if is_set("AZURE_SKIP_SIGNATURE") {
        builder = builder.skip_signature();
    }
    Ok(builder)
}

/// Whether a switch is on.
fn is_set(name: &str) -> bool {
    env(&[name]).is_some_and(|value| !["0", "false", "no"].contains(&value.to_lowercase().as_str()))
}

fn env(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// What says where a store is.
pub(super) fn address(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::S3 => "AWS_ENDPOINT_URL and AWS_REGION",
        Scheme::Gs => "STORAGE_EMULATOR_HOST, which is for stores that are not Google's",
        Scheme::Az => "AZURE_STORAGE_ACCOUNT, AZURE_STORAGE_ENDPOINT, or the connection string",
    }
}

/// What to set for a store to be reached.
pub(super) fn hint(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::S3 => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or a profile, or AWS_NO_SIGN_REQUEST=1 for a public bucket), \
             AWS_REGION, and AWS_ENDPOINT_URL for a store that is not Amazon's"
        }
        Scheme::Gs => {
            "set GOOGLE_APPLICATION_CREDENTIALS to a service account's file (or CLOUDSDK_AUTH_DISABLE_CREDENTIALS=1 for a public bucket)"
        }
        Scheme::Az => {
            "set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or AZURE_STORAGE_CONNECTION_STRING (or \
             AZURE_SKIP_SIGNATURE=1 for a public container)"
        }
    }
}
