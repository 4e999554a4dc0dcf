//! Which users of this host may connect to an entry's port, where its file says so.

use std::time::Instant;

use tokio::net::TcpStream;

use adit_core::config::agent::LocalUser;
use adit_core::domain::limits::{REFUSED_USERS_AUDITED_BURST, REFUSED_USERS_AUDITED_EVERY};
use adit_core::protocol::token_bucket::TokenBucket;
use adit_net::host::account;
use adit_net::transport::peer_user::{NoPeerUsers, PeerUser, PeerUsers};

/// Lets in whom the file names, and nobody else.
#[derive(Debug)]
pub(crate) struct LocalUsers {
    allowed: Vec<u32>,
    asks: Result<PeerUsers, NoPeerUsers>,
    written: TokenBucket,
    left_out: u64,
}

/// A connection that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RefusedUser {
    pub user: PeerUser,
    /// Whether it is written down, and then how many before it were not.
    pub left_out: Option<u64>,
}

impl LocalUsers {
    /// Resolves the users: names are looked up once; one that the host does not have any more lets nobody in.
    #[must_use]
    pub(crate) fn new(users: &[LocalUser]) -> Self {
        let id = |user: &LocalUser| match user {
            LocalUser::Id(id) => Some(*id),
            LocalUser::Name(name) => account::user_id(name),
        };
        let allowed = users.iter().filter_map(id).filter(|&id| LocalUser::can_be(id)).collect();
        Self {
            allowed,
            asks: PeerUsers::new(),
            written: TokenBucket::every(REFUSED_USERS_AUDITED_BURST, REFUSED_USERS_AUDITED_EVERY),
            left_out: 0,
        }
    }

    /// Returns why nobody at all can be let in.
    #[must_use]
    pub(crate) fn fault(&self) -> Option<&NoPeerUsers> {
        self.asks.as_ref().err()
    }

    /// Refuses a connection that was accepted unless one of these users made it.
    pub(crate) fn check(&mut self, tcp: &TcpStream, now: Instant) -> Result<(), RefusedUser> {
        let user = self.asks.as_mut().map_or(PeerUser::Unknown, |asks| asks.of(tcp));
        match user {
            PeerUser::Known(id) if self.allowed.contains(&id) => Ok(()),
            PeerUser::Known(_) | PeerUser::Unknown => Err(self.refuse(user, now)),
        }
    }

    fn refuse(&mut self, user: PeerUser, now: Instant) -> RefusedUser {
        let is_written = self.written.try_take(now);
        let left_out = is_written.then_some(self.left_out);
        self.left_out = if is_written { 0 } else { self.left_out + 1 };
        RefusedUser { user, left_out }
    }
}

impl RefusedUser {
    /// Returns the user's id, if it means one.
    #[must_use]
    pub(crate) fn id(&self) -> Option<u32> {
        match self.user {
            PeerUser::Known(id) => Some(id).filter(|&id| LocalUser::can_be(id)),
            PeerUser::Unknown => None,
        }
    }

    /// Returns what is said of it.
    #[must_use]
    pub(crate) fn what(&self) -> String {
        let who = match self.user {
            PeerUser::Known(id) if LocalUser::can_be(id) => format!("user id {id}"),
            PeerUser::Known(_) => "a user that this process's user namespace does not have".into(),
            PeerUser::Unknown => "a user that is not known".into(),
        };
        let more = match self.left_out {
            None | Some(0) => String::new(),
            Some(more) => format!(" ({more} more were not written)"),
        };
        format!("a connection of {who} was refused; `allow_users` names who may connect{more}")
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::TcpListener;

    use super::*;

    async fn accepted() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn only_the_users_named_are_let_in() {
        let own = rustix::process::geteuid().as_raw();
        let (_client, tcp) = accepted().await;
        let now = Instant::now();
        assert_eq!(LocalUsers::new(&[LocalUser::Id(own)]).check(&tcp, now), Ok(()));
        for others in [vec![LocalUser::Id(own + 1)], vec![LocalUser::Name("no-such-user-on-any-host".into())]]
        {
            let refused = LocalUsers::new(&others).check(&tcp, now).unwrap_err();
            assert_eq!(refused, RefusedUser { user: PeerUser::Known(own), left_out: Some(0) });
        }
    }

    #[tokio::test]
    async fn a_client_that_is_gone_is_not_let_in_as_root() {
        let (client, tcp) = accepted().await;
        drop(client);
        tcp.readable().await.unwrap();
        let refused = LocalUsers::new(&[LocalUser::Id(0)]).check(&tcp, Instant::now()).unwrap_err();
        assert_eq!(refused.user, PeerUser::Unknown);
    }

    #[test]
    fn what_is_written_of_refused_users_is_paced_with_a_count_of_what_was_left_out() {
        let mut users = LocalUsers::new(&[LocalUser::Id(1)]);
        let now = Instant::now();
        for _ in 0..REFUSED_USERS_AUDITED_BURST {
            assert_eq!(users.refuse(PeerUser::Known(2), now).left_out, Some(0));
        }
        for _ in 0..100 {
            assert_eq!(users.refuse(PeerUser::Known(2), now).left_out, None);
        }
        let later = now + REFUSED_USERS_AUDITED_EVERY;
        assert_eq!(users.refuse(PeerUser::Known(2), later).left_out, Some(100));
    }
}
