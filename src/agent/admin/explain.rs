//! What would become of a request, and by which rule: the same judgement that real ones get.

use serde::{Deserialize, Serialize};

use adit_core::domain::access::Access;
use adit_mirth::http::{Framing, RequestHead};
use adit_mirth::mask;
use adit_mirth::verdict::{Judge, Named, Verdict};

/// As `adit explain` shows it; also its `--json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    pub access: Access,
    pub outcome: ExplainOutcome,
    /// Mirth's operation behind it, where adit knows one.
    pub operation: Option<String>,
    pub template: String,
    pub changes: bool,
    /// In words.
    pub rule: String,
    /// Whether credentials in Mirth's answer are masked.
    #[serde(default)]
    pub masked: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum ExplainOutcome {
    /// Sent to Mirth in this spelling, if its body is of this kind.
    Forwarded {
        target: String,
        body: String,
    },
    /// Answered by the agent; Mirth hears nothing.
    AnsweredHere {
        status: u16,
    },
    Refused {
        status: u16,
        reason: String,
    },
}

/// Judges `method` and `target` as if they came without a body and with nothing unusual in the head.
#[must_use]
pub fn explanation(judge: &Judge, access: Access, masks: bool, method: String, target: String) -> Explained {
    let head = RequestHead {
        method,
        target,
        headers: Vec::new(),
        framing: Framing::None,
        expects_continue: false,
        closes: false,
    };
    let mut masked = false;
    let (outcome, names) = match judge.judge(&head) {
        Verdict::Forward { target, body, names } => {
            masked = masks && access == Access::ReadOnly && mask::scope(&names, &target).is_some();
            (ExplainOutcome::Forwarded { target, body: body.as_str().into() }, names)
        }
        Verdict::Answer { status, names } => (ExplainOutcome::AnsweredHere { status }, names),
        Verdict::Refuse { refusal, names } => {
            (ExplainOutcome::Refused { status: refusal.status(), reason: refusal.to_string() }, names)
        }
    };
    let Named { template, operation, changes, rule } = names;
    Explained { access, outcome, operation: operation.map(Into::into), template, changes, rule, masked }
}
