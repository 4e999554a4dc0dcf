//! A form as a page shows it: with what is so, or with what was sent from it in vain, and what is wrong with that.

use super::ask::Refused;
use super::sent::Sent;
use adit_net::identity::random;

/// One form of a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form<'f> {
    again: Option<(&'f Sent, &'f Refused)>,
}

impl<'f> Form<'f> {
    /// Makes one from what was sent from it, if it was.
    pub(super) fn new(sent: Option<&'f Sent>, refused: Option<&'f Refused>) -> Self {
        Self { again: sent.zip(refused) }
    }

    /// Returns the one of two that are one on the page, by different buttons, that was sent.
    pub(super) fn or(self, other: Self) -> Self {
        if self.again.is_some() { self } else { other }
    }

    fn sent(&self, name: &str) -> Option<&'f str> {
        self.again.and_then(|(sent, _)| sent.value(name))
    }

    /// Returns what stands in a field.
    pub(super) fn text(&self, name: &str, now: &'f str) -> &'f str {
        self.sent(name).unwrap_or(now)
    }

    /// Returns whether an option is the one that is chosen.
    pub(super) fn is_chosen(&self, name: &str, option: &str, now: &str) -> bool {
        self.sent(name).unwrap_or(now) == option
    }

    /// Returns whether what was chosen is not there any more, so that it is chosen anew: nobody chooses by not looking.
    pub(super) fn lacks(&self, name: &str, options: impl IntoIterator<Item = impl AsRef<str>>) -> bool {
        self.sent(name).is_some_and(|sent| options.into_iter().all(|option| option.as_ref() != sent))
    }

    pub(super) fn is_ticked(&self, name: &str, now: bool) -> bool {
        self.again.map_or(now, |(sent, _)| sent.value(name).is_some())
    }

    /// Returns by what the form is known when it is sent again: by the same, unless it is known to have made something.
    pub(super) fn key(&self) -> String {
        let kept = self.again.filter(|(_, refused)| !refused.is("key-reused") && !refused.is("shown-before"));
        let kept = kept.and_then(|(sent, _)| sent.value("key")).filter(|key| !key.is_empty());
        kept.map_or_else(|| hex::encode(random::bytes::<16>()), str::to_owned)
    }

    /// Returns of which state of a thing it is. What was changed meanwhile was shown beside what was typed, so what is
    /// sent next is of the state that is now.
    pub(super) fn tag(&self, now: &'f str) -> &'f str {
        if self.is_outdated() { now } else { self.text("tag", now) }
    }

    /// Returns what a field holds now, where it was changed since the form was shown and something else was sent.
    pub(super) fn meanwhile(&self, name: &str, now: &'f str) -> Option<&'f str> {
        (self.is_outdated() && self.sent(name).is_some_and(|sent| sent != now)).then_some(now)
    }

    fn is_outdated(&self) -> bool {
        self.again.is_some_and(|(_, refused)| refused.is("changed"))
    }

    /// Returns whether a secret was sent in a field, so that it is typed once more.
    pub(super) fn is_emptied(&self, name: &str) -> bool {
        self.again.is_some_and(|(sent, _)| sent.is_emptied(name))
    }

    /// Returns what is wrong with a field.
    pub(super) fn wrong(&self, name: &str) -> Option<&'f str> {
        let (_, refused) = self.again.filter(|(_, refused)| refused.field.as_deref() == Some(name))?;
        let said = refused.detail.strip_prefix('`').and_then(|rest| rest.strip_prefix(name));
        Some(said.and_then(|rest| rest.strip_prefix("`: ")).unwrap_or(&refused.detail))
    }

    /// Returns the attributes of a field: where something is wrong with it, that it is, and where that is said.
    pub(super) fn marks(&self, name: &str) -> String {
        self.wrong(name)
            .map_or_else(String::new, |_| format!(" aria-invalid=\"true\" aria-describedby=\"wrong-{name}\""))
    }
}
