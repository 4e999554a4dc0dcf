//! Signing in at an organization's identity provider: how it is begun, and what becomes of what the browser
//! brings back. Each answer counts once, in the browser that asked, and only as an answer of the provider that
//! was asked: at the organization's own callback, and in the provider's own name if it says one (RFC 9700 §4.4).
//! Whose account it is: [`account`]. Where to go on: [`go_to`].

mod account;
mod go_to;

use std::net::IpAddr;

use subtle::ConstantTimeEq;
use tracing::debug;
use zeroize::Zeroizing;

use crate::openid::{Credentials, Exchange, Known, OpenId, OpenIdError, Proven};
use crate::store::{ProviderRecord, SignInFlow, Tx};
use adit_core::domain::id::OrganizationId;
use adit_core::domain::limits::{
    SIGN_IN_FLOW_LIFE, SIGN_IN_FLOWS_OF_ADDRESS_MAX, SIGN_IN_FLOWS_OF_ORGANIZATION_MAX,
};
use adit_core::domain::places::address_of;
use adit_core::domain::secret::SignInToken;
use adit_core::domain::time::Timestamp;
use adit_core::domain::visible::error_chain;
use adit_net::identity::random;

use super::act::Act;
use super::error::{ActionRefusal, PlatformError, Resource};
use super::people::Visit;
use super::signed::{NewSession, begin_session};
use super::{Action, Initiator, Platform, providers};
use account::Newcomer;

const OBJECT: &str = "single sign-on";

/// Returns what a verifier is sealed as (RFC 7636): one state's.
fn verifier_of(state_hash: &[u8; 32]) -> String {
    format!("verifier of {}", hex::encode(state_hash))
}

/// Why nobody is signed in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SingleSignOnRefusal {
    #[error(
        "this sign-in is over: it was used before, as going back in the browser does, or took longer than {} minutes; \
         begin anew unless you are signed in",
        SIGN_IN_FLOW_LIFE.as_secs() / 60
    )]
    NoFlow,
    #[error(
        "this browser does not show that it began this sign-in; begin anew in this one, with cookies allowed for this \
         site"
    )]
    OtherBrowser,
    #[error(
        "the answer is of another identity provider than the one asked; begin anew, and tell an owner if that helps nothing"
    )]
    OtherIssuer,
    #[error("the organization's identity provider was changed meanwhile; begin anew")]
    Changed,
    #[error(
        "the identity provider has signed nobody in; begin anew, and ask its administrators whether you may use adit"
    )]
    Denied,
    #[error(
        "the identity provider does not take what the gateway asks (`{error}`); an owner compares client ID and redirect \
         URI with those that the provider has"
    )]
    AskedWrongly { error: &'static str },
    #[error(
        "the identity provider's answer proves nothing: {what}; begin anew, and tell an owner if that helps nothing"
    )]
    NotProven { what: String },
    #[error(
        "the identity provider gives you no role here; its administrators give you one, and the organization's owners say which"
    )]
    NoRole,
    #[error("the identity provider does not tell your e-mail address; let it include the claim `email`")]
    NoEmail,
    #[error("the identity provider has not verified your e-mail address; have it verified there")]
    EmailUnverified,
    #[error(
        "your e-mail address is that of a user who signs in another way; sign in that way, or let an owner send that \
         user a new sign-in link, and sign in here while it is open: the identity provider must then vouch for the \
         address (claim `email_verified`)"
    )]
    EmailTaken,
    #[error("an owner has disabled your user; ask an owner to enable it")]
    Disabled,
    #[error("too many sign-ins are under way; try again in some minutes")]
    TooMany,
}

impl SingleSignOnRefusal {
    /// Returns the word by which a page decides what to show.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::NoFlow => "expired",
            Self::OtherBrowser => "other-browser",
            Self::OtherIssuer => "other-issuer",
            Self::Changed => "changed",
            Self::Denied => "denied",
            Self::AskedWrongly { .. } => "asked-wrongly",
            Self::NotProven { .. } => "not-proven",
            Self::NoRole => "no-role",
            Self::NoEmail => "no-email",
            Self::EmailUnverified => "email-unverified",
            Self::EmailTaken => "email-taken",
            Self::Disabled => "disabled",
            Self::TooMany => "too-many",
        }
    }

    /// Returns the refusal of such a word; what the provider said to it is not known any more.
    pub(crate) fn named(word: &str) -> Option<Self> {
        let all = [
            Self::NoFlow,
            Self::OtherBrowser,
            Self::OtherIssuer,
            Self::Changed,
            Self::Denied,
            Self::AskedWrongly { error: "see the audit log" },
            Self::NotProven { what: "the audit log says why".into() },
            Self::NoRole,
            Self::NoEmail,
            Self::EmailUnverified,
            Self::EmailTaken,
            Self::Disabled,
            Self::TooMany,
        ];
        all.into_iter().find(|refusal| refusal.as_str() == word)
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SingleSignOnError {
    #[error(transparent)]
    Refused(#[from] SingleSignOnRefusal),
    #[error("the identity provider is away; try again, or sign in with a password if you have one")]
    Away,
    #[error(transparent)]
    Platform(PlatformError),
}

impl From<PlatformError> for SingleSignOnError {
    fn from(error: PlatformError) -> Self {
        match error {
            PlatformError::Refused(ActionRefusal::SingleSignOn(refusal)) => Self::Refused(refusal),
            error => Self::Platform(error),
        }
    }
}

/// Who wants to sign in, and where.
#[derive(Debug)]
pub(crate) struct BeginSingleSignOn<'a> {
    /// Its name.
    pub(crate) organization: &'a str,
    pub(crate) browser: &'a SignInToken,
    pub(crate) go_to: &'a str,
    pub(crate) address: IpAddr,
    /// Of all callbacks.
    pub(crate) callbacks: &'a str,
}

/// What a browser has brought back.
#[derive(Debug)]
pub(crate) struct FinishSingleSignOn<'a> {
    pub(crate) state: &'a SignInToken,
    pub(crate) browser: Option<&'a SignInToken>,
    /// At whose callback it is.
    pub(crate) at: Option<OrganizationId>,
    pub(crate) code: Option<&'a Zeroizing<String>>,
    /// What the provider tells instead (RFC 6749 §4.1.2.1).
    pub(crate) error: Option<&'a str>,
    /// Who says it is the one that answers (RFC 9207).
    pub(crate) issuer: Option<&'a str>,
    pub(crate) address: IpAddr,
    /// What the browser calls itself.
    pub(crate) agent: &'a str,
    /// As when it began.
    pub(crate) callbacks: &'a str,
}

/// Returns where the provider of an organization sends browsers back to. Each has its own: an answer to what one
/// provider was asked cannot be passed off as another's, even of providers that do not say who they are.
pub(crate) fn callback_of(callbacks: &str, organization: OrganizationId) -> String {
    format!("{callbacks}/{organization}")
}

/// A user, signed in.
#[derive(Debug)]
pub(crate) struct SignedInElsewhere {
    pub(crate) session: NewSession,
    pub(crate) go_to: String,
}

impl Platform {
    /// Begins a sign-in; returns where to send the browser.
    pub(crate) async fn begin_single_sign_on(
        &self,
        begin: &BeginSingleSignOn<'_>,
    ) -> Result<String, SingleSignOnError> {
        let address = address_of(begin.address).to_string();
        let provider = self.provider_with_room(begin.organization, &address).await?;
        let known = self.openid.known(&provider.issuer, self.now()).await.map_err(|error| away(&error))?;
        let state = SignInToken::from_bytes(random::bytes());
        let nonce = SignInToken::from_bytes(random::bytes());
        let verifier = Zeroizing::new(SignInToken::from_bytes(random::bytes()).reveal_hex());
        let redirect = callback_of(begin.callbacks, provider.organization);
        let credentials =
            Credentials { client_id: &provider.client_id, client_secret: None, redirect: &redirect };
        let (shown_state, shown_nonce) = (state.reveal_hex(), nonce.reveal_hex());
        let nonce_hash = adit_core::domain::digest::sha256(shown_nonce.as_bytes());
        let url = OpenId::authorization_url(&known, &credentials, shown_state, shown_nonce, &verifier)
            .map_err(|error| away(&error))?;
        let state_hash = state.hash();
        let sealed = self.seal.seal_as(&verifier_of(&state_hash), verifier.as_bytes());
        let flow = SignInFlow {
            state_hash,
            organization: provider.organization,
            browser_hash: begin.browser.hash(),
            address,
            client_id: provider.client_id,
            issuer: provider.issuer,
            nonce_hash,
            verifier_sealed: sealed.map_err(PlatformError::from)?,
            go_to: go_to::own_path(begin.go_to).to_owned(),
            expires_at: self.now().saturating_add(SIGN_IN_FLOW_LIFE),
        };
        self.keep_flow(flow).await?;
        Ok(url)
    }

    /// Returns the provider of the organization that is called so, if one more may sign in there.
    async fn provider_with_room(
        &self,
        organization: &str,
        address: &str,
    ) -> Result<ProviderRecord, PlatformError> {
        if organization.contains('\0') {
            // No database holds such a name, and one would not even look for it.
            return Err(PlatformError::NotFound { resource: Resource::IdentityProvider });
        }
        let (name, address, now) = (organization.trim().to_owned(), address.to_owned(), self.now());
        self.look(async move |tx| {
            let found = tx.provider_of(&name).await?;
            let provider = found.ok_or(PlatformError::NotFound { resource: Resource::IdentityProvider })?;
            require_room(tx, provider.organization, &address, now).await?;
            Ok(provider)
        })
        .await
    }

    async fn keep_flow(&self, flow: SignInFlow) -> Result<(), PlatformError> {
        let now = self.now();
        self.record(async move |tx| {
            // What a commit without an answer has written is there already.
            tx.take_sign_in_flow(flow.state_hash).await?;
            tx.drop_old_sign_in_flows(now).await?;
            require_room(tx, flow.organization, &flow.address, now).await?;
            Ok(tx.insert_sign_in_flow(&flow).await?)
        })
        .await
    }

    /// Ends a sign-in with what the browser has brought back. Whatever comes of it, it cannot be brought again.
    pub(crate) async fn finish_single_sign_on(
        &self,
        finish: &FinishSingleSignOn<'_>,
    ) -> Result<SignedInElsewhere, SingleSignOnError> {
        let state_hash = finish.state.hash();
        let flow =
            self.record(async move |tx| Ok::<_, PlatformError>(tx.take_sign_in_flow(state_hash).await?));
        let flow = flow.await?.filter(|flow| self.now() < flow.expires_at);
        let flow = flow.ok_or(SingleSignOnRefusal::NoFlow)?;
        let proven = match self.proven(&flow, finish).await {
            Err(SingleSignOnError::Refused(refusal)) => return self.refuse(&flow, finish, refusal).await,
            proven => proven?,
        };
        self.admit(&flow, finish, proven).await
    }

    /// Returns whom the answer proves.
    async fn proven(
        &self,
        flow: &SignInFlow,
        finish: &FinishSingleSignOn<'_>,
    ) -> Result<(ProviderRecord, Proven), SingleSignOnError> {
        let shown = finish.browser.map(SignInToken::hash);
        if !shown.is_some_and(|shown| bool::from(shown.ct_eq(&flow.browser_hash))) {
            return Err(SingleSignOnRefusal::OtherBrowser.into());
        }
        let organization = flow.organization;
        if finish.at != Some(organization) {
            return Err(SingleSignOnRefusal::OtherIssuer.into());
        }
        let found =
            self.look(async move |tx| Ok::<_, PlatformError>(tx.provider(organization).await?)).await?;
        let same = |it: &ProviderRecord| it.issuer == flow.issuer && it.client_id == flow.client_id;
        let provider = found.filter(same).ok_or(SingleSignOnRefusal::Changed)?;
        if finish.issuer.is_some_and(|issuer| issuer != flow.issuer) {
            return Err(SingleSignOnRefusal::OtherIssuer.into());
        }
        let known = self.openid.known(&flow.issuer, self.now()).await.map_err(|error| not_proven(&error))?;
        if finish.issuer.is_none() && known.always_says_who_it_is() {
            return Err(SingleSignOnRefusal::OtherIssuer.into());
        }
        if let Some(error) = finish.error {
            return Err(told_instead(error));
        }
        let code = finish.code.ok_or(SingleSignOnRefusal::Denied)?;
        let redirect = callback_of(finish.callbacks, organization);
        let proven = self.exchanged(&provider, &known, flow, code, &redirect).await?;
        Ok((provider, proven))
    }

    async fn exchanged(
        &self,
        provider: &ProviderRecord,
        known: &std::sync::Arc<Known>,
        flow: &SignInFlow,
        code: &str,
        redirect: &str,
    ) -> Result<Proven, SingleSignOnError> {
        let secret = providers::client_secret(&self.seal, provider).map_err(PlatformError::from)?;
        let verifier = self.seal.open_as(&verifier_of(&flow.state_hash), &flow.verifier_sealed);
        let verifier = verifier.map_err(PlatformError::from)?;
        let credentials = Credentials {
            client_id: &provider.client_id,
            client_secret: secret.as_ref().map(|secret| secret.as_str()),
            redirect,
        };
        let exchange = Exchange {
            code,
            verifier: std::str::from_utf8(&verifier).unwrap_or_default(),
            nonce_hash: &flow.nonce_hash,
        };
        let proven = self.openid.exchange(&flow.issuer, known, &credentials, &exchange, self.now()).await;
        proven.map_err(|error| not_proven(&error))
    }

    /// Signs in whom the provider has proven, in the role that it gives now.
    async fn admit(
        &self,
        flow: &SignInFlow,
        finish: &FinishSingleSignOn<'_>,
        (provider, proven): (ProviderRecord, Proven),
    ) -> Result<SignedInElsewhere, SingleSignOnError> {
        let role = providers::values(&provider).role_of(&proven.claims, &provider.role_claim);
        let Some(role) = role else {
            self.end_access(flow.organization, &proven.subject).await?;
            return self.refuse(flow, finish, SingleSignOnRefusal::NoRole).await;
        };
        let newcomer = match Newcomer::new(flow.organization, role, &proven) {
            Ok(newcomer) => newcomer,
            Err(refusal) => return self.refuse(flow, finish, refusal).await,
        };
        let visit = Visit { address: finish.address, agent: finish.agent.to_owned(), device: None };
        let initiator = newcomer.initiator();
        let signed_in = self
            .act(&initiator, Action::SignIn, OBJECT, async move |act: &mut Act| {
                // It may have been changed or removed while it was asked; then nobody is signed in by it.
                let now = act.tx.provider(provider.organization).await?;
                if now.as_ref() != Some(&provider) {
                    return Err(ActionRefusal::SingleSignOn(SingleSignOnRefusal::Changed).into());
                }
                let account::Admitted { id, note } = account::find_or_make(act, &newcomer).await?;
                let user = act.tx.user(id).await?;
                let user = user.ok_or(PlatformError::NotFound { resource: Resource::User })?;
                let session = begin_session(act, user, true, &visit).await?;
                act.made(Resource::User, id);
                act.describe(format!("by single sign-on, {note}, from {}", visit.address));
                Ok::<_, PlatformError>(session)
            })
            .await;
        Ok(SignedInElsewhere { session: signed_in?, go_to: flow.go_to.clone() })
    }

    /// Ends what a user still has to whom the provider gives no role any more.
    async fn end_access(&self, organization: OrganizationId, subject: &str) -> Result<(), PlatformError> {
        let subject = subject.to_owned();
        let known = self
            .look(async move |tx| {
                Ok::<_, PlatformError>(tx.account_by_subject(organization, &subject).await?)
            })
            .await?;
        let Some(account) = known else { return Ok(()) };
        let object = format!("{} {}", Resource::User, account.id);
        self.act(&Initiator::System, Action::RevokeSession, object, async move |act: &mut Act| {
            act.concerns(organization);
            let told = account::shut_out(act, account.id).await?;
            act.describe(told);
            Ok(())
        })
        .await
    }

    /// Notes in the organization's log that somebody was refused, and refuses.
    async fn refuse<T>(
        &self,
        flow: &SignInFlow,
        finish: &FinishSingleSignOn<'_>,
        refusal: SingleSignOnRefusal,
    ) -> Result<T, SingleSignOnError> {
        let stranger = Initiator::Stranger { address: finish.address };
        let organization = flow.organization;
        let told = self
            .note(&stranger, Action::SignIn, OBJECT, async move |act: &mut Act| {
                act.concerns(organization);
                Err::<T, _>(PlatformError::from(ActionRefusal::from(refusal.clone())))
            })
            .await;
        told.ended.map_err(SingleSignOnError::from)
    }
}

async fn require_room(
    tx: &mut Tx,
    organization: OrganizationId,
    address: &str,
    now: Timestamp,
) -> Result<(), PlatformError> {
    let from = tx.count_sign_in_flows_from(address, now).await?;
    let of = tx.count_sign_in_flows_of(organization, now).await?;
    if from >= SIGN_IN_FLOWS_OF_ADDRESS_MAX || of >= SIGN_IN_FLOWS_OF_ORGANIZATION_MAX {
        return Err(ActionRefusal::from(SingleSignOnRefusal::TooMany).into());
    }
    Ok(())
}

/// Converts what a provider cannot be asked for into what its user is told; the log says why.
fn away(error: &OpenIdError) -> SingleSignOnError {
    debug!(why = error_chain(error), "an identity provider is of no use now");
    SingleSignOnError::Away
}

/// Converts what a provider tells in place of a code. Its own words go nowhere: anybody can write that URL.
fn told_instead(error: &str) -> SingleSignOnError {
    const ASKED_WRONGLY: [&str; 5] = [
        "invalid_request",
        "invalid_scope",
        "request_not_supported",
        "unauthorized_client",
        "unsupported_response_type",
    ];
    if ["server_error", "temporarily_unavailable"].contains(&error) {
        return SingleSignOnError::Away;
    }
    let known = ASKED_WRONGLY.into_iter().find(|known| *known == error);
    known.map_or(SingleSignOnRefusal::Denied, |error| SingleSignOnRefusal::AskedWrongly { error }).into()
}

fn not_proven(error: &OpenIdError) -> SingleSignOnError {
    if error.is_away() {
        return away(error);
    }
    SingleSignOnRefusal::NotProven { what: error_chain(error) }.into()
}
