//! Signing in to Google once an hour. The library by itself asks for a token with each request that a service account makes.

use reqsign_core::{Context, ProvideCredential, Result};
use reqsign_google::{Credential, DefaultCredentialProvider, ServiceAccountTokenCredentialProvider};

/// What is asked for: nothing is ever written.
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_only";

/// Whoever Google's own tools would be, with a token, which the library keeps for as long as it holds.
#[derive(Debug, Default)]
pub(super) struct Google(DefaultCredentialProvider);

impl ProvideCredential for Google {
    type Credential = Credential;

    async fn provide_credential(&self, context: &Context) -> Result<Option<Credential>> {
        match self.0.provide_credential(context).await? {
            Some(Credential { service_account: Some(account), .. }) => {
                ServiceAccountTokenCredentialProvider::new(account)
                    .with_scope(SCOPE)
                    .provide_credential(context)
                    .await
            }
            others => Ok(others),
        }
    }
}
