//! A stand-in PACS: a storage provider that answers C-ECHO and C-STORE, and keeps a journal of what
//! it was sent, so that a test can tell exactly once from nearly.
//!
//! How it treats what comes is told by a [`Treatment`], which can change while it runs. It keeps of
//! an object its instance, length and digest; never its content.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use dicom_ul::association::Error;
use dicom_ul::association::server::{
    AccessControl, AsyncServerAssociation, DefaultNegotiation, ServerAssociationOptions,
};
use dicom_ul::pdu::{
    AbortRQSource, AssociationRJServiceUserReason, PDataValue, PDataValueType, Pdu, UserIdentity,
};
use parking_lot::{Mutex, MutexGuard};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::PDU_BYTES_MAX;
use super::command::{C_ECHO, C_STORE, CommandSet};
use crate::accept;
use crate::measure::Digest;
use adit_core::domain::limits::DICOM_COMMAND_BYTES_MAX;

use crate::limits::{STAND_IN_CONNECTIONS_MAX, STAND_IN_JOURNAL_MAX};

/// What a stand-in does with those who call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Accepts, and answers every object with `status`.
    Answer { status: u16 },
    /// Refuses associations: called AE title not recognized.
    Reject,
    /// Accepts, and aborts when the first object has come.
    Abort,
}

impl Treatment {
    /// What a well PACS does.
    pub const STORE: Self = Self::Answer { status: 0 };
}

/// An object in the journal, in the order of arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The association it came on, numbered from zero.
    pub association: u64,
    /// Its SOP instance UID.
    pub instance: String,
    /// Of its data set.
    pub digest: Digest,
    pub bytes: u64,
}

/// How an association ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Released,
    /// The sender broke it off.
    Aborted,
    /// The stand-in refused or aborted it, as its treatment says.
    Own,
    /// The connection ended without a word, or what came made no sense.
    Lost,
}

/// A running stand-in. Dropping it stops it.
#[derive(Debug)]
pub struct Pacs {
    address: SocketAddr,
    treatment: watch::Sender<Treatment>,
    journal: Arc<Journal>,
    /// Dropped to stop the listener and every association.
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Pacs {
    pub fn start(listener: TcpListener, treatment: Treatment) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (treatment, watched) = watch::channel(treatment);
        let (stop, stopped) = watch::channel(());
        let journal = Arc::new(Journal::default());
        let task = tokio::spawn(serve(listener, Arc::clone(&journal), watched, stopped));
        Ok(Self { address, treatment, journal, stop, task })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens from the next association or object on.
    pub fn treat(&self, treatment: Treatment) {
        self.treatment.send_replace(treatment);
    }

    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Closes the port and every association, and waits until they are closed.
    pub async fn shutdown(self) {
        drop(self.stop);
        // The task neither panics nor is it cancelled elsewhere; either way it is over.
        let _ = self.task.await;
    }
}

async fn serve(
    listener: TcpListener,
    journal: Arc<Journal>,
    treatment: watch::Receiver<Treatment>,
    stopped: watch::Receiver<()>,
) {
    let take = |number, stream, associations: &mut JoinSet<()>| {
        if associations.len() >= STAND_IN_CONNECTIONS_MAX {
            return;
        }
        let (treatment, journal) = (treatment.clone(), Arc::clone(&journal));
        associations.spawn(async move {
            let end = converse(number, stream, &treatment, &journal).await.unwrap_or(End::Lost);
            journal.end(end);
        });
    };
    accept::until_stopped(listener, stopped, take).await;
}

type Association = AsyncServerAssociation<TcpStream>;

async fn converse(
    number: u64,
    stream: TcpStream,
    treatment: &watch::Receiver<Treatment>,
    journal: &Journal,
) -> Result<End, Error> {
    // Answers are small; held back they would wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let refuses = *treatment.borrow() == Treatment::Reject;
    let association = match options(refuses).establish_async(stream).await {
        Err(Error::Rejected { .. }) if refuses => return Ok(End::Own),
        association => association?,
    };
    let mut conversation = Conversation { number, association, treatment, journal, message: None };
    loop {
        match conversation.association.receive().await? {
            Pdu::PData { data } => {
                for value in data {
                    if let Some(end) = conversation.take(value).await? {
                        return Ok(end);
                    }
                }
            }
            Pdu::ReleaseRQ => {
                conversation.association.send(&Pdu::ReleaseRP).await?;
                return Ok(End::Released);
            }
            Pdu::AbortRQ { .. } => return Ok(End::Aborted),
            _ => return Ok(End::Lost),
        }
    }
}

fn options(refuses: bool) -> ServerAssociationOptions<'static, AssociationAccess, DefaultNegotiation> {
    ServerAssociationOptions::new()
        .ae_access_control(AssociationAccess { refuses })
        .ae_title("STAND-IN")
        .max_pdu_length(PDU_BYTES_MAX)
        .promiscuous(true)
}

struct AssociationAccess {
    refuses: bool,
}

impl AccessControl for AssociationAccess {
    fn check_access(
        &self,
        _own: &str,
        _calling: &str,
        _called: &str,
        _user: Option<&UserIdentity>,
    ) -> Result<(), AssociationRJServiceUserReason> {
        if self.refuses { Err(AssociationRJServiceUserReason::CalledAETitleNotRecognized) } else { Ok(()) }
    }
}

struct Conversation<'a> {
    number: u64,
    association: Association,
    treatment: &'a watch::Receiver<Treatment>,
    journal: &'a Journal,
    message: Option<Message>,
}

/// A message that is not whole yet.
enum Message {
    Command(Vec<u8>),
    Object { command: CommandSet, digest: digest::Context, bytes: u64 },
}

impl Conversation<'_> {
    /// Returns the next fragment; the association's end if that is what comes of it.
    async fn take(&mut self, value: PDataValue) -> Result<Option<End>, Error> {
        let is_command = value.value_type == PDataValueType::Command;
        let mut message = match self.message.take() {
            None if is_command => Message::Command(Vec::new()),
            Some(message) if matches!(message, Message::Command(_)) == is_command => message,
            _ => return Ok(Some(End::Lost)),
        };
        match &mut message {
            Message::Command(bytes) if bytes.len() + value.data.len() > DICOM_COMMAND_BYTES_MAX => {
                return Ok(Some(End::Lost));
            }
            Message::Command(bytes) => bytes.extend_from_slice(&value.data),
            Message::Object { digest, bytes, .. } => {
                digest.update(&value.data);
                *bytes += value.data.len() as u64;
            }
        }
        if !value.is_last {
            self.message = Some(message);
            return Ok(None);
        }
        match message {
            Message::Command(bytes) => self.handle_command(&bytes, value.presentation_context_id).await,
            Message::Object { command, digest, bytes } => {
                let digest = Digest::finish(digest);
                self.store(&command, digest, bytes, value.presentation_context_id).await
            }
        }
    }

    async fn handle_command(&mut self, bytes: &[u8], context: u8) -> Result<Option<End>, Error> {
        let Some(command) = CommandSet::read(bytes) else { return Ok(Some(End::Lost)) };
        match command.field() {
            C_ECHO => {
                self.journal.entries().echoes += 1;
                self.answer(&command.answered(0), context).await?;
                Ok(None)
            }
            C_STORE if command.has_data_set() => {
                let digest = digest::Context::new(&digest::SHA256);
                self.message = Some(Message::Object { command, digest, bytes: 0 });
                Ok(None)
            }
            _ => Ok(Some(End::Lost)),
        }
    }

    async fn store(
        &mut self,
        command: &CommandSet,
        digest: Digest,
        bytes: u64,
        context: u8,
    ) -> Result<Option<End>, Error> {
        let treatment = *self.treatment.borrow();
        match treatment {
            Treatment::Answer { status } => {
                let instance = command.instance();
                self.journal.record(Stored { association: self.number, instance, digest, bytes });
                self.answer(&command.answered(status), context).await?;
                Ok(None)
            }
            Treatment::Reject | Treatment::Abort => {
                let source = AbortRQSource::ServiceUser;
                self.association.send(&Pdu::AbortRQ { source }).await?;
                Ok(Some(End::Own))
            }
        }
    }

    async fn answer(&mut self, command: &CommandSet, context: u8) -> Result<(), Error> {
        self.association.send(&super::command_pdu(command, context)).await
    }
}

/// What a stand-in was sent. The oldest objects are forgotten beyond `STAND_IN_JOURNAL_MAX`; the
/// count goes on.
#[derive(Debug, Default)]
pub struct Journal {
    entries: Mutex<Entries>,
    count: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Entries {
    stored: VecDeque<Stored>,
    ends: VecDeque<End>,
    echoes: u64,
}

impl Journal {
    /// Returns the number of objects in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        *self.count.borrow()
    }

    #[must_use]
    pub fn echoes(&self) -> u64 {
        self.entries().echoes
    }

    /// Returns the objects remembered, in the order of arrival.
    #[must_use]
    pub fn stored(&self) -> Vec<Stored> {
        self.entries().stored.iter().cloned().collect()
    }

    /// Returns how associations ended, in the order of their end.
    #[must_use]
    pub fn ends(&self) -> Vec<End> {
        self.entries().ends.iter().copied().collect()
    }

    /// Waits until `count` objects came in all; whether they did before `within` was over.
    pub async fn reaches(&self, count: u64, within: Duration) -> bool {
        let mut counted = self.count.subscribe();
        let reached = counted.wait_for(|&now| now >= count);
        tokio::time::timeout(within, reached).await.is_ok()
    }

    fn record(&self, stored: Stored) {
        push(&mut self.entries().stored, stored);
        self.count.send_modify(|count| *count += 1);
    }

    fn end(&self, end: End) {
        push(&mut self.entries().ends, end);
    }

    /// Locks the entries, poisoned or not: entries are whole after every change, so a panic elsewhere leaves
    /// nothing half-done.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock()
    }
}

fn push<T>(journal: &mut VecDeque<T>, entry: T) {
    if journal.len() == STAND_IN_JOURNAL_MAX {
        journal.pop_front();
    }
    journal.push_back(entry);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_journal_forgets_the_oldest() {
        let mut journal = VecDeque::new();
        (0..STAND_IN_JOURNAL_MAX + 2).for_each(|number| push(&mut journal, number));
        assert_eq!((journal.len(), journal.front()), (STAND_IN_JOURNAL_MAX, Some(&2)));
    }
}
