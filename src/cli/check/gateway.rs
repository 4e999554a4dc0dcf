//! What can be wrong with a gateway before, and while, it runs.

use super::finding::Findings;
use super::network::{Host, check_hosts, check_tcp_port, check_udp_port};
use super::state::{self, State};
use crate::config::gateway::GatewayConfig;
use crate::gateway::authority::{AUTHORITY, Authority};
use crate::identity::time::{HostClock, TimeSource};
use crate::store::folder::Folder;

pub(super) async fn check(config: &GatewayConfig, findings: &mut Findings) {
    findings.fine(format!("configuration: {} under the trust domain {}", config.name, config.trust_domain));
    if config.name.port() != config.listen.port() {
        findings.warning(format!(
            "configuration: agents are told port {}, the gateway listens on {}; forward TCP and UDP from one to the other",
            config.name.port(),
            config.listen.port()
        ));
    }
    let running = match state::check(&config.state, findings) {
        State::Absent | State::Unusable => false,
        State::Free(folder) => {
            check_authority(config, &folder, findings);
            false
        }
        State::InUse(folder) => {
            check_authority(config, &folder, findings);
            true
        }
    };
    if running {
        let name = Host {
            what: "name".into(),
            at: config.name.clone(),
            remedy: "agents elsewhere may still reach it, if only this host cannot; else correct the name's address or \
                     the firewall",
        };
        check_hosts(vec![name], findings).await;
        return;
    }
    check_udp_port("listen", config.listen, findings);
    check_tcp_port("listen", config.listen, findings);
    if let Some(metrics) = config.metrics {
        check_tcp_port("metrics", metrics, findings);
    }
}

fn check_authority(config: &GatewayConfig, folder: &Folder, findings: &mut Findings) {
    match folder.read(AUTHORITY) {
        Ok(None) => findings.fine("CA: will be made at the first start"),
        // Opening one that is there makes nothing on disk.
        Ok(Some(_)) => match Authority::open(folder, &config.trust_domain, HostClock.now()) {
            Ok(authority) => findings.fine(format!("CA: {}", authority.trust().ca_key())),
            Err(error) => findings.error(&error),
        },
        Err(error) => findings.error(&error),
    }
}
