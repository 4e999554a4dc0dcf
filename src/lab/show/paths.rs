//! The demo's last act: everything through the relay, then the path changed underneath transfers
//! that run.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{Demo, DemoError, LOOK_EVERY, Row, UP_WITHIN};
use crate::dicom::modality::Modality;
use crate::dicom::object::Object;
use crate::messages::{Generator, Message};
use crate::sender::{Connections, Sender};
use adit_core::domain::path::{PathKind, PathPreference};

const CHANGE_EVERY: Duration = Duration::from_millis(200);

impl Demo {
    /// Forces the relay alone, then a path that changes every 200 ms; both paths are open to all at the end.
    pub(super) async fn change_paths(&self, say: &impl Fn(&str)) -> Result<Vec<Row>, DemoError> {
        let cut_before = self.streams_cut();
        let mut rows = Vec::new();
        self.take_path(PathPreference::only(PathKind::Relay)).await?;
        say("Both agents are told to use the gateway's relay, as hosts must that cannot reach each other. \
             It forwards packets that it cannot read. No port closed, no tunnel was opened anew.");
        let series = [Object::series(14, 10, 512 * 1024), Object::series(15, 1, 32 * 1024 * 1024)];
        let (sender, modality) = (self.kept_sender(), Modality::to(self.ports.objects));
        let st_mary = &self.stand_ins.st_mary;
        rows.push(self.check("A → B, 4 connections", st_mary, sender.send_from_all(sources(8))).await?);
        rows.push(self.check_objects("A → B, 2 associations", modality.send_from_all(series)).await?);

        say(
            "Now they change between the direct path, the relay, and the relay over TCP 443 every 200 ms, while \
             messages and objects of 32 MiB pass side by side …",
        );
        let changes_before = self.agent_a.path_changes();
        let large = Object::series(16, 8, 32 * 1024 * 1024);
        let passing = async {
            tokio::join!(
                self.check("A → B, 4 connections", st_mary, sender.send_from_all(sources(12))),
                self.check_objects("A → B, 32 MiB objects", modality.send(large)),
            )
        };
        let (messages, objects) = tokio::select! {
            both = passing => both,
            never = self.keep_changing() => match never? {},
        };
        rows.extend([messages?, objects?].map(|row| Row { path: "all in turn", ..row }));
        self.take_path(PathPreference::AUTO).await?;
        let (changes, cut) = (self.agent_a.path_changes() - changes_before, self.streams_cut() - cut_before);
        if cut > 0 {
            return Err(DemoError::Cut { cut });
        }
        say(&format!(
            "… and in {changes} changes of path no TCP connection broke: every message and every hash is the \
             one that was sent."
        ));
        Ok(rows)
    }

    async fn keep_changing(&self) -> Result<Infallible, DemoError> {
        loop {
            for kind in PathKind::ALL {
                self.take_path(PathPreference::only(kind)).await?;
                sleep(CHANGE_EVERY).await;
            }
        }
    }

    /// Allows only `choice` at both ends and waits until it is in use.
    async fn take_path(&self, choice: PathPreference) -> Result<(), DemoError> {
        let agents = [&self.agent_a, &self.agent_b];
        for agent in agents {
            agent.choose_path(choice);
        }
        let deadline = Instant::now() + UP_WITHIN;
        while !agents.iter().all(|agent| agent.path_in_use().is_some_and(|path| choice.allows(path))) {
            if Instant::now() > deadline {
                return Err(DemoError::NotUp { what: format!("the path {choice}") });
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn streams_cut(&self) -> u64 {
        self.agent_a.streams_cut() + self.agent_b.streams_cut()
    }

    pub(super) fn kept_sender(&self) -> Sender {
        let connections = Connections::KeptOpen { in_flight: NonZeroUsize::MIN };
        Sender { connections, ..Sender::to(self.ports.messages) }
    }
}

/// Returns 300 messages for each of 4 connections.
pub(super) fn sources(seed: u64) -> Vec<Vec<Message>> {
    (seed..seed + 4).map(|seed| Generator::new(seed).take(300).collect()).collect()
}
