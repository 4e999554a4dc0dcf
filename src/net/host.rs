//! The host: its users, the private folders that keys lie in, and whose rights a command has.
//!
//! Nothing that was planted in a folder is followed, waited for or written through.

pub mod account;
pub mod folder;
pub mod privilege;
pub mod regular;
mod walked_path;
