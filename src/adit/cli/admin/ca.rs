//! `adit admin ca`: the certificate by which programs know this gateway where no browser's CA vouches for it.

use std::process::ExitCode;

use adit_core::config::gateway::GatewayConfig;
use adit_gateway::authority::Authority;
use adit_net::host::folder::Folder;
use adit_net::identity::time::{HostClock, TimeSource};
use adit_net::identity::web::certificate_pem;
use adit_observe::print;

/// Prints it; the gateway need not have run before.
pub(super) fn print(config: &GatewayConfig) -> anyhow::Result<ExitCode> {
    let folder = Folder::open(&config.state)?;
    let authority = Authority::open(&folder, &config.trust_domain, HostClock.now())?;
    print::text(certificate_pem(authority.trust().ca_der()))?;
    Ok(ExitCode::SUCCESS)
}
