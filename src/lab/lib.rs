//! Stand-ins for what surrounds adit: a Mirth that listens, a sender that behaves as Mirth's does, a
//! PACS and a modality, messages and objects of people who do not exist, and the measures taken of them. The demo, the tests and the
//! benches use the same ones.
//!
//! Nothing here shares a parser with `protocol`: a stand-in that read as the product reads would
//! share its mistakes.

mod accept;
pub mod admin_client;
pub mod admin_mirth;
pub mod agents;
pub mod binaries;
pub mod dicom;
pub mod hl7;
pub mod lab;
mod limits;
pub mod measure;
pub mod messages;
pub mod mirth;
pub mod mirth_certificate;
pub mod pages;
pub mod sender;
pub mod shim;
pub mod show;
