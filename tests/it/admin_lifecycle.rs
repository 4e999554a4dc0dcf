//! Admin connections as an integration engineer and a security officer would ask about them: when the
//! port is open, who is let in, what ends a session and how that looks, what is written down, and what
//! a crash leaves behind. Two real agents and a real gateway; no Mirth runs here.

mod client;
mod crashes;
mod ends;
mod evidence;
mod explains;
mod harmless;
mod hosts;
mod keys;
mod masking;
mod observed;
mod origin;
mod ports;
mod unwritten;
mod versions;
