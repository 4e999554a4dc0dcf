//! The platform's rules against a model of them, and its races: sequences of random events by random initiators, each
//! step compared with the reference model that is written from DOMAIN; parallel initiators with one winner each; and
//! wrong models, which the same sequences must find out.
//!
//! ```text
//! cargo test --test platform                                    2,000 sequences
//! ADIT_TEST_LONG=1 cargo test --test platform                   100,000
//! ADIT_TEST_POSTGRES=URL cargo test --test platform             2,000 on the server that `tests/postgres.sh` started
//! ADIT_MODEL_SEED=7:123 cargo test --test platform one_sequence -- --nocapture     one, with its story
//! ```

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

#[path = "platform/draft.rs"]
mod draft;
mod memory_folder;
#[path = "platform/model.rs"]
mod model;
#[path = "platform/outcome.rs"]
mod outcome;
#[path = "platform/promises.rs"]
mod promises;
#[path = "platform/races.rs"]
mod races;
#[path = "platform/run.rs"]
mod run;
#[path = "platform/sequences.rs"]
mod sequences;
#[path = "platform/shorten.rs"]
mod shorten;
#[path = "platform/step.rs"]
mod step;
mod whole_lists;
#[path = "platform/world.rs"]
mod world;
