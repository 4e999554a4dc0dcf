//! The console as people have it: Debian's Chromium, driven by its `chromedriver`, a gateway and agents as processes of
//! the real binary. `tests/run.sh` installs both packages; `cargo test` leaves this out (`test = false`), because they
//! may be missing: `cargo test --test browser` runs it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails where it stands, and says what it measured"
)]

mod accessible;
mod both_sides;
mod crowd;
mod diagnosed;
mod driver;
mod hostile;
mod hosts;
mod inspection;
mod journey;
mod keyboard;
mod marks;
mod no_script;
mod offers;
mod pages;
mod processes;
mod resumed;
mod screenshots;
mod second_factor;
mod sign_in;
mod single_sign_on;
mod stage;
mod start;
mod tab_order;
