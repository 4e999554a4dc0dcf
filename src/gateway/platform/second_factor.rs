//! The second factor: one-time passwords by the clock (RFC 6238), and recovery codes for when there is no clock at
//! hand. A seed is kept sealed for its user alone, a recovery code as a hash; each code counts once.

use adit_core::domain::digest::sha256;
use adit_core::domain::id::UserId;
use adit_core::domain::limits::RECOVERY_CODES;
use adit_core::domain::role::Permission;
use adit_core::domain::secret::{Code, Password, SecretLink};
use adit_core::domain::time::Timestamp;
use adit_net::identity::random;
use subtle::ConstantTimeEq;
use totp_rs::{Algorithm, Builder, Totp};
use zeroize::Zeroizing;

use crate::store::{Sealed, UserRecord};

use super::act::Act;
use super::attempts::Tried;
use super::error::PlatformError;
use super::people::{PeopleRefusal, Visit};
use super::seal::SealError;
use super::signed::{NewSession, SignInStage, Signed, own_account, renew_session};
use super::{Action, Initiator, Platform};

/// RFC 4226 §4 R6: 160 bits are recommended.
const SEED_BYTES: usize = 20;
const STEP_SECONDS: i64 = 30;
const DIGITS: u8 = 6;
/// How far a clock may be off, in steps, either way.
const STEPS_OFF: i64 = 1;
/// Of a recovery code: 80 bits, which nobody guesses, so that a plain hash will do.
const RECOVERY_BYTES: usize = 10;
const RECOVERY_GROUP: usize = 4;
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// What a user is shown once.
#[derive(Debug)]
pub struct RecoveryCodes(pub Vec<Code>);

impl Platform {
    /// Completes a sign-in whose password was right, with a code by the clock or a recovery code. The session is
    /// replaced by a whole one.
    pub async fn show_second_factor(
        &self,
        signed: &Signed,
        code: &Code,
        visit: &Visit,
    ) -> Result<NewSession, PlatformError> {
        if signed.stage != SignInStage::SecondFactor {
            return Err(PeopleRefusal::NoSecondFactor.into());
        }
        let (taken, _) = self.take_attempt(Tried::Code, signed.account, visit).await?;
        let by = Initiator::Stranger { address: visit.address };
        let object = format!("user {}", signed.user.email);
        let (own, code, visit) = (signed.clone(), code.clone(), visit.clone());
        let shown = self
            .act(&by, Action::SignIn, object, async move |act: &mut Act| {
                act.concerns(own.organization());
                let user = own_account(act, &own).await?;
                let by = prove_code(act, &user, &code).await?;
                act.told_by(user.called());
                act.describe(format!("from {}, with {by}", visit.address));
                renew_session(act, user, own.session, &visit).await
            })
            .await?;
        self.give_back(taken);
        Ok(shown)
    }

    /// Makes a seed, and returns the link that an authenticator reads. It counts once it is confirmed. The password is
    /// shown again: a browser that somebody left is no place to shut its user out from (OWASP ASVS 5.0 §7.5.1).
    pub async fn begin_second_factor(
        &self,
        signed: &Signed,
        password: &Password,
        visit: &Visit,
    ) -> Result<SecretLink, PlatformError> {
        if signed.stage == SignInStage::SecondFactor {
            return Err(PeopleRefusal::SessionEnded.into());
        }
        let shown = self.prove_password(signed, password, visit).await?;
        let (object, own) = (format!("user {}", signed.user.email), signed.clone());
        self.act(&signed.on_own_account(), Action::SetUpSecondFactor, object, async move |act: &mut Act| {
            let user = whole_account(act, &own).await?;
            if user.password != shown.password {
                return Err(PeopleRefusal::WrongPassword.into());
            }
            if user.has_second_factor() {
                return Err(PeopleRefusal::SecondFactorSet.into());
            }
            let seed = Zeroizing::new(random::bytes::<SEED_BYTES>());
            let sealed = act.seal.seal_as(&what_of(user.id), &*seed)?;
            act.tx.put_totp(user.id, &Sealed(sealed)).await?;
            act.describe("begun; it counts once it is confirmed");
            link(&seed, &user)
        })
        .await
    }

    /// Confirms the set-up by a code, and returns the recovery codes. Rights may be raised: the session is
    /// replaced, and others end.
    pub async fn confirm_second_factor(
        &self,
        signed: &Signed,
        code: &Code,
        visit: &Visit,
    ) -> Result<(NewSession, RecoveryCodes), PlatformError> {
        let (taken, _) = self.take_attempt(Tried::Code, signed.account, visit).await?;
        let object = format!("user {}", signed.user.email);
        let (own, code, visit) = (signed.clone(), code.clone(), visit.clone());
        let confirmed = self
            .act(&signed.on_own_account(), Action::SetUpSecondFactor, object, async move |act: &mut Act| {
                let user = whole_account(act, &own).await?;
                if user.has_second_factor() {
                    return Err(PeopleRefusal::SecondFactorSet.into());
                }
                prove_totp(act, &user, &code).await?;
                act.tx.start_totp(&user, act.now).await?;
                act.tx.void_devices(user.id).await?;
                let codes = renew_codes(act, user.id).await?;
                act.tx.delete_sessions_of(&user, Some(own.session)).await?;
                act.describe("confirmed");
                let user = act.reread_user(user.id).await?;
                Ok::<_, PlatformError>((renew_session(act, user, own.session, &visit).await?, codes))
            })
            .await?;
        self.give_back(taken);
        Ok(confirmed)
    }

    /// Forgets the second factor, shown once more, unless the organization needs one.
    pub async fn remove_second_factor(
        &self,
        signed: &Signed,
        code: &Code,
        visit: &Visit,
    ) -> Result<(), PlatformError> {
        let (taken, _) = self.take_attempt(Tried::Code, signed.account, visit).await?;
        let object = format!("user {}", signed.user.email);
        let (own, code) = (signed.clone(), code.clone());
        self.act(&signed.initiator(), Action::RemoveSecondFactor, object, async move |act: &mut Act| {
            let user = prove_again(act, &own, &code).await?;
            if user.needs_second_factor {
                return Err(PeopleRefusal::SecondFactorNeeded.into());
            }
            act.tx.drop_totp(&user, act.now).await.map_err(PlatformError::from)
        })
        .await?;
        self.give_back(taken);
        Ok(())
    }

    /// Makes new recovery codes; the old ones are void.
    pub async fn renew_recovery_codes(
        &self,
        signed: &Signed,
        code: &Code,
        visit: &Visit,
    ) -> Result<RecoveryCodes, PlatformError> {
        let (taken, _) = self.take_attempt(Tried::Code, signed.account, visit).await?;
        let object = format!("user {}", signed.user.email);
        let (own, code) = (signed.clone(), code.clone());
        let codes = self
            .act(&signed.initiator(), Action::RenewRecoveryCodes, object, async move |act: &mut Act| {
                let user = prove_again(act, &own, &code).await?;
                renew_codes(act, user.id).await
            })
            .await?;
        self.give_back(taken);
        Ok(codes)
    }

    /// Sets whether users with a password need a second factor. Those who have none can do nothing else from then
    /// on but set one up.
    pub async fn set_second_factor_rule(
        &self,
        signed: &Signed,
        is_needed: bool,
    ) -> Result<(), PlatformError> {
        let (object, own) = (format!("organization {}", signed.organization()), signed.clone());
        self.act(&signed.initiator(), Action::SetSecondFactorRule, object, async move |act: &mut Act| {
            let organization = act.member(Permission::ManageUsers)?;
            let user = own_account(act, &own).await?;
            if is_needed && user.password.is_some() && !user.has_second_factor() {
                return Err(PeopleRefusal::OwnSecondFactorFirst.into());
            }
            act.tx.set_second_factor_rule(organization, is_needed).await?;
            act.describe(if is_needed { "users need a second factor" } else { "users need none" });
            Ok(())
        })
        .await
    }

    /// Returns how many recovery codes a user has left.
    pub async fn recovery_codes_left(&self, signed: &Signed) -> Result<u32, PlatformError> {
        let id = signed.id();
        self.look(async move |tx| Ok::<_, PlatformError>(tx.recovery_codes_left(id).await?)).await
    }
}

/// Returns the account of who has shown all factors it has.
async fn whole_account(act: &mut Act, signed: &Signed) -> Result<UserRecord, PlatformError> {
    if signed.stage == SignInStage::SecondFactor {
        return Err(PeopleRefusal::SessionEnded.into());
    }
    own_account(act, signed).await
}

/// Returns the account of who shows the second factor once more.
async fn prove_again(act: &mut Act, signed: &Signed, code: &Code) -> Result<UserRecord, PlatformError> {
    let user = whole_account(act, signed).await?;
    if !user.has_second_factor() {
        return Err(PeopleRefusal::NoSecondFactor.into());
    }
    prove_code(act, &user, code).await?;
    Ok(user)
}

/// Uses up a code of either kind; returns which it was.
async fn prove_code(act: &mut Act, user: &UserRecord, code: &Code) -> Result<&'static str, PlatformError> {
    if is_by_clock(code) {
        prove_totp(act, user, code).await?;
        return Ok("a code");
    }
    let is_good = act.tx.use_recovery_code(user.id, &recovery_hash(user.id, code), act.now).await?;
    if is_good { Ok("a recovery code") } else { Err(PeopleRefusal::WrongCode.into()) }
}

/// Uses up a code by the clock: neither it nor an earlier one counts again.
async fn prove_totp(act: &mut Act, user: &UserRecord, code: &Code) -> Result<(), PlatformError> {
    let sealed = user.totp.as_ref().ok_or(PeopleRefusal::NoSecondFactor)?;
    let seed = act.seal.open_as(&what_of(user.id), &sealed.0)?;
    let step = step_of(&seed, code, act.now)?.filter(|step| user.totp_step.is_none_or(|last| *step > last));
    let step = step.ok_or(PeopleRefusal::WrongCode)?;
    Ok(act.tx.set_totp_step(user.id, step).await?)
}

fn is_by_clock(code: &Code) -> bool {
    digits(code).len() == usize::from(DIGITS) && digits(code).bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns a code as it is compared; people write it in groups.
fn digits(code: &Code) -> Zeroizing<String> {
    Zeroizing::new(code.expose().chars().filter(|char| !char.is_whitespace()).collect())
}

/// Returns the newest step whose code it is, of those around now.
fn step_of(seed: &[u8], code: &Code, now: Timestamp) -> Result<Option<i64>, PlatformError> {
    let totp = totp(seed, None)?;
    let (shown, here) = (digits(code), now.as_secs().div_euclid(STEP_SECONDS));
    let mut found = None;
    // All are compared, so that the time tells nothing.
    for step in here - STEPS_OFF..=here + STEPS_OFF {
        let seconds = u64::try_from(step * STEP_SECONDS).unwrap_or_default();
        let expected = Zeroizing::new(totp.generate(seconds).to_string());
        if bool::from(expected.as_bytes().ct_eq(shown.as_bytes())) {
            found = Some(step);
        }
    }
    Ok(found)
}

fn totp(seed: &[u8], names: Option<(&str, &str)>) -> Result<Totp, PlatformError> {
    let builder = Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(DIGITS)
        .with_step_duration(STEP_SECONDS.cast_unsigned())
        .with_secret(seed.to_vec());
    let builder = match names {
        Some((issuer, account)) => builder.with_issuer(Some(issuer)).with_account_name(account),
        None => builder,
    };
    builder.build().map_err(|_| SealError::Unseal.into())
}

fn link(seed: &[u8; SEED_BYTES], user: &UserRecord) -> Result<SecretLink, PlatformError> {
    // A colon parts issuer and account in such a link.
    let issuer = format!("adit {}", user.organization_name).replace(':', " ");
    let account = user.email.as_str().replace(':', " ");
    let url = totp(seed, Some((&issuer, &account)))?.to_url();
    url.map(SecretLink::new).map_err(|_| SealError::Seal.into())
}

/// Says what is sealed, and whose.
fn what_of(user: UserId) -> String {
    format!("seed of the second factor of user {user}")
}

async fn renew_codes(act: &mut Act, user: UserId) -> Result<RecoveryCodes, PlatformError> {
    let codes: Vec<_> = (0..RECOVERY_CODES).map(|_| recovery_code(&random::bytes())).collect();
    let hashes: Vec<_> = codes.iter().map(|code| recovery_hash(user, code)).collect();
    act.tx.put_recovery_codes(user, &hashes).await?;
    Ok(RecoveryCodes(codes))
}

/// Writes bytes in groups of letters and digits that are told apart (RFC 4648 §6).
fn recovery_code(bytes: &[u8; RECOVERY_BYTES]) -> Code {
    let number = bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    let letters = RECOVERY_BYTES * 8 / 5;
    let mut text = String::new();
    for at in 0..letters {
        if at > 0 && at % RECOVERY_GROUP == 0 {
            text.push('-');
        }
        let five = (number >> ((letters - 1 - at) * 5)) & 31;
        text.extend(
            usize::try_from(five).ok().and_then(|five| BASE32.get(five)).map(|byte| char::from(*byte)),
        );
    }
    Code::new(text)
}

fn recovery_hash(user: UserId, code: &Code) -> [u8; 32] {
    let letters = code.expose().chars().filter(char::is_ascii_alphanumeric).map(|it| it.to_ascii_lowercase());
    let letters = Zeroizing::new(letters.collect::<String>());
    sha256(&Zeroizing::new([&user.as_bytes()[..], letters.as_bytes()].concat()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns the code that an authenticator shows which read the link.
    pub(crate) fn code_of(link: &SecretLink, now: Timestamp) -> Code {
        let (_, rest) = link.expose().split_once("secret=").unwrap();
        let secret = rest.split('&').next().unwrap();
        let seed = totp_rs::Secret::try_from_base32(secret).unwrap();
        let totp = Builder::new().with_secret(seed).build().unwrap();
        Code::new(totp.generate(now.as_secs().cast_unsigned()).to_string())
    }

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238 appendix B, SHA-1: the last six digits of eight.
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            let step = step_of(
                b"12345678901234567890",
                &Code::new(code.to_owned()),
                Timestamp::from_millis(seconds * 1_000),
            );
            assert_eq!(step.unwrap(), Some(seconds / STEP_SECONDS), "{code}");
        }
    }

    #[test]
    fn a_clock_may_be_off_by_one_step() {
        let seed = [7; SEED_BYTES];
        let now = 1_795_510_800;
        let code = totp(&seed, None).unwrap().generate(now).to_string();
        let found = |off: i64| {
            let at = Timestamp::from_millis((now.cast_signed() + off * STEP_SECONDS) * 1_000);
            step_of(&seed, &Code::new(code.clone()), at).unwrap().is_some()
        };
        assert_eq!([-2, -1, 0, 1, 2].map(found), [false, true, true, true, false]);
    }

    #[test]
    fn a_recovery_code_is_read_however_it_is_written() {
        let code = recovery_code(&[0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0]);
        assert_eq!(code.expose(), "74ap-6ah7-ad7q-b7ya");
        let user = UserId::from_random([1; 16]);
        let again = Code::new(" 74AP6AH7 AD7Q-B7YA ".into());
        assert_eq!(recovery_hash(user, &code), recovery_hash(user, &again));
        assert_ne!(recovery_hash(user, &code), recovery_hash(UserId::from_random([2; 16]), &code));
    }
}
