//! Peering: request, accept, decline, withdraw. An accepted request is the agreement of two
//! organizations; a request to oneself is accepted at once.

use crate::store::{AgreementStatus, OrganizationRecord};
use adit_core::domain::id::{AgreementId, OrganizationId};
use adit_core::domain::role::Permission;
use adit_core::domain::tier::Counted;
use adit_net::identity::random;

use super::audited_tx::AuditedTx;
use super::error::{ActionRefusal, PlatformError, Resource};
use super::{Actor, Platform};

impl Platform {
    pub async fn request_peering(
        &self,
        actor: &Actor,
        with: OrganizationId,
    ) -> Result<AgreementId, PlatformError> {
        let mut audited = self.begin(actor, "request peering", format!("organization {with}")).await?;
        let outcome = request(&mut audited, with).await;
        audited.finish(outcome).await
    }

    pub async fn accept_peering(&self, actor: &Actor, id: AgreementId) -> Result<(), PlatformError> {
        self.decide_peering(actor, "accept peering", id, AgreementStatus::Live).await
    }

    pub async fn decline_peering(&self, actor: &Actor, id: AgreementId) -> Result<(), PlatformError> {
        self.decide_peering(actor, "decline peering", id, AgreementStatus::Declined).await
    }

    pub async fn withdraw_peering(&self, actor: &Actor, id: AgreementId) -> Result<(), PlatformError> {
        self.decide_peering(actor, "withdraw peering", id, AgreementStatus::Withdrawn).await
    }

    async fn decide_peering(
        &self,
        actor: &Actor,
        action: &'static str,
        id: AgreementId,
        to: AgreementStatus,
    ) -> Result<(), PlatformError> {
        let mut audited = self.begin(actor, action, format!("peering {id}")).await?;
        let outcome = decide(&mut audited, id, to).await;
        audited.finish(outcome).await
    }
}

async fn request(audited: &mut AuditedTx, with: OrganizationId) -> Result<AgreementId, PlatformError> {
    let own = audited.member(Permission::Change)?;
    let requester = organization(audited, own).await?;
    let recipient = organization(audited, with).await?;
    match audited.tx.agreement_between(own, with).await? {
        Some(open) if open.status == AgreementStatus::Live => {
            return Err(ActionRefusal::PeeringLive { one: requester.name, other: recipient.name }.into());
        }
        Some(open) => {
            let refusal =
                ActionRefusal::PeeringOpen { requester: open.requester_name, recipient: open.recipient_name };
            return Err(refusal.into());
        }
        None => {}
    }
    admit(audited, &requester).await?;
    audited.concerns(with);
    let id = AgreementId::from_random(random::bytes());
    let status = if own == with { AgreementStatus::Live } else { AgreementStatus::Requested };
    audited.tx.insert_agreement(id, own, with, status, audited.now).await?;
    audited.made(Resource::Peering, id);
    audited.describe(match status {
        AgreementStatus::Live => "with Self, accepted at once".to_owned(),
        _ => format!("from {} to {}", requester.name, recipient.name),
    });
    Ok(id)
}

async fn decide(audited: &mut AuditedTx, id: AgreementId, to: AgreementStatus) -> Result<(), PlatformError> {
    let own = audited.member(Permission::Change)?;
    let found = audited.tx.agreement(id).await?.filter(|agreement| agreement.has(own));
    let agreement = found.ok_or(PlatformError::NotFound { resource: Resource::Peering })?;
    audited.concerns(agreement.requester);
    audited.concerns(agreement.recipient);
    if agreement.status != AgreementStatus::Requested {
        return Err(ActionRefusal::PeeringDecided { status: agreement.status.as_str() }.into());
    }
    let withdraws = to == AgreementStatus::Withdrawn;
    if withdraws && agreement.requester != own {
        return Err(ActionRefusal::NotRequester { requester: agreement.requester_name }.into());
    }
    if !withdraws && agreement.recipient != own {
        return Err(ActionRefusal::NotRecipient { recipient: agreement.recipient_name }.into());
    }
    if to == AgreementStatus::Live {
        for party in [agreement.requester, agreement.recipient] {
            let party = organization(audited, party).await?;
            match admit(audited, &party).await {
                // What tier a peer has is not the decider's to read.
                Err(PlatformError::Refused(_)) if party.id != own => {
                    return Err(ActionRefusal::PeerFull { peer: party.name }.into());
                }
                admitted => admitted?,
            }
        }
    }
    audited.tx.decide_agreement(id, to, audited.now).await?;
    audited.describe(format!("from {} to {}", agreement.requester_name, agreement.recipient_name));
    Ok(())
}

async fn organization(
    audited: &mut AuditedTx,
    id: OrganizationId,
) -> Result<OrganizationRecord, PlatformError> {
    let found = audited.tx.organization(id).await?;
    found.ok_or(PlatformError::NotFound { resource: Resource::Organization })
}

async fn admit(audited: &mut AuditedTx, organization: &OrganizationRecord) -> Result<(), PlatformError> {
    let present = audited.tx.count_agreements(organization.id).await?;
    organization.tier.admit(Counted::Peers, present).map_err(ActionRefusal::from)?;
    Ok(())
}
