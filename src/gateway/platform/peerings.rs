//! Peering: request, accept, decline, withdraw, end. An accepted request is the agreement of two organizations.
//! Requests that cross become one agreement; a request to oneself is accepted at once.

use crate::store::{AgreementRecord, AgreementStatus, OrganizationRecord};
use adit_core::domain::id::{AgreementId, OrganizationId};
use adit_core::domain::role::Permission;
use adit_core::domain::tier::Counted;
use adit_net::identity::random;

use super::act::Act;
use super::ending::{Cause, Consequences, Ending};
use super::error::{ActionRefusal, PlatformError, Resource};
use super::{Action, Initiator, Platform};

impl Platform {
    pub async fn request_peering(
        &self,
        initiator: &Initiator,
        with: OrganizationId,
    ) -> Result<AgreementId, PlatformError> {
        self.act(
            initiator,
            Action::RequestPeering,
            format!("organization {with}"),
            async move |act: &mut Act| request(act, with).await,
        )
        .await
    }

    pub async fn accept_peering(&self, initiator: &Initiator, id: AgreementId) -> Result<(), PlatformError> {
        self.decide_peering(initiator, Action::AcceptPeering, id, AgreementStatus::Live).await
    }

    pub async fn decline_peering(&self, initiator: &Initiator, id: AgreementId) -> Result<(), PlatformError> {
        self.decide_peering(initiator, Action::DeclinePeering, id, AgreementStatus::Declined).await
    }

    pub async fn withdraw_peering(
        &self,
        initiator: &Initiator,
        id: AgreementId,
    ) -> Result<(), PlatformError> {
        self.decide_peering(initiator, Action::WithdrawPeering, id, AgreementStatus::Withdrawn).await
    }

    /// Ends a live agreement, by either party, with all that hangs on it: pending grants are denied or taken back,
    /// connections terminated, open offers withdrawn or declined. Afterwards the two may peer again.
    pub async fn end_peering(
        &self,
        initiator: &Initiator,
        id: AgreementId,
    ) -> Result<Consequences, PlatformError> {
        self.act(initiator, Action::EndPeering, format!("peering {id}"), async move |act: &mut Act| {
            end(act, id).await
        })
        .await
    }

    async fn decide_peering(
        &self,
        initiator: &Initiator,
        action: Action,
        id: AgreementId,
        to: AgreementStatus,
    ) -> Result<(), PlatformError> {
        self.act(initiator, action, format!("peering {id}"), async move |act: &mut Act| {
            decide(act, id, to).await
        })
        .await
    }
}

async fn request(act: &mut Act, with: OrganizationId) -> Result<AgreementId, PlatformError> {
    let own = act.member(Permission::Change)?;
    let requester = organization(act, own).await?;
    let recipient = organization(act, with).await?;
    match act.tx.agreement_between(own, with).await? {
        Some(open) if open.status == AgreementStatus::Live => {
            return Err(ActionRefusal::PeeringLive { one: requester.name, other: recipient.name }.into());
        }
        Some(open) if open.requester == with => return cross(act, &open).await,
        Some(open) => {
            let refusal =
                ActionRefusal::PeeringOpen { requester: open.requester_name, recipient: open.recipient_name };
            return Err(refusal.into());
        }
        None => {}
    }
    admit(act, &requester).await?;
    act.concerns(with);
    let id = AgreementId::from_random(random::bytes());
    let status = if own == with { AgreementStatus::Live } else { AgreementStatus::Requested };
    act.tx.insert_agreement(id, own, with, status, act.now).await?;
    act.made(Resource::Peering, id);
    act.describe(match status {
        AgreementStatus::Live => "with Self, accepted at once".to_owned(),
        _ => format!("from {} to {}", requester.name, recipient.name),
    });
    Ok(id)
}

/// Accepts the open request of the one that is asked here.
async fn cross(act: &mut Act, open: &AgreementRecord) -> Result<AgreementId, PlatformError> {
    admit_both(act, open, open.recipient).await?;
    act.concerns(open.requester);
    act.tx.decide_agreement(open.id, AgreementStatus::Live, act.now).await?;
    act.made(Resource::Peering, open.id);
    act.describe(format!(
        "from {} to {}, whose own request was open and is accepted",
        open.recipient_name, open.requester_name
    ));
    let (object, logs) = (format!("peering {}", open.id), vec![Some(open.requester), Some(open.recipient)]);
    let detail = format!(
        "from {} to {}, because {} asked for the same",
        open.requester_name, open.recipient_name, open.recipient_name
    );
    act.also_of(Action::AcceptPeering, object, logs, detail).await?;
    Ok(open.id)
}

async fn decide(act: &mut Act, id: AgreementId, to: AgreementStatus) -> Result<(), PlatformError> {
    let (agreement, own) = party(act, id).await?;
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
        admit_both(act, &agreement, own).await?;
    }
    act.tx.decide_agreement(id, to, act.now).await?;
    act.describe(format!("from {} to {}", agreement.requester_name, agreement.recipient_name));
    Ok(())
}

async fn end(act: &mut Act, id: AgreementId) -> Result<Consequences, PlatformError> {
    let (agreement, own) = party(act, id).await?;
    if agreement.status != AgreementStatus::Live {
        return Err(ActionRefusal::PeeringNotLive { status: agreement.status.as_str() }.into());
    }
    let ending = Ending::of(&mut act.tx, Cause::Agreement(id), act.now).await?;
    ending.carry_out(act, own).await?;
    act.tx.decide_agreement(id, AgreementStatus::Ended, act.now).await?;
    let consequences = ending.consequences(own);
    act.describe(format!(
        "between {} and {}; {}",
        agreement.requester_name,
        agreement.recipient_name,
        consequences.counts()
    ));
    Ok(consequences)
}

/// Returns a request or agreement that the organization is a party of.
async fn party(act: &mut Act, id: AgreementId) -> Result<(AgreementRecord, OrganizationId), PlatformError> {
    let own = act.member(Permission::Change)?;
    let found = act.tx.agreement(id).await?.filter(|agreement| agreement.has(own));
    let agreement = found.ok_or(PlatformError::NotFound { resource: Resource::Peering })?;
    act.concerns(agreement.requester);
    act.concerns(agreement.recipient);
    Ok((agreement, own))
}

async fn organization(act: &mut Act, id: OrganizationId) -> Result<OrganizationRecord, PlatformError> {
    let found = act.tx.organization(id).await?;
    found.ok_or(PlatformError::NotFound { resource: Resource::Organization })
}

/// Admits both parties of what becomes live by `own`.
async fn admit_both(
    act: &mut Act,
    agreement: &AgreementRecord,
    own: OrganizationId,
) -> Result<(), PlatformError> {
    for party in [agreement.requester, agreement.recipient] {
        let party = organization(act, party).await?;
        match admit(act, &party).await {
            // What tier a peer has is not the decider's to read.
            Err(PlatformError::Refused(_)) if party.id != own => {
                return Err(ActionRefusal::PeerFull { peer: party.name }.into());
            }
            admitted => admitted?,
        }
    }
    Ok(())
}

async fn admit(act: &mut Act, organization: &OrganizationRecord) -> Result<(), PlatformError> {
    let present = act.tx.count_agreements(organization.id).await?;
    organization.tier.admit(Counted::Peers, present).map_err(ActionRefusal::from)?;
    Ok(())
}
