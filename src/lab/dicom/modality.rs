//! A modality that sends: one association for all its objects, or one for each as Mirth's DICOM
//! Sender has it; an object is answered before the next is sent, and none is sent twice.
//!
//! It reports what became of every object; it judges nothing.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dicom_ul::association::client::{AsyncClientAssociation, ClientAssociationOptions};
use dicom_ul::association::{Association as _, Error};
use dicom_ul::pdu::{PDataValue, PDataValueType, Pdu};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::command::CommandSet;
use super::object::Object;
use super::{IMPLICIT_VR_LITTLE_ENDIAN, PDU_BYTES_MAX, SECONDARY_CAPTURE, VERIFICATION};
use crate::measure::{Digest, Histogram};

/// Length, context and control of a presentation data value.
const VALUE_HEADER_BYTES: u32 = 6;

/// A sender's settings. Change them with `Modality { called, ..Modality::to(target) }`.
#[derive(Debug, Clone)]
pub struct Modality {
    pub target: SocketAddr,
    pub calling: String,
    pub called: String,
    /// One association for each object, as Mirth's DICOM Sender has it.
    pub association_each: bool,
    /// For every answer; Mirth waits so long.
    pub response_timeout: Duration,
}

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub instance: String,
    /// Of its data set.
    pub digest: Digest,
    pub bytes: u64,
    pub outcome: DicomOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DicomOutcome {
    Answered {
        status: u16,
        /// From the first byte written to the end of the answer.
        latency: Duration,
    },
    /// The association was refused.
    Rejected,
    /// The association was broken off.
    Aborted,
    TimedOut,
    /// The connection ended, could not be opened, or what came was no answer to this.
    Failed(String),
}

#[derive(Debug, Default)]
pub struct Report {
    pub sent: Vec<Sent>,
    pub latencies: Histogram,
    /// From the first object to the last answer.
    pub took: Duration,
}

impl Report {
    /// Returns the number of objects answered with success.
    #[must_use]
    pub fn accepted(&self) -> usize {
        let accepted = |sent: &&Sent| matches!(sent.outcome, DicomOutcome::Answered { status: 0, .. });
        self.sent.iter().filter(accepted).count()
    }

    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sent.iter().map(|sent| sent.bytes).sum()
    }
}

type Open = AsyncClientAssociation<TcpStream>;

impl Modality {
    #[must_use]
    pub fn to(target: SocketAddr) -> Self {
        Self {
            target,
            calling: "LAKESIDE_CT".into(),
            called: "STAND-IN".into(),
            association_each: false,
            response_timeout: Duration::from_secs(60),
        }
    }

    /// Verifies the connection; the status of the answer.
    pub async fn echo(&self) -> DicomOutcome {
        let since = Instant::now();
        let exchange = async {
            let mut open = self.open().await?;
            let command = CommandSet::echo(1, VERIFICATION);
            let status = self.ask(&mut open, VERIFICATION, &command, &[]).await?;
            within(self.response_timeout, open.release()).await?;
            Ok(DicomOutcome::Answered { status, latency: since.elapsed() })
        };
        exchange.await.unwrap_or_else(|outcome| outcome)
    }

    /// Sends one object after another.
    pub async fn send(&self, objects: impl IntoIterator<Item = Object>) -> Report {
        let started = Instant::now();
        let mut report = Report::default();
        let mut open = None;
        for object in objects {
            let outcome = self.send_one(&mut open, &object).await.unwrap_or_else(|outcome| {
                open = None;
                outcome
            });
            if let DicomOutcome::Answered { latency, .. } = outcome {
                report.latencies.record(latency);
            }
            report.sent.push(Sent {
                digest: object.digest,
                bytes: object.data_set.len() as u64,
                instance: object.instance,
                outcome,
            });
        }
        if let Some(open) = open {
            // What was answered stays answered.
            let _ = within(self.response_timeout, open.release()).await;
        }
        report.took = started.elapsed();
        report
    }

    /// Sends each series on an association of its own, all at once.
    pub async fn send_from_all<S>(&self, series: impl IntoIterator<Item = S>) -> Report
    where
        S: IntoIterator<Item = Object, IntoIter: Send> + Send + 'static,
    {
        let started = Instant::now();
        let mut sending = JoinSet::new();
        for objects in series {
            let modality = self.clone();
            sending.spawn(async move { modality.send(objects).await });
        }
        let mut all = Report::default();
        for report in sending.join_all().await {
            all.sent.extend(report.sent);
            all.latencies.add(&report.latencies);
        }
        all.took = started.elapsed();
        all
    }

    /// Sends one object and breaks the association off before it is whole.
    pub async fn abort_within(&self, object: &Object) -> Result<(), DicomOutcome> {
        let mut open = self.open().await?;
        let context = context_of(&open, SECONDARY_CAPTURE)?;
        let command = CommandSet::store(1, SECONDARY_CAPTURE, &object.instance);
        within(self.response_timeout, open.send(&super::command_pdu(&command, context))).await?;
        let half = &object.data_set[..object.data_set.len() / 2];
        self.write(&mut open, context, half, false).await?;
        within(self.response_timeout, open.abort()).await
    }

    /// Opens an association and ends its connection without a word.
    pub async fn hang_up(&self) -> Result<(), DicomOutcome> {
        self.open().await.map(drop)
    }

    async fn open(&self) -> Result<Open, DicomOutcome> {
        let options = ClientAssociationOptions::new()
            .calling_ae_title(self.calling.as_str())
            .called_ae_title(self.called.as_str())
            .with_presentation_context(VERIFICATION, vec![IMPLICIT_VR_LITTLE_ENDIAN])
            .with_presentation_context(SECONDARY_CAPTURE, vec![IMPLICIT_VR_LITTLE_ENDIAN])
            .max_pdu_length(PDU_BYTES_MAX);
        let mut open = within(self.response_timeout, options.establish_async(self.target)).await?;
        // As DCMTK has it: a short end of an object waits for nothing.
        let _ = open.inner_stream().set_nodelay(true);
        Ok(open)
    }

    async fn send_one(&self, open: &mut Option<Open>, object: &Object) -> Result<DicomOutcome, DicomOutcome> {
        let since = Instant::now();
        let mut association = match open.take() {
            Some(association) => association,
            None => self.open().await?,
        };
        let command = CommandSet::store(1, SECONDARY_CAPTURE, &object.instance);
        let status = self.ask(&mut association, SECONDARY_CAPTURE, &command, &object.data_set).await?;
        let latency = since.elapsed();
        if self.association_each {
            within(self.response_timeout, association.release()).await?;
        } else {
            *open = Some(association);
        }
        Ok(DicomOutcome::Answered { status, latency })
    }

    /// Sends a request with its data set, if it has one, and awaits the status of its answer.
    async fn ask(
        &self,
        open: &mut Open,
        class: &str,
        command: &CommandSet,
        data_set: &[u8],
    ) -> Result<u16, DicomOutcome> {
        let context = context_of(open, class)?;
        within(self.response_timeout, open.send(&super::command_pdu(command, context))).await?;
        if command.has_data_set() {
            self.write(open, context, data_set, true).await?;
        }
        match within(self.response_timeout, open.receive()).await? {
            Pdu::PData { data } => {
                let bytes: Vec<u8> = data.into_iter().flat_map(|value| value.data).collect();
                let answer = CommandSet::read(&bytes).filter(|answer| answer.responded_to() == Some(1));
                let status = answer.and_then(|answer| answer.status());
                status.ok_or_else(|| DicomOutcome::Failed("the answer is to something else".into()))
            }
            Pdu::AbortRQ { .. } => Err(DicomOutcome::Aborted),
            other => Err(DicomOutcome::Failed(other.short_description().to_string())),
        }
    }

    async fn write(
        &self,
        open: &mut Open,
        presentation_context_id: u8,
        data_set: &[u8],
        is_whole: bool,
    ) -> Result<(), DicomOutcome> {
        let room = open.peer_max_pdu_length().min(PDU_BYTES_MAX).saturating_sub(VALUE_HEADER_BYTES).max(2);
        let mut pieces = data_set.chunks(room as usize).peekable();
        while let Some(piece) = pieces.next() {
            let value = PDataValue {
                presentation_context_id,
                value_type: PDataValueType::Data,
                is_last: is_whole && pieces.peek().is_none(),
                data: piece.to_vec(),
            };
            within(self.response_timeout, open.send(&Pdu::PData { data: vec![value] })).await?;
        }
        Ok(())
    }
}

fn context_of(open: &Open, class: &str) -> Result<u8, DicomOutcome> {
    let context = open.presentation_contexts().iter().find(|context| context.abstract_syntax == class);
    context.map(|context| context.id).ok_or_else(|| DicomOutcome::Failed(format!("{class} was not accepted")))
}

/// Returns the result of a step, or what its failure means.
async fn within<T>(limit: Duration, step: impl Future<Output = Result<T, Error>>) -> Result<T, DicomOutcome> {
    match timeout(limit, step).await {
        Err(_) => Err(DicomOutcome::TimedOut),
        Ok(Err(Error::Rejected { .. })) => Err(DicomOutcome::Rejected),
        Ok(Err(error)) => Err(DicomOutcome::Failed(error.to_string())),
        Ok(Ok(done)) => Ok(done),
    }
}
