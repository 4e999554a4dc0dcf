//! What can be wrong with a gateway before, and while, it runs.

use std::sync::Arc;

use super::finding::Findings;
use super::gateways::{Known, check_gateways};
use super::network::{check_tcp_port, check_udp_port};
use super::state::{self, State};
use adit_core::config::console::{ConsoleConfig, ConsoleWay};
use adit_core::config::gateway::GatewayConfig;
use adit_core::domain::id::RouteId;
use adit_core::domain::limits::CONSOLE_EXPIRY_WARNED;
use adit_core::domain::time::Timestamp;
use adit_core::domain::visible::error_chain;
use adit_gateway::acme::{self, AcmeFailure, AcmeReport};
use adit_gateway::authority::{AUTHORITY, Authority};
use adit_gateway::console::ConsoleFiles;
use adit_gateway::database::{self, LookedAt};
use adit_gateway::identity_providers;
use adit_gateway::service::NOTHING_YET;
use adit_net::host::folder::Folder;
use adit_net::identity::outer::GatewayKey;
use adit_net::identity::time::{HostClock, TimeSource};

/// Where an ACME authority connects to (RFC 8737 §3).
const ACME_PORT: u16 = 443;

pub(super) async fn check(config: &GatewayConfig, findings: &mut Findings) {
    findings.fine(format!("configuration: {} under the trust domain {}", config.name, config.trust_domain));
    if config.name.port() != config.listen.port() {
        findings.warning(format!(
            "configuration: agents are told port {}, the gateway listens on {}; forward TCP and UDP from one to the other",
            config.name.port(),
            config.listen.port()
        ));
    }
    let state = state::check(&config.state, findings);
    if let Some(console) = &config.console {
        check_console(console, HostClock.now(), findings);
        check_acme(config, console, &state, HostClock.now(), findings);
    }
    check_identity_providers(config, findings);
    if !matches!(state, State::Unusable) {
        check_database(config, findings).await;
    }
    match state {
        State::Absent | State::Unusable => {}
        State::Free(folder) => {
            check_authority(config, &folder, findings);
        }
        State::InUse(folder) => {
            let (route, key) = check_authority(config, &folder, findings).unzip();
            let known = Known { route, key, needs_tcp: true };
            return check_gateways(vec![config.name.clone()], &known, &Arc::default(), findings).await;
        }
    }
    check_udp_port("listen", config.listen, findings);
    check_tcp_port("listen", config.listen, findings);
    if let Some(listen) = config.console.as_ref().and_then(ConsoleConfig::listen) {
        check_tcp_port("console listen", listen, findings);
    }
    if let Some(metrics) = config.metrics {
        check_tcp_port("metrics", metrics, findings);
    }
}

/// Checks what browsers are to see, as the gateway reads it.
pub(super) fn check_console(console: &ConsoleConfig, now: Timestamp, findings: &mut Findings) {
    if let ConsoleWay::Proxy { trusted_proxies, .. } = &console.way
        && trusted_proxies.is_empty()
    {
        findings.warning(
            "console: no `trusted_proxies` are named, so that all who come through a proxy are limited as one",
        );
    }
    let Some(files) = ConsoleFiles::of(console) else { return };
    let certificate = match files.read() {
        Ok(certificate) => certificate,
        Err(error) => return findings.problem(format!("console: {}", error_chain(&error))),
    };
    let (from, until) = (certificate.not_before, certificate.not_after);
    if now >= until {
        findings
            .problem(format!("console: the certificate ended at {until}; write a new one into its files"));
    } else if now < from {
        findings.problem(format!("console: the certificate is valid from {from}; compare the clocks"));
    } else if until.since(now) < CONSOLE_EXPIRY_WARNED {
        findings.warning(format!("console: the certificate ends at {until}; write a new one into its files"));
    } else {
        findings
            .fine(format!("console: browsers see a certificate for {} until {until}", console.name.host()));
    }
}

/// Checks whom the gateway trusts to be an identity provider, as it reads that itself.
fn check_identity_providers(config: &GatewayConfig, findings: &mut Findings) {
    let Some(ca) = &config.identity_providers.ca else { return };
    match identity_providers::check(&config.identity_providers) {
        Ok(()) => findings.fine(format!("identity providers: `{}` names whom to trust", ca.display())),
        Err(error) => findings.problem(format!("identity providers: {}", error_chain(&error))),
    }
}

/// Checks what became of a certificate that the gateway gets itself.
fn check_acme(
    config: &GatewayConfig,
    console: &ConsoleConfig,
    state: &State,
    now: Timestamp,
    findings: &mut Findings,
) {
    let ConsoleWay::Acme(acme) = &console.way else { return };
    let host = console.name.host();
    if config.listen.port() != ACME_PORT {
        let port = config.listen.port();
        findings.warning(format!(
            "console: the ACME authority connects to TCP {ACME_PORT} of {host}; forward that to {port}, where the gateway \
             listens"
        ));
    }
    if let Some(path) = &acme.ca
        && let Err(error) = acme::check_ca(path)
    {
        findings.problem(format!("console: {error}"));
    }
    let report = match state {
        State::Unusable => return,
        State::Absent => AcmeReport::default(),
        State::Free(folder) | State::InUse(folder) => match AcmeReport::read(acme, host, folder.clone(), now)
        {
            Ok(report) => report,
            Err(error) => return findings.problem(format!("console: {error}")),
        },
    };
    report_acme(host, &report, now, findings);
}

fn report_acme(host: &str, report: &AcmeReport, now: Timestamp, findings: &mut Findings) {
    let AcmeReport { certificate, is_overdue, failure } = report;
    let failed = failure.as_ref().map(|AcmeFailure { why, times, retry_at }| {
        format!("the last order failed ({times} in a row) and the next is made after {retry_at}: {why}")
    });
    match (certificate, failed) {
        (None, None) => findings.fine(format!("console: a certificate for {host} will be asked for")),
        (None, Some(failed)) => {
            findings.problem(format!("console: there is no certificate for {host}; {failed}"));
        }
        (Some((_, until)), failed) if now >= *until => findings.problem(format!(
            "console: the certificate ended at {until}; {}",
            failed.unwrap_or_else(|| "start the gateway, which gets another".into())
        )),
        (Some((from, _)), _) if now < *from => {
            findings.problem(format!("console: the certificate is valid from {from}; compare the clocks"));
        }
        (Some((_, until)), Some(failed)) => findings
            .warning(format!("console: the certificate ends at {until} and is not renewed; {failed}")),
        (Some((_, until)), None) if *is_overdue => findings.warning(format!(
            "console: the certificate ends at {until} and should have been renewed; start the gateway, which does that"
        )),
        (Some((_, until)), None) => findings.fine(format!(
            "console: browsers see a certificate for {host} until {until}, which the gateway renews"
        )),
    }
}

/// Checks that the database can be read, that the platform is in it, and that somebody could sign in. Nothing is
/// made or brought up to date.
async fn check_database(config: &GatewayConfig, findings: &mut Findings) {
    let location = match database::location(config) {
        Ok(location) => location,
        Err(error) => return findings.problem(format!("database: {}", error_chain(&error))),
    };
    let LookedAt { place, is_there, has_organizations } = match database::look(&config.state, &location).await
    {
        Ok(seen) => seen,
        Err(error) => return findings.problem(format!("database: {}", error_chain(&error))),
    };
    if is_there {
        findings.fine(format!("database: {place} answers"));
    } else {
        findings.fine(format!("database: {place} will be made"));
    }
    if !has_organizations {
        findings.problem(format!("platform: {NOTHING_YET}"));
    }
}

/// Returns the gateway's route, and by which key it is known.
fn check_authority(
    config: &GatewayConfig,
    folder: &Folder,
    findings: &mut Findings,
) -> Option<(RouteId, GatewayKey)> {
    match folder.read(AUTHORITY) {
        Ok(None) => findings.fine("CA: will be made at the first start"),
        // Opening one that is there makes nothing on disk.
        Ok(Some(_)) => match Authority::open(folder, &config.trust_domain, HostClock.now()) {
            Ok(authority) => {
                let ca_key = authority.trust().ca_key();
                findings.fine(format!("CA: {ca_key}"));
                let key = GatewayKey { ca_key, trust_domain: config.trust_domain.clone() };
                return Some((authority.route(), key));
            }
            Err(error) => findings.error(&error),
        },
        Err(error) => findings.error(&error),
    }
    None
}
