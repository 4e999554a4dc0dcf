//! Where an organization's users sign in: its identity provider, and which role each value of a claim gives.
//! An owner sets it, and every user sees it but for the client secret, which nobody is shown again.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};
use url::Url;
use zeroize::Zeroizing;

use crate::openid::OpenIdError;
use crate::store::{ProviderRecord, UserRecord};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::role::{Permission, UserRole};
use adit_core::domain::time::Timestamp;
use adit_core::domain::visible::{error_chain, first_hidden};

use super::act::Act;
use super::error::{ActionRefusal, PlatformError, Resource};
use super::owners::OwnersBefore;
use super::people::PeopleRefusal;
use super::seal::{SealError, SealingKey};
use super::{Action, Initiator, Platform};

const ISSUER_CHARS_MAX: usize = 500;
const VALUE_CHARS_MAX: usize = 255;
const CLAIM_CHARS_MAX: usize = 80;
const SECRET_CHARS_MAX: usize = 1_000;

/// A provider as it is set.
#[derive(Clone)]
pub(crate) struct ProviderSettings {
    issuer: String,
    client_id: String,
    /// Absent: the one there is stays, of the same client at the same issuer.
    client_secret: Option<Zeroizing<String>>,
    role_claim: String,
    values: RoleValues,
    owners_only: bool,
}

/// The values of the claim that give a role; without one nobody becomes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RoleValues {
    pub(crate) owner: Option<String>,
    pub(crate) operator: Option<String>,
    pub(crate) auditor: Option<String>,
}

/// A provider as every user of its organization sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProviderView {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) has_client_secret: bool,
    pub(crate) role_claim: String,
    pub(crate) values: RoleValues,
    /// Nobody but owners signs in with a password as well.
    pub(crate) owners_only: bool,
    pub(crate) changed_at: Timestamp,
}

/// Which part of a provider is none, and what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {expected}")]
pub(crate) struct InvalidProvider {
    field: &'static str,
    expected: &'static str,
}

impl InvalidProvider {
    pub(crate) const fn field(&self) -> &'static str {
        self.field
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderRefusal {
    #[error("the identity provider cannot be used: {why}")]
    Unfit { why: String },
}

impl fmt::Debug for ProviderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderSettings").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl ProviderSettings {
    pub(crate) fn new(
        issuer: String,
        client_id: String,
        client_secret: Option<Zeroizing<String>>,
        role_claim: String,
        values: RoleValues,
    ) -> Result<Self, InvalidProvider> {
        let wrong = |field, expected| Err(InvalidProvider { field, expected });
        if !is_issuer(&issuer) {
            return wrong(
                "issuer",
                "expected the issuer's https URL, without query, as in its configuration",
            );
        }
        if !is_text(&client_id, VALUE_CHARS_MAX) {
            return wrong(
                "client_id",
                "expected what the provider calls this gateway, of at most 255 characters",
            );
        }
        if client_secret.as_ref().is_some_and(|secret| !is_text(secret, SECRET_CHARS_MAX)) {
            return wrong(
                "client_secret",
                "expected at most 1000 characters; leave it out where there is none",
            );
        }
        if !is_text(&role_claim, CLAIM_CHARS_MAX) {
            return wrong("role_claim", "expected a claim such as roles or realm_access.roles");
        }
        let all = [&values.owner, &values.operator, &values.auditor];
        if all.iter().all(|value| value.is_none()) {
            return wrong(
                "owner_value",
                "expected a value for one of the roles at least, or nobody signs in",
            );
        }
        if all.into_iter().flatten().any(|value| !is_text(value, VALUE_CHARS_MAX)) {
            return wrong("owner_value", "expected values of the claim, of at most 255 characters each");
        }
        Ok(Self { issuer, client_id, client_secret, role_claim, values, owners_only: false })
    }

    /// Leaves the password to owners alone, for when the provider is away.
    pub(crate) fn with_passwords_of_owners_only(self, owners_only: bool) -> Self {
        Self { owners_only, ..self }
    }
}

fn is_issuer(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    matches!(url.scheme(), "https" | "http")
        && url.query().is_none()
        && url.fragment().is_none()
        && is_text(text, ISSUER_CHARS_MAX)
}

fn is_text(text: &str, chars_max: usize) -> bool {
    let length = text.chars().count();
    (1..=chars_max).contains(&length) && first_hidden(text).is_none() && !text.contains(char::is_control)
}

impl RoleValues {
    /// Returns the highest role that the claim's values give.
    pub(super) fn role_of(&self, claims: &Map<String, Value>, claim: &str) -> Option<UserRole> {
        let found = values_of(claims, claim);
        let gives = |value: &Option<String>| value.as_deref().is_some_and(|value| found.contains(value));
        [
            (&self.owner, UserRole::Owner),
            (&self.operator, UserRole::Operator),
            (&self.auditor, UserRole::Auditor),
        ]
        .into_iter()
        .find_map(|(value, role)| gives(value).then_some(role))
    }
}

/// Returns a claim's values: a text, or those of a list. `realm_access.roles` is a claim of that name, or one
/// within another, as Keycloak has it.
fn values_of<'c>(claims: &'c Map<String, Value>, claim: &str) -> BTreeSet<&'c str> {
    let whole = claims.get(claim);
    let found = whole.or_else(|| {
        let mut parts = claim.split('.');
        let outer = claims.get(parts.next()?)?;
        parts.try_fold(outer, |value, part| value.as_object()?.get(part))
    });
    match found {
        Some(Value::String(value)) => BTreeSet::from([value.as_str()]),
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

impl Platform {
    /// Returns where the organization's users sign in.
    pub(crate) async fn identity_provider(
        &self,
        initiator: &Initiator,
    ) -> Result<ProviderView, PlatformError> {
        let organization = initiator.member(Permission::See)?;
        let found =
            self.look(async move |tx| Ok::<_, PlatformError>(tx.provider(organization).await?)).await?;
        found.map(view).ok_or(NONE)
    }

    /// Sets where the organization's users sign in, by an owner, once the provider has answered as it must. With
    /// another issuer, nobody stays signed in whom the old one has signed in. An owner who needs no provider must be
    /// there if those whom it made owners may not be any more.
    pub(crate) async fn set_identity_provider(
        &self,
        initiator: &Initiator,
        new: &ProviderSettings,
    ) -> Result<ProviderView, PlatformError> {
        // Whoever may not set it makes the gateway ask nobody.
        let found = match initiator.member(Permission::ManageUsers) {
            Ok(_) => self.openid.read(&new.issuer, self.now()).await.map(drop),
            Err(_) => Ok(()),
        };
        let new = new.clone();
        self.act(initiator, Action::SetIdentityProvider, object(&new), async move |act: &mut Act| {
            set(act, &new, &found).await
        })
        .await
    }

    /// Removes it, if an owner can sign in without. Nobody stays signed in whom it has signed in.
    pub(crate) async fn remove_identity_provider(&self, initiator: &Initiator) -> Result<(), PlatformError> {
        self.act(
            initiator,
            Action::RemoveIdentityProvider,
            Resource::IdentityProvider,
            async move |act: &mut Act| remove(act).await,
        )
        .await
    }
}

const NONE: PlatformError = PlatformError::NotFound { resource: Resource::IdentityProvider };

fn object(new: &ProviderSettings) -> String {
    format!("{} {}", Resource::IdentityProvider, new.issuer)
}

async fn set(
    act: &mut Act,
    new: &ProviderSettings,
    found: &Result<(), OpenIdError>,
) -> Result<ProviderView, PlatformError> {
    let organization = act.member(Permission::ManageUsers)?;
    if let Err(error) = found {
        return Err(ActionRefusal::from(ProviderRefusal::Unfit { why: error_chain(error) }).into());
    }
    let old = act.tx.provider(organization).await?;
    let owners = OwnersBefore::count(act, organization).await?;
    let record = ProviderRecord {
        organization,
        issuer: new.issuer.clone(),
        client_id: new.client_id.clone(),
        secret_sealed: sealed_secret(&act.seal, organization, new, old.as_ref())?,
        role_claim: new.role_claim.clone(),
        owner_value: new.values.owner.clone(),
        operator_value: new.values.operator.clone(),
        auditor_value: new.values.auditor.clone(),
        owners_only: new.owners_only,
        changed_at: act.now,
    };
    act.tx.put_provider(&record).await?;
    act.tx.drop_sign_in_flows_of(organization).await?;
    let is_other = old.as_ref().is_some_and(|old| old.issuer != record.issuer);
    let ended = if is_other { act.tx.unlink_all(organization, act.now).await? } else { 0 };
    let is_kept = if old.is_some_and(|old| may_change_owners(&old, &record)) {
        owners.are_kept_without_provider(act).await?
    } else {
        owners.are_kept(act).await?
    };
    if !is_kept {
        return Err(PeopleRefusal::OwnersAtProvider.into());
    }
    let note = format!("; another issuer than before: sessions and API tokens ended: {ended}");
    let note = if is_other { note.as_str() } else { "" };
    let owners_only = if new.owners_only {
        let ended = act.tx.end_sessions_beside_provider(organization).await?;
        format!(", passwords for owners only; sessions of others with one ended: {ended}")
    } else {
        String::new()
    };
    let detail = format!("client {}, roles by {}{owners_only}{note}", record.client_id, record.role_claim);
    act.describe(detail);
    Ok(view(record))
}

async fn remove(act: &mut Act) -> Result<(), PlatformError> {
    let organization = act.member(Permission::ManageUsers)?;
    let owners = OwnersBefore::count(act, organization).await?;
    if !act.tx.delete_provider(organization).await? {
        return Err(NONE);
    }
    act.tx.drop_sign_in_flows_of(organization).await?;
    let ended = act.tx.unlink_all(organization, act.now).await?;
    if !owners.are_kept(act).await? {
        return Err(PeopleRefusal::OwnersAtProvider.into());
    }
    act.describe(format!("sessions and API tokens ended: {ended}"));
    Ok(())
}

/// Returns whether those whom the old one made owners may be none by the new one, or not be known to it.
fn may_change_owners(old: &ProviderRecord, new: &ProviderRecord) -> bool {
    old.issuer != new.issuer
        || old.client_id != new.client_id
        || old.role_claim != new.role_claim
        || old.owner_value != new.owner_value
}

/// Refuses who has shown the right password where only owners sign in with one.
pub(super) async fn require_password_permitted(
    act: &mut Act,
    user: &UserRecord,
) -> Result<(), PlatformError> {
    if user.role == UserRole::Owner {
        return Ok(());
    }
    let provider = act.tx.provider(user.organization).await?;
    if provider.is_some_and(|provider| provider.owners_only) {
        return Err(PeopleRefusal::SignInAtProvider.into());
    }
    Ok(())
}

/// Returns the secret as it is kept. The old one goes on to no other issuer or client: whoever sets one does not
/// get to see it there.
fn sealed_secret(
    seal: &SealingKey,
    organization: OrganizationId,
    new: &ProviderSettings,
    old: Option<&ProviderRecord>,
) -> Result<Option<Vec<u8>>, SealError> {
    if let Some(secret) = &new.client_secret {
        return seal.seal_as(&named(organization, &new.issuer, &new.client_id), secret.as_bytes()).map(Some);
    }
    let same = old.filter(|old| old.issuer == new.issuer && old.client_id == new.client_id);
    Ok(same.and_then(|old| old.secret_sealed.clone()))
}

/// Returns the client secret, to be shown to the provider alone.
pub(super) fn client_secret(
    seal: &SealingKey,
    provider: &ProviderRecord,
) -> Result<Option<Zeroizing<String>>, SealError> {
    let Some(sealed) = &provider.secret_sealed else { return Ok(None) };
    let opened =
        seal.open_as(&named(provider.organization, &provider.issuer, &provider.client_id), sealed)?;
    let text = std::str::from_utf8(&opened).map_err(|_| SealError::Unseal)?;
    Ok(Some(Zeroizing::new(text.to_owned())))
}

/// Returns what a client secret is sealed as: with lengths, so that no two read alike.
fn named(organization: OrganizationId, issuer: &str, client: &str) -> String {
    format!("client secret of {organization} at {} {issuer} as {} {client}", issuer.len(), client.len())
}

pub(super) fn values(provider: &ProviderRecord) -> RoleValues {
    RoleValues {
        owner: provider.owner_value.clone(),
        operator: provider.operator_value.clone(),
        auditor: provider.auditor_value.clone(),
    }
}

fn view(provider: ProviderRecord) -> ProviderView {
    ProviderView {
        values: values(&provider),
        has_client_secret: provider.secret_sealed.is_some(),
        issuer: provider.issuer,
        client_id: provider.client_id,
        role_claim: provider.role_claim,
        owners_only: provider.owners_only,
        changed_at: provider.changed_at,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values() -> RoleValues {
        let some = |text: &str| Some(text.to_owned());
        RoleValues { owner: some("boss"), operator: some("it"), auditor: None }
    }

    #[test]
    fn the_highest_of_the_roles_that_a_claim_gives_counts() {
        let role = |claim: &str, claims: Value| values().role_of(claims.as_object().unwrap(), claim);
        assert_eq!(role("roles", json!({ "roles": ["it", "boss", 7] })), Some(UserRole::Owner));
        assert_eq!(role("roles", json!({ "roles": "it" })), Some(UserRole::Operator));
        for nothing in
            [json!({}), json!({ "roles": [] }), json!({ "roles": "its" }), json!({ "roles": { "it": 1 } })]
        {
            assert_eq!(role("roles", nothing), None);
        }
        let nested = json!({ "realm_access": { "roles": ["it"] } });
        assert_eq!(role("realm_access.roles", nested), Some(UserRole::Operator));
        let dotted = json!({ "https://a.example/roles": ["boss"] });
        assert_eq!(role("https://a.example/roles", dotted), Some(UserRole::Owner));
    }

    #[test]
    fn a_provider_without_an_issuers_url_or_any_role_is_none() {
        let new = |issuer: &str, values: RoleValues| {
            ProviderSettings::new(issuer.into(), "adit".into(), None, "roles".into(), values)
        };
        assert!(new("https://id.example/realms/main", values()).is_ok());
        for issuer in
            ["", "id.example", "javascript:alert(1)", "https://id.example/?a=b", "https://id.example/#a"]
        {
            assert_eq!(new(issuer, values()).unwrap_err().field, "issuer", "{issuer}");
        }
        assert_eq!(new("https://id.example", RoleValues::default()).unwrap_err().field, "owner_value");
    }
}
