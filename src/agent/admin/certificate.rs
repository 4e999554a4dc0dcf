//! The one certificate that this agent shows to the people beside it, kept in the state: made again only when
//! it has run out or lacks a name that the file now has.

use crate::state::{AgentState, StateError};
use adit_core::config::agent::AgentConfig;
use adit_core::domain::time::Timestamp;
use adit_net::identity::local_https::{LocalCertificate, LocalNames};

/// Returns the certificate for the people beside this agent; `None` where the file has no
/// `[[admin_managing]]`.
pub(crate) fn of_config(
    config: &AgentConfig,
    state: &AgentState,
    now: Timestamp,
) -> Result<Option<LocalCertificate>, StateError> {
    if config.managing.is_empty() {
        return Ok(None);
    }
    let names = names(config);
    let kept = state.local_certificate()?;
    if let Some(kept) = kept {
        if kept.serves(&names, now) {
            return Ok(Some(kept));
        }
        tracing::warn!(
            "the HTTPS certificate for admin sessions lacks a name or has run out; a new one is made"
        );
    }
    let made = state.make_local_certificate(&names, now)?;
    tracing::info!(fingerprint = made.fingerprint(), "the HTTPS certificate for admin sessions was made");
    Ok(Some(made))
}

fn names(config: &AgentConfig) -> LocalNames {
    let mut names = LocalNames {
        names: vec!["localhost".into()],
        addresses: vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()],
    };
    for managing in &config.managing {
        names.names.extend(managing.names.iter().cloned());
        names.addresses.push(managing.listen.ip());
    }
    names.addresses.retain(|address| !address.is_unspecified());
    names.names.sort();
    names.names.dedup();
    names.addresses.sort();
    names.addresses.dedup();
    names
}
