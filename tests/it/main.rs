//! Real sockets, real TLS: a topic a file. What runs in this process is built in `world`; what runs
//! as processes of the real binary in `lab`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails where it stands, and says what it measured"
)]

mod close_orders;
mod control_link;
mod crashes;
mod enrolment;
mod gateway_away;
mod impostor;
mod interop;
mod introduction;
mod lab;
mod lifecycle;
mod messages;
mod port;
mod several;
mod stalled;
mod streams;
mod trust;
mod tunnel_matrix;
mod two_hosts;
mod wire;
mod world;
