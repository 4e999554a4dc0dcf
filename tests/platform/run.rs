//! A sequence run by the product, each step of it compared with the model: the answer, every new audit entry, and some
//! of what people and agents see; all of it at the end.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::draft::{Draft, foundation};
use crate::model::{Model, Mutation};
use crate::outcome::{AgentView, Entry, Line, List, Outcome, Refusal, Status};
use crate::promises;
use crate::step::{Event, Step, Wish};
use crate::world::World;

/// What the product answered to a step and what was seen of it afterwards.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub(crate) step: Step,
    /// The status of the connection it is about, before.
    at: Option<Status>,
    outcome: Outcome,
    entries: Vec<Entry>,
    looks: Vec<Look>,
}

/// Something that was looked at.
#[derive(Debug, Clone)]
enum Look {
    List { list: List, viewer: Option<usize>, lines: BTreeSet<Line> },
    Agent { server: usize, view: AgentView },
    Log { organization: usize, entries: Vec<Entry> },
}

/// A sequence as the product ran it.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) begun_at: i64,
    pub(crate) sequence: u64,
    pub(crate) observed: Vec<Observed>,
}

/// A difference between product and model, at the end of a story.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) trace: Trace,
    pub(crate) what: String,
}

impl Difference {
    /// Writes the steps with their answers, and what differs after the last.
    pub(crate) fn story(&self) -> String {
        let mut story = String::new();
        for observed in &self.trace.observed {
            let _ = writeln!(story, "{}\n             → {:?}", observed.step, observed.outcome);
        }
        let _ = write!(story, "\n{}", self.what);
        story
    }
}

/// Runs a sequence until it ends or product and model differ; the model may be a wrong one.
pub(crate) async fn run(
    world: &mut World,
    draft: &Draft,
    mutation: Option<Mutation>,
) -> Result<Trace, Box<Difference>> {
    world.begin().await;
    let (begun_at, sequence) = (world.now(), world.sequence);
    let mut model = Model::new(sequence, begun_at, mutation);
    let mut trace = Trace { begun_at, sequence, observed: Vec::new() };
    let grounds = foundation(draft);
    let count = grounds.len() + draft.events.len();
    for number in 0..count {
        let drawn = number.checked_sub(grounds.len()).map(|number| &draft.events[number]);
        let step = drawn.map_or_else(|| grounds[number], |drawn| drawn.resolve(&model));
        let (mut observed, said) = observe(world, &model, step).await;
        observed.looks = match drawn {
            _ if number + 1 == count => all_looks(world).await,
            Some(drawn) => look(world, drawn.one.into()).await,
            None => Vec::new(),
        };
        let difference = judge(&mut model, &observed).err();
        trace.observed.push(observed);
        let what = difference.or(said).or_else(|| promises::broken(&trace.observed));
        if let Some(what) = what {
            return Err(Box::new(Difference { trace, what }));
        }
    }
    Ok(trace)
}

/// Lets the product carry a step out; returns what came of it, and what is wrong with how it was said.
async fn observe(world: &mut World, model: &Model, step: Step) -> (Observed, Option<String>) {
    let answer = world.carry_out(&step).await;
    let mut after = model.clone();
    let _ = after.apply(&step);
    let written = world.written(after.log.len() - model.log.len()).await;
    let said = promises::missaid(answer.sentence.as_deref(), &written);
    let observed = Observed {
        step,
        at: step.event.connection().and_then(|number| Some(model.connections.get(number)?.status)),
        outcome: answer.outcome,
        entries: written.into_iter().map(|row| row.entry).collect(),
        looks: Vec::new(),
    };
    (observed, said)
}

/// Returns whether a wrong model is found out by what the product did.
pub(crate) fn finds(trace: &Trace, mutation: Mutation) -> bool {
    let mut model = Model::new(trace.sequence, trace.begun_at, Some(mutation));
    trace.observed.iter().any(|observed| judge(&mut model, observed).is_err())
}

/// Looks at one thing after every other step: a look costs as much as a step.
async fn look(world: &World, drawn: usize) -> Vec<Look> {
    let (organizations, servers) = (world.made.organizations.len(), world.made.servers.len());
    let (looks, drawn) = (drawn.is_multiple_of(2), drawn / 2);
    if !looks {
        Vec::new()
    } else if drawn.is_multiple_of(3) && servers > 0 {
        let server = drawn / 4 % servers;
        vec![Look::Agent { server, view: world.agent_view(server).await }]
    } else if organizations > 0 {
        let (list, viewer) = (List::ALL[drawn % List::ALL.len()], Some(drawn / 8 % organizations));
        vec![Look::List { list, viewer, lines: world.list(list, viewer).await }]
    } else {
        Vec::new()
    }
}

/// Looks at everything as everybody sees it.
async fn all_looks(world: &World) -> Vec<Look> {
    let mut looks = Vec::new();
    for viewer in (0..world.made.organizations.len()).map(Some).chain([None]) {
        for list in List::ALL {
            looks.push(Look::List { list, viewer, lines: world.list(list, viewer).await });
        }
        if let Some(organization) = viewer {
            looks.push(Look::Log { organization, entries: world.log_of(organization).await });
        }
    }
    for server in 0..world.made.servers.len() {
        looks.push(Look::Agent { server, view: world.agent_view(server).await });
    }
    looks
}

/// Compares what was observed with what the model says.
fn judge(model: &mut Model, observed: &Observed) -> Result<(), String> {
    let before = model.log.len();
    let expected = model.apply(&observed.step);
    if expected != observed.outcome {
        return Err(differs("the answer", &expected, &observed.outcome));
    }
    let (mut new, mut written) = (model.log[before..].to_vec(), observed.entries.clone());
    new.sort_unstable();
    written.sort_unstable();
    if new != written {
        return Err(differs("the audit", &new, &written));
    }
    observed.looks.iter().try_for_each(|look| judge_look(model, look))
}

fn judge_look(model: &Model, look: &Look) -> Result<(), String> {
    match look {
        Look::List { list, viewer, lines } => {
            let expected = model.list(*list, *viewer);
            if expected == *lines {
                return Ok(());
            }
            let missing: Vec<_> = expected.difference(lines).collect();
            let added: Vec<_> = lines.difference(&expected).collect();
            Err(differs(&format!("{list:?} as {viewer:?} sees them"), &missing, &added))
        }
        Look::Agent { server, view } => {
            let expected = model.agent_view(*server);
            if expected == *view {
                Ok(())
            } else {
                Err(differs(&format!("what server {server} is told"), &expected, view))
            }
        }
        Look::Log { organization, entries } => {
            let of_it = model.log.iter().filter(|entry| entry.log == Some(*organization));
            let (mut expected, mut found) = (of_it.cloned().collect::<Vec<_>>(), entries.clone());
            expected.sort_unstable();
            found.sort_unstable();
            if expected == found {
                return Ok(());
            }
            Err(differs(&format!("the whole log of organization {organization}"), &expected, &found))
        }
    }
}

fn differs(what: &str, expected: &impl std::fmt::Debug, found: &impl std::fmt::Debug) -> String {
    format!("{what} differs\n    model:    {expected:?}\n    platform: {found:?}")
}

impl Observed {
    /// Returns the lists that the host saw, when it looked.
    pub(crate) fn seen_by_host(&self, wanted: List) -> Option<&BTreeSet<Line>> {
        self.looks.iter().find_map(|look| match look {
            Look::List { list, viewer: None, lines } if *list == wanted => Some(lines),
            _ => None,
        })
    }

    pub(crate) fn is_refused(&self) -> bool {
        matches!(self.outcome, Err(Refusal::Rule(_) | Refusal::NotFound(_)))
    }

    pub(crate) const fn entries(&self) -> &Vec<Entry> {
        &self.entries
    }
}

impl Observed {
    /// Names the kind of event.
    fn word(&self) -> String {
        let event = match self.step.event {
            Event::Member { wish: Wish::Order { order, .. }, .. } => format!("{order:?}"),
            Event::Member { wish, .. } => format!("{wish:?}"),
            Event::Agent { report, .. } => format!("{report:?}"),
            Event::Sweep => "Sweep".into(),
        };
        event.split(' ').next().unwrap_or_default().to_owned()
    }

    /// Names the kind of event with its answer.
    pub(crate) fn answered(&self) -> String {
        let event = self.word();
        match &self.outcome {
            Ok(_) => format!("{event}: done"),
            Err(Refusal::NotFound(what)) => format!("{event}: no such {what}"),
            Err(Refusal::Rule(rule)) => format!("{event}: {rule}"),
        }
    }

    /// Names the cell of DOMAIN's table that it is.
    pub(crate) fn cell(&self) -> Option<String> {
        Some(format!("{} at {:?}", self.word(), self.at?))
    }
}
