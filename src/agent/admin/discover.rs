//! What is asked of the local Mirth before a partner may work on it: its version, and the list of what it
//! serves. Both need no login.

use super::origin::{Origin, OriginError};
use adit_core::config::MirthUrl;
use adit_core::domain::limits;
use adit_mirth::version::MirthVersion;
use adit_mirth::wadl::{self, ListedOperation};

const VERSION: &str = "/api/server/version";
const WADL: &str = "/api/application.wadl";

/// A Mirth as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirthInfo {
    pub version: MirthVersion,
    /// What it serves and our tables do not have.
    pub unknown: Vec<ListedOperation>,
}

/// Asks for the version and the list, over a connection that lives on: as long as it does, Mirth has not
/// been away and has no other plug-ins.
pub(super) async fn discover(url: &MirthUrl, origin: &mut Origin) -> Result<MirthInfo, OriginError> {
    let text = origin.ask(url, VERSION, limits::MIRTH_VERSION_BYTES_MAX).await?;
    let meaning = |why: String| OriginError::Meaning { what: VERSION, why };
    let text = String::from_utf8(text).map_err(|_| meaning("it is not UTF-8".into()))?;
    let version: MirthVersion =
        text.trim().parse().map_err(|error: adit_mirth::version::BadVersion| meaning(error.to_string()))?;
    let document = origin.ask(url, WADL, limits::MIRTH_WADL_BYTES_MAX).await?;
    let meaning = |why: String| OriginError::Meaning { what: WADL, why };
    let document = String::from_utf8(document).map_err(|_| meaning("it is not UTF-8".into()))?;
    let listed = wadl::read(&document).map_err(|error| meaning(error.to_string()))?;
    Ok(MirthInfo { version, unknown: wadl::unknown_operations(&listed) })
}
