//! Reads of the platform: one consistent view each.

use super::Platform;
use super::error::PlatformError;
use crate::store::Tx;

impl Platform {
    /// Runs what only reads.
    pub(super) async fn look<T>(
        &self,
        work: impl AsyncFn(&mut Tx) -> Result<T, PlatformError>,
    ) -> Result<T, PlatformError> {
        let mut tx = self.store.read().await?;
        work(&mut tx).await
    }
}
