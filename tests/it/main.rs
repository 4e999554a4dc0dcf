//! Real sockets, real TLS: a topic a file. What runs in this process is built in `world`; what runs
//! as processes of the real binary in `lab`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails where it stands, and says what it measured"
)]

mod admin_dicom;
mod admin_equivalence;
mod admin_java;
mod admin_lifecycle;
mod admin_limits;
mod admin_passwords;
mod admin_people;
mod admin_plug_ins;
mod admin_refusals;
mod admin_rw;
mod admin_side_effects;
mod admin_vectors;
mod any_certificate;
mod blackhole;
mod blind;
mod carriers;
mod check;
mod clones;
mod close_orders;
mod control_link;
mod crashes;
mod damaged_state;
mod database_faults;
mod database_locked;
mod databases;
mod diagnosed;
mod dicom;
mod dicom_interop;
mod drain;
mod enrolment;
mod evidence;
mod explained;
mod first_start;
mod flow;
mod gateway_away;
mod gateway_restart;
mod golden;
mod half_open;
mod health;
mod hospital_networks;
mod hostile_text;
mod impaired;
mod impostor;
mod interop;
mod introduction;
mod lab;
mod lifecycle;
mod local_users;
mod measurements;
mod messages;
mod next_version;
mod origin;
mod paths;
mod planted;
mod port;
mod preferred_paths;
mod rebinding;
mod relay;
mod several;
mod simulated_agents;
mod stalled;
mod stolen_gateway;
mod stream_limit;
mod streams;
mod thief;
mod traffic;
mod trust;
mod tunnel_matrix;
mod two_hosts;
mod unproven;
mod unread_log;
mod wan;
mod wire;
mod world;
